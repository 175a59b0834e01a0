//! What `/proc` tells of a process: the one place that reads `/proc/PID/stat`.

use std::io;

/// The state of a process that has ended, and only waits for its parent to take note.
const ZOMBIE: &str = "Z";

/// Places of fields in `/proc/PID/stat` behind the command, which is field 2; proc(5) counts from 1.
const STATE: usize = 0;
const GROUP: usize = 5 - 3;
const SESSION: usize = 6 - 3;
const THREADS: usize = 20 - 3;
const START_TIME: usize = 22 - 3;

/// Some of a process's `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// Its process group; 0 where the leader lives outside our PID namespace.
    pub group: i32,
    /// Its session; 0 where the leader lives outside our PID namespace.
    pub session: i32,
    /// It has ended, and only waits for its parent to take note.
    pub ended: bool,
    /// When it started, in clock ticks since boot: with the process id and the boot a name that is never used again.
    pub start_time: u64,
}

impl ProcessStat {
    /// Reads that of the process `pid`.
    ///
    /// # Errors
    ///
    /// There is none, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::read(&format!("/proc/{pid}/stat"))
    }

    /// This moment, as [`start_time`](Self::start_time) counts.
    ///
    /// # Errors
    ///
    /// No thread can be started, or `/proc` cannot be read.
    pub fn now() -> io::Result<u64> {
        // A thread that starts now is asked when it did: that is the same clock in the same units, also in a container.
        let thread = std::thread::Builder::new().spawn(|| Self::read("/proc/thread-self/stat"))?;
        let stat = thread.join().map_err(|_| io::Error::other("the thread that looks ended abnormally"))??;
        Ok(stat.start_time)
    }

    fn read(path: &str) -> io::Result<Self> {
        let text = std::fs::read(path)?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as expected")))
    }

    fn parse(text: &str) -> Option<Self> {
        // The command may hold blanks and parentheses; what follows its last ')' is regular.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().take(START_TIME + 1).collect();
        Some(Self {
            group: fields.get(GROUP)?.parse().ok()?,
            session: fields.get(SESSION)?.parse().ok()?,
            // A leader is a zombie while other threads of a killed process still have its files open.
            ended: *fields.get(STATE)? == ZOMBIE && fields.get(THREADS)?.parse::<u32>().ok()? <= 1,
            start_time: fields.get(START_TIME)?.parse().ok()?,
        })
    }
}

/// This boot's id: `/proc/sys/kernel/random/boot_id`.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "S 1 77 78 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 1 0 123456 10000 200 18446744073709551615";

    #[test]
    fn the_command_may_look_like_fields() {
        let expected = ProcessStat { group: 77, session: 78, ended: false, start_time: 123_456 };
        for command in ["(sh)", "(a b)", "() S 9 9 9)", "(\u{fffd})", "(x)) R 1 2)"] {
            assert_eq!(ProcessStat::parse(&format!("42 {command} {REST}\n")), Some(expected), "{command}");
        }
        let zombie = ProcessStat::parse(&format!("42 (sh) {}\n", REST.replace('S', "Z")));
        assert_eq!(zombie, Some(ProcessStat { ended: true, ..expected }));
        let ending =
            ProcessStat::parse(&format!("42 (sh) {}\n", REST.replace('S', "Z").replace("20 0 1 0", "20 0 3 0")));
        assert_eq!(ending, Some(expected), "other threads of it are not through");
    }

    #[test]
    fn what_is_cut_short_or_no_number_is_nothing() {
        for text in
            ["", "42", "42 (sh", "42 (sh)", "42 (sh) S 1 77 78 0", &format!("42 (sh) {}", REST.replace("77", "x"))]
        {
            assert_eq!(ProcessStat::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn reads_this_process_and_no_dead_one() {
        let us = ProcessStat::of(std::process::id()).unwrap();
        assert!(us.start_time > 0);
        assert_eq!(ProcessStat::of(std::process::id()).unwrap(), us);
        assert!(ProcessStat::of(u32::MAX).is_err());
        let now = ProcessStat::now().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let later = ProcessStat::of(child.id()).unwrap().start_time;
        child.wait().unwrap();
        assert!(us.start_time <= now && now <= later, "{} {now} {later}", us.start_time);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
