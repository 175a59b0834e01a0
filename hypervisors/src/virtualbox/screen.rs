//! The guest's screen by `screenshotpng`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};

use super::holdings::Holdings;
use crate::error::{MachineError, ScreenError};
use crate::screen::{Screen, Screenshot};

/// The largest picture accepted, in bytes: 8192 × 8192 pixels uncompressed.
const MAX_PICTURE_BYTES: u64 = 8192 * 8192 * 3 + 64;

/// How a PNG file begins: its signature, and the length and name of its first chunk, which has the size of the picture behind it.
const PNG_START: &[u8; 16] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

/// Takes pictures of a machine.
pub(super) struct VirtualBoxScreen {
    holdings: Arc<Holdings>,
    uuid: String,
    next: AtomicU64,
}

impl VirtualBoxScreen {
    pub(super) fn new(holdings: Arc<Holdings>, uuid: String) -> Self {
        Self { holdings, uuid, next: AtomicU64::new(0) }
    }

    async fn take(&self) -> Result<Screenshot, ScreenError> {
        if !self.holdings.is_alive() {
            return Err(MachineError::Gone.into());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = PictureFile(self.holdings.directory.join(format!("screen-{number}.png")));
        let path = file.0.display().to_string();
        let call = ["controlvm", &self.uuid, "screenshotpng", &path];
        self.holdings.program.run(&call).await.map_err(|failure| ScreenError::Machine(failure.of_machine()))?;
        let read = tokio::task::spawn_blocking(move || read(&file));
        read.await.unwrap_or_else(|_| Err(ScreenError::Damaged("reading it was cut short".to_owned())))
    }
}

impl Screen for VirtualBoxScreen {
    fn capture(&self) -> BoxFuture<'_, Result<Screenshot, ScreenError>> {
        self.take().boxed()
    }
}

/// A picture on its way, removed when it has been read.
struct PictureFile(PathBuf);

impl Drop for PictureFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read(file: &PictureFile) -> Result<Screenshot, ScreenError> {
    let failed = |source| ScreenError::File { path: file.0.clone(), source };
    let length = std::fs::metadata(&file.0).map_err(failed)?.len();
    if length > MAX_PICTURE_BYTES {
        return Err(ScreenError::Damaged(format!("it has {length} bytes")));
    }
    let png = std::fs::read(&file.0).map_err(failed)?;
    let (width, height) = size(&png).ok_or_else(|| ScreenError::Damaged("it is no PNG file".to_owned()))?;
    Ok(Screenshot { png, width, height })
}

/// Width and height, as the first chunk of a PNG file has them.
fn size(png: &[u8]) -> Option<(u32, u32)> {
    let rest = png.strip_prefix(PNG_START)?;
    let number = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    Some((number(rest.get(..4)?)?, number(rest.get(4..8)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_read_from_the_first_chunk() {
        let mut png = PNG_START.to_vec();
        assert_eq!(size(&png), None);
        png.extend([0, 0, 2, 128, 0, 0, 1, 224, 8]);
        assert_eq!(size(&png), Some((640, 480)));
        assert_eq!(size(b"GIF89a"), None);
    }
}
