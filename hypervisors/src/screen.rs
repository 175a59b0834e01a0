//! What a guest shows: pictures of its screen.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Cursor;

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
    /// A picture of `width` × `height` pixels, each red, green and blue.
    pub(crate) fn from_rgb(width: u32, height: u32, rgb: &[u8]) -> Result<Self, ScreenError> {
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(Cursor::new(&mut png), width, height);
        encoder.set_color(png::ColorType::Rgb);
        let failed = |error: png::EncodingError| ScreenError::Damaged(error.to_string());
        encoder.write_header().map_err(failed)?.write_image_data(rgb).map_err(failed)?;
        Ok(Self { png, width, height })
    }

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
