//! What a guest shows: pictures of its screen.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures_util::future::BoxFuture;

use crate::error::ScreenError;

/// A machine's screen.
pub trait Screen: Send + Sync {
    /// Takes a picture. Takes tens of milliseconds; safe to drop.
    ///
    /// # Errors
    ///
    /// The machine is gone, has no display, or the picture cannot be read.
    fn capture(&self) -> BoxFuture<'_, Result<Screenshot, ScreenError>>;
}

/// A picture of a guest's screen.
#[derive(Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// The picture as a PNG file.
    pub png: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Screenshot {
    /// A number that differs when the picture does (with overwhelming probability); only meaningful within this process.
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.png.hash(&mut hasher);
        hasher.finish()
    }
}

impl std::fmt::Debug for Screenshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screenshot({} × {}, {} bytes)", self.width, self.height, self.png.len())
    }
}
