//! Turns the byte stream of a command into the lines people read.

use std::sync::{Mutex, PoisonError};

use kiln_communicators::CommandOutput;

use crate::context::BuildContext;

/// A longer line is passed on in pieces; nothing a guest prints may grow without bound here.
const MAX_LINE: usize = 16 << 10;

/// What is kept of a line beyond that for the sake of secrets longer than this.
const MAX_REACH: usize = 1 << 20;

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

    fn take(&self, stream: Stream, bytes: &[u8]) {
        let mut buffers = self.lock();
        let buffer = &mut buffers[stream as usize];
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            buffer.extend_from_slice(piece);
            // What follows the cut must be known: a secret may stand across it.
            while buffer.len() > MAX_LINE + self.context.redactor.reach().min(MAX_REACH) {
                let cut = self.context.redactor.place_to_cut(&same_length(buffer), MAX_LINE);
                let rest = buffer.split_off(cut);
                let line = std::mem::replace(buffer, rest);
                self.line(stream, &line);
            }
            if piece.ends_with(b"\n") {
                let line = std::mem::take(buffer);
                self.line(stream, &line);
            }
        }
    }

    fn line(&self, stream: Stream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // Before anything is taken away: a carriage return may stand inside a secret.
        let text = self.context.redactor.redact(text.trim_end());
        // A progress display redraws its line with \r: only its last state is worth a line.
        let text = text.rsplit('\r').next().unwrap_or(&text);
        match stream {
            Stream::Out => self.context.message(text),
            Stream::Error => self.context.error_output(text),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Vec<u8>; 2]> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes as text, with what is no text replaced byte by byte, so that places in it are places in the bytes.
fn same_length(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{1a}'));
    }
    text
}

impl CommandOutput for LineOutput {
    fn stdout(&self, bytes: &[u8]) {
        self.take(Stream::Out, bytes);
    }

    fn stderr(&self, bytes: &[u8]) {
        self.take(Stream::Error, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_template::SENSITIVE;

    use super::*;
    use crate::context::tests::a_build_told;
    use crate::event::Event;

    /// The lines that come of output in pieces of `size` bytes.
    fn lines(secret: &str, output: &[u8], size: usize) -> Vec<String> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = said.clone();
        let (context, _job) = a_build_told(
            &[secret],
            Arc::new(move |event| {
                if let Event::Message { text, .. } = event {
                    sink.lock().unwrap().push(text);
                }
            }),
        );
        let lines = LineOutput::new(&context);
        output.chunks(size).for_each(|piece| lines.stdout(piece));
        lines.finish();
        let said = said.lock().unwrap();
        said.clone()
    }

    #[test]
    fn no_secret_is_shown_where_a_long_line_is_cut() {
        let secret = "hunter2-a-secret";
        for shift in 0..secret.len() + 2 {
            for inside in ["", "\u{1b}[31m", "\r"] {
                let (start, end) = secret.split_at(7);
                let mut output = vec![b'x'; MAX_LINE - shift];
                output.extend_from_slice(format!("{start}{inside}{end}{}\nnext\n", "y".repeat(40_000)).as_bytes());
                for size in [1000, 1 << 20] {
                    let said = lines(secret, &output, size);
                    let all = said.concat();
                    assert!(
                        all.contains(SENSITIVE) && !all.contains("hunter2") && !all.contains("a-secret"),
                        "{shift}"
                    );
                    assert!(said.len() >= 4 && said.iter().all(|line| line.len() <= MAX_LINE + 2000), "{shift}");
                    assert_eq!(said.last().unwrap(), "next");
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_neither_stop_nor_shift_anything() {
        let mut output = vec![0xff; 3 * MAX_LINE];
        output.extend_from_slice(b"hunter2-a-secret\n");
        let said = lines("hunter2-a-secret", &output, 777);
        assert!(said.concat().ends_with(SENSITIVE));
        assert_eq!(said.concat().chars().filter(|c| *c == '\u{fffd}').count(), 3 * MAX_LINE);
        assert_eq!(lines("s3cret", b"10 %\r20 %\r\ns3c\rret ok\r\n", 5), ["20 %", &format!("{SENSITIVE} ok")]);
    }
}
