//! The last bytes of a stream, in bounded memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Keeps the last bytes pushed into it.
#[derive(Debug)]
pub(crate) struct Tail {
    capacity: usize,
    bytes: Mutex<VecDeque<u8>>,
    /// Something was pushed that is not kept any more.
    cut: AtomicBool,
}

impl Tail {
    /// Keeps the last `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, bytes: Mutex::default(), cut: AtomicBool::new(false) }
    }

    /// Adds `data` at the end.
    pub(crate) fn push(&self, data: &[u8]) {
        let passed_over = data.len().saturating_sub(self.capacity);
        let data = &data[passed_over..];
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = (bytes.len() + data.len()).saturating_sub(self.capacity);
        if passed_over > 0 || excess > 0 {
            self.cut.store(true, Ordering::Release);
        }
        bytes.drain(..excess);
        bytes.extend(data);
    }

    /// Whether more was pushed than is kept.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// The last bytes, at most `max`, oldest first.
    pub(crate) fn last(&self, max: usize) -> Vec<u8> {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.iter().skip(bytes.len().saturating_sub(max)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end() {
        let tail = Tail::new(4);
        assert_eq!(tail.last(9), b"");
        tail.push(b"abc");
        assert_eq!(tail.last(9), b"abc");
        assert!(!tail.is_cut());
        tail.push(b"d");
        assert!(!tail.is_cut(), "it is full, and whole");
        tail.push(b"e");
        assert!(tail.is_cut());
        assert_eq!(tail.last(9), b"bcde");
        assert_eq!(tail.last(2), b"de");
        tail.push(b"0123456789");
        assert_eq!(tail.last(9), b"6789");
    }
}
