//! The guest's screen by QMP's `screendump`.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};
use qapi_qmp::{ImageFormat, screendump};

use super::qmp::QmpClient;
use crate::error::ScreenError;
use crate::screen::{Screen, Screenshot};

/// The first QEMU that writes PNG files, 7.1.
const FIRST_WITH_PNG: (u32, u32) = (7, 1);

/// The largest picture accepted, in bytes: 8192 × 8192 pixels uncompressed.
const MAX_PICTURE_BYTES: u64 = 8192 * 8192 * 3 + 64;

/// Takes pictures through a machine's monitor.
pub(super) struct QemuScreen {
    qmp: Arc<QmpClient>,
    directory: PathBuf,
    next: AtomicU64,
}

impl QemuScreen {
    /// `directory` is where QEMU puts pictures on their way.
    pub(super) fn new(qmp: Arc<QmpClient>, directory: PathBuf) -> Self {
        Self { qmp, directory, next: AtomicU64::new(0) }
    }

    fn writes_png(&self) -> bool {
        let mut numbers = self.qmp.version().split('.').map_while(|part| part.parse::<u32>().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= FIRST_WITH_PNG
    }

    async fn dump(&self) -> Result<Screenshot, ScreenError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = PictureFile(self.directory.join(format!("screen-{number}")));
        let png = self.writes_png();
        let command = screendump {
            device: None,
            format: png.then_some(ImageFormat::png),
            head: None,
            // The directory's name is UTF-8: `check` has seen to it.
            filename: file.0.to_string_lossy().into_owned(),
        };
        self.qmp.run(command).await?;
        let path = file.0.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _file = file;
            read_picture(&path, png)
        });
        read.await.unwrap_or_else(|_| Err(ScreenError::Damaged("reading it was cut short".to_owned())))
    }
}

impl Screen for QemuScreen {
    fn capture(&self) -> BoxFuture<'_, Result<Screenshot, ScreenError>> {
        self.dump().boxed()
    }
}

/// A file removed on drop, so that a dropped future leaves none.
struct PictureFile(PathBuf);

impl Drop for PictureFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read_picture(path: &Path, png: bool) -> Result<Screenshot, ScreenError> {
    let file_error = |source| ScreenError::File { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(file_error)?.len();
    if length > MAX_PICTURE_BYTES {
        return Err(ScreenError::Damaged(format!("it has {length} bytes")));
    }
    let bytes = std::fs::read(path).map_err(file_error)?;
    if png { from_png(bytes) } else { from_ppm(&bytes) }
}

fn from_png(png: Vec<u8>) -> Result<Screenshot, ScreenError> {
    let reader = png::Decoder::new(Cursor::new(&png)).read_info();
    let (width, height) = reader.map_err(|error| ScreenError::Damaged(error.to_string()))?.info().size();
    Ok(Screenshot { png, width, height })
}

/// Turns a binary PPM (`P6`, at most 255) into PNG.
fn from_ppm(ppm: &[u8]) -> Result<Screenshot, ScreenError> {
    let damaged = |problem: &str| ScreenError::Damaged(problem.to_owned());
    let mut at = 0;
    let mut word = || {
        let blanks = ppm[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let start = at + blanks;
        let length = ppm[start..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
        at = start + length;
        std::str::from_utf8(&ppm[start..at]).unwrap_or_default()
    };
    let (magic, width, height, maximum) = (word(), word().parse::<u32>(), word().parse::<u32>(), word());
    let (Ok(width), Ok(height)) = (width, height) else { return Err(damaged("the PPM has no size")) };
    if magic != "P6" || maximum != "255" {
        return Err(damaged("it is not a PPM of 8 bits"));
    }
    let length = u64::from(width).saturating_mul(u64::from(height)).saturating_mul(3);
    // One blank ends the header.
    let pixels = ppm.get(at + 1..).filter(|pixels| pixels.len() as u64 == length);
    let pixels = pixels.ok_or_else(|| damaged("the PPM has another size than it says"))?;
    Screenshot::from_rgb(width, height, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ppm_becomes_png() {
        let shot = from_ppm(b"P6\n2 1\n255\n\x00\x01\x02\x0a\x0b\x0c").unwrap();
        assert_eq!((shot.width, shot.height), (2, 1));
        let mut reader = png::Decoder::new(Cursor::new(&shot.png)).read_info().unwrap();
        let mut pixels = vec![0; 6];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, b"\x00\x01\x02\x0a\x0b\x0c");
        assert_eq!(from_png(shot.png.clone()).unwrap(), shot);
    }

    #[test]
    fn damaged_pictures_are_errors() {
        let cases: [&[u8]; 7] = [
            b"",
            b"P6",
            b"P5\n2 1\n255\n123456",
            b"P6\n2 1\n255\n12345",
            b"P6\n2 1\n255\n1234567",
            b"P6\n4294967295 4294967295\n255\n1",
            b"P6\n2 1\n65535\n123456123456",
        ];
        for case in cases {
            assert!(from_ppm(case).is_err(), "{case:?}");
        }
        assert!(from_png(b"P6".to_vec()).is_err());
    }
}
