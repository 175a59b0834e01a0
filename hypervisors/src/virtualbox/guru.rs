//! A machine's log (`Logs/VBox.log`), read while it grows: of a guest that VirtualBox has stopped for good (a Guru Meditation) it tells there
//! alone, for the process stays.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Words by which the log tells of it: of the virtual machine's state, and the head of what it says of the processor then.
const WORDS: [&[u8]; 2] = [b"GURU_MEDITATION", b"Guru Meditation"];

/// Pause between two looks: a look that finds nothing new asks for the file's length only.
const LOOK_INTERVAL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });

/// The most that is read at once, and of the end.
const MOST: u64 = 1 << 20;

/// How many lines before the words are told: what went wrong is often said there.
const LINES_BEFORE: usize = 2;

/// How many lines after them.
const LINES_AFTER: usize = 2;

/// A log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    read: u64,
    /// The end of what was read: words may be cut.
    rest: Vec<u8>,
}

impl Log {
    /// The log in this file, which need not be there.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0, rest: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until it tells of a Guru Meditation that it has not told of before.
    pub(super) async fn tells_of_guru_meditation(&mut self) {
        while !self.tells_now().unwrap_or(false) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether what is new in it tells of one.
    fn tells_now(&mut self) -> io::Result<bool> {
        let length = std::fs::metadata(&self.path)?.len();
        if length < self.read {
            // VirtualBox has begun another.
            (self.read, self.rest) = (0, Vec::new());
        }
        if length == self.read {
            return Ok(false);
        }
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = std::mem::take(&mut self.rest);
        self.read += file.take(MOST).read_to_end(&mut text)? as u64;
        let told = WORDS.iter().any(|words| text.windows(words.len()).any(|part| part == *words));
        if !told {
            let longest = WORDS.iter().map(|words| words.len()).max().unwrap_or_default();
            self.rest = text.split_off(text.len().saturating_sub(longest - 1));
        }
        Ok(told)
    }
}

/// What a log says of a Guru Meditation, in one line: the words with the status code, and some lines before and after them; the log's last lines
/// when there are no such words.
pub(super) fn what_it_tells(log: &Path) -> String {
    let end = || -> io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
        let mut end = Vec::new();
        file.take(MOST).read_to_end(&mut end)?;
        Ok(end)
    };
    let text = end().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // Frames of exclamation marks say nothing.
    let lines: Vec<&str> = text.lines().filter(|line| says_something(line)).collect();
    let told = match lines.iter().position(|line| line.contains("Guru Meditation")) {
        // The registers and tables that follow fill thousands of lines.
        Some(head) => &lines[head.saturating_sub(LINES_BEFORE)..lines.len().min(head + LINES_AFTER + 1)],
        None => &lines[lines.len().saturating_sub(LINES_BEFORE + LINES_AFTER + 1)..],
    };
    told.join(" / ")
}

/// Whether there is more in the line than its time and a frame.
fn says_something(line: &str) -> bool {
    line.contains(|character: char| character.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_is_told_once_also_in_two_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("VBox.log");
        let mut log = Log::new(path.clone());
        assert!(log.tells_now().is_err(), "there is none yet");
        let mut file = std::fs::File::create(&path).unwrap();
        for (piece, told) in [
            ("00:00:01 Changing the VM state from 'RUNNING' to 'GURU_", false),
            ("", false),
            ("MEDITATION'\n", true),
            ("more\n", false),
            ("!! Guru Meditation -2403\n", true),
        ] {
            file.write_all(piece.as_bytes()).unwrap();
            assert_eq!(log.tells_now().unwrap(), told, "{piece}");
        }
        std::fs::write(&path, "a new one: GURU_MEDITATION\n").unwrap();
        assert!(log.tells_now().unwrap());
    }

    #[test]
    fn what_went_wrong_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("VBox.log");
        assert_eq!(what_it_tells(&path), "");
        let many = |words: &str| (0..30_000).map(|number| format!("{words} {number}\n\n")).collect::<String>();
        std::fs::write(&path, many("line")).unwrap();
        assert_eq!(what_it_tells(&path), "line 29995 / line 29996 / line 29997 / line 29998 / line 29999");
        let guru = "00:02 HM: error\n00:02 state 'RUNNING' to 'GURU_MEDITATION'\n00:02 !!!!!!!\n00:02 !!\n\
                    00:02 !!  VCPU0: Guru Meditation -4012 (VERR_SVM_INVALID_GUEST_STATE)\n00:02 !!\n00:02 !! rip=7c00\n";
        std::fs::write(&path, [&many("line"), guru, &many("!! register")].concat()).unwrap();
        assert_eq!(
            what_it_tells(&path),
            "00:02 HM: error / 00:02 state 'RUNNING' to 'GURU_MEDITATION' / \
             00:02 !!  VCPU0: Guru Meditation -4012 (VERR_SVM_INVALID_GUEST_STATE) / 00:02 !! rip=7c00 / !! register 0"
        );
    }
}
