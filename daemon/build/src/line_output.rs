//! Turns the byte stream of a command into the lines people read.

use std::sync::{Mutex, PoisonError};

use kiln_communicators::CommandOutput;

use crate::context::BuildContext;

/// A longer line is passed on in pieces; nothing a guest prints may grow without bound here.
const MAX_LINE: usize = 16 << 10;

/// Passes a command's output on as lines: standard output as messages, standard error as error lines.
pub(crate) struct LineOutput {
    context: BuildContext,
    buffers: Mutex<[Vec<u8>; 2]>,
}

#[derive(Clone, Copy)]
enum Stream {
    Out = 0,
    Error = 1,
}

impl LineOutput {
    pub(crate) fn new(context: &BuildContext) -> Self {
        Self { context: context.clone(), buffers: Mutex::default() }
    }

    /// Passes on what has no line end yet.
    pub(crate) fn finish(&self) {
        let buffers = std::mem::take(&mut *self.lock());
        for (stream, rest) in [Stream::Out, Stream::Error].into_iter().zip(buffers) {
            if !rest.is_empty() {
                self.line(stream, &rest);
            }
        }
    }

    pub(crate) fn standard_output(&self, bytes: &[u8]) {
        self.take(Stream::Out, bytes);
    }

    pub(crate) fn standard_error(&self, bytes: &[u8]) {
        self.take(Stream::Error, bytes);
    }

    fn take(&self, stream: Stream, bytes: &[u8]) {
        let mut buffers = self.lock();
        let buffer = &mut buffers[stream as usize];
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            buffer.extend_from_slice(piece);
            if piece.ends_with(b"\n") || buffer.len() >= MAX_LINE {
                let line = std::mem::take(buffer);
                self.line(stream, &line);
            }
        }
    }

    fn line(&self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end();
        // A progress display redraws its line with \r: only its last state is worth a line.
        let text = text.rsplit('\r').next().unwrap_or(text);
        match stream {
            Stream::Out => self.context.message(text),
            Stream::Error => self.context.error(text),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Vec<u8>; 2]> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommandOutput for LineOutput {
    fn stdout(&self, bytes: &[u8]) {
        self.standard_output(bytes);
    }

    fn stderr(&self, bytes: &[u8]) {
        self.standard_error(bytes);
    }
}
