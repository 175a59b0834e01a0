//! A picture of a VNC server's screen.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{RfbClient, within};
use super::error::RfbError;

/// Message types of clients.
const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const UPDATE_REQUEST: u8 = 3;

/// Message types of servers.
const UPDATE: u8 = 0;
const COLOUR_MAP: u8 = 1;
const BELL: u8 = 2;
const CUT_TEXT: u8 = 3;

/// Encodings of rectangles.
const RAW: i32 = 0;
const DESKTOP_SIZE: i32 = -223;

/// 32 bits a pixel, 24 of them colour, little-endian: blue, green, red, nothing.
const PIXEL_FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];

/// Largest width and height, in pixels.
const MAX_SIDE: u16 = 8192;

/// Most messages and rectangles until a picture is whole. A screen that changes its size all the time has no picture.
const MAX_MESSAGES: usize = 4096;

/// Most bytes of texts and colours that are passed over.
const MAX_SKIPPED: u64 = 16 << 20;

/// A screen: width, height, and its pixels as red, green and blue.
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rgb: Vec<u8>,
}

/// Takes a picture of the whole screen.
pub(crate) async fn capture(client: &mut RfbClient) -> Result<Picture, RfbError> {
    within("send a picture", receive(client)).await
}

async fn receive(client: &mut RfbClient) -> Result<Picture, RfbError> {
    let mut ask = vec![SET_PIXEL_FORMAT, 0, 0, 0];
    ask.extend(PIXEL_FORMAT);
    ask.extend([SET_ENCODINGS, 0, 0, 2]);
    ask.extend(RAW.to_be_bytes());
    ask.extend(DESKTOP_SIZE.to_be_bytes());
    client.stream.write_all(&ask).await?;
    let mut canvas = Canvas::new(client.size)?;
    request(client, canvas.size).await?;
    for _ in 0..MAX_MESSAGES {
        let resized = match client.stream.read_u8().await? {
            UPDATE => update(client, &mut canvas).await?,
            COLOUR_MAP => {
                let mut head = [0; 5];
                client.stream.read_exact(&mut head).await?;
                skip(client, u64::from(u16::from_be_bytes([head[3], head[4]])) * 6).await?;
                false
            }
            BELL => false,
            CUT_TEXT => {
                let mut head = [0; 7];
                client.stream.read_exact(&mut head).await?;
                skip(client, u64::from(u32::from_be_bytes([head[3], head[4], head[5], head[6]]))).await?;
                false
            }
            other => return Err(RfbError::Protocol(format!("a message of type {other}"))),
        };
        if resized {
            client.size = canvas.size;
            request(client, canvas.size).await?;
        } else if canvas.missing == 0 {
            let (width, height) = (u32::from(canvas.size.0), u32::from(canvas.size.1));
            return Ok(Picture { width, height, rgb: canvas.rgb });
        }
    }
    Err(RfbError::Protocol("no whole picture comes of its many messages".to_owned()))
}

async fn request(client: &mut RfbClient, (width, height): (u16, u16)) -> Result<(), RfbError> {
    let mut ask = vec![UPDATE_REQUEST, 0, 0, 0, 0, 0];
    ask.extend(width.to_be_bytes());
    ask.extend(height.to_be_bytes());
    Ok(client.stream.write_all(&ask).await?)
}

/// Reads rectangles; tells whether the screen has another size now.
async fn update(client: &mut RfbClient, canvas: &mut Canvas) -> Result<bool, RfbError> {
    client.stream.read_u8().await?;
    let mut resized = false;
    for _ in 0..client.stream.read_u16().await? {
        let mut head = [0; 12];
        client.stream.read_exact(&mut head).await?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let (x, y, width, height) = (number(0), number(2), number(4), number(6));
        match i32::from_be_bytes([head[8], head[9], head[10], head[11]]) {
            RAW => canvas.fill(client, (x, y), (width, height)).await?,
            DESKTOP_SIZE => {
                *canvas = Canvas::new((width, height))?;
                resized = true;
            }
            other => return Err(RfbError::Protocol(format!("an encoding {other} that was not asked for"))),
        }
    }
    Ok(resized)
}

async fn skip(client: &mut RfbClient, bytes: u64) -> Result<(), RfbError> {
    if bytes > MAX_SKIPPED {
        return Err(RfbError::Protocol(format!("{bytes} bytes of text or colours")));
    }
    let mut rest = (&mut client.stream).take(bytes);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// A picture that comes to be.
struct Canvas {
    size: (u16, u16),
    rgb: Vec<u8>,
    /// Which rows have come in full width, and how many have not.
    rows: Vec<bool>,
    missing: usize,
}

impl Canvas {
    fn new(size: (u16, u16)) -> Result<Self, RfbError> {
        let (width, height) = size;
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(RfbError::Protocol(format!("a screen of {width} × {height} pixels")));
        }
        let (columns, rows) = (usize::from(width), usize::from(height));
        Ok(Self { size, rgb: vec![0; columns * rows * 3], rows: vec![false; rows], missing: rows })
    }

    async fn fill(
        &mut self,
        client: &mut RfbClient,
        (x, y): (u16, u16),
        (width, height): (u16, u16),
    ) -> Result<(), RfbError> {
        let fits = |at: u16, length: u16, whole: u16| at.checked_add(length).is_some_and(|end| end <= whole);
        if !fits(x, width, self.size.0) || !fits(y, height, self.size.1) {
            return Err(RfbError::Protocol("a rectangle beyond its screen".to_owned()));
        }
        let columns = usize::from(self.size.0);
        let (x, y, width) = (usize::from(x), usize::from(y), usize::from(width));
        let mut line = vec![0; width * 4];
        for row in y..y + usize::from(height) {
            client.stream.read_exact(&mut line).await?;
            let start = (row * columns + x) * 3;
            let target = &mut self.rgb[start..start + width * 3];
            for (pixel, bytes) in target.chunks_exact_mut(3).zip(line.chunks_exact(4)) {
                pixel.copy_from_slice(&[bytes[2], bytes[1], bytes[0]]);
            }
            // Servers that cut a screen into tiles send each row's last tile last.
            if x + width == columns && !std::mem::replace(&mut self.rows[row], true) {
                self.missing -= 1;
            }
        }
        Ok(())
    }
}
