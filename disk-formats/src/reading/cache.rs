//! A small bounded cache of tables and unpacked clusters, shared by reading threads.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;

/// Keeps the most recently loaded values by their offset in the file.
pub(crate) struct Cache<V> {
    entries: Mutex<Entries<V>>,
    capacity: usize,
}

struct Entries<V> {
    values: HashMap<u64, Arc<V>>,
    /// Offsets in the order of loading; disks are read front to back, so the oldest goes first.
    order: VecDeque<u64>,
}

impl<V> Cache<V> {
    /// Makes a cache of `capacity` values, at least 4.
    pub(crate) fn new(capacity: u64) -> Self {
        let entries = Entries { values: HashMap::new(), order: VecDeque::new() };
        Self { entries: Mutex::new(entries), capacity: usize::try_from(capacity).unwrap_or(usize::MAX).max(4) }
    }

    /// Returns the value for `offset`, loading it outside the lock when it is not there.
    pub(crate) fn get(&self, offset: u64, load: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        if let Some(value) = self.lock().values.get(&offset) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(load()?);
        let mut entries = self.lock();
        if entries.values.insert(offset, Arc::clone(&value)).is_none() {
            entries.order.push_back(offset);
        }
        while entries.order.len() > self.capacity {
            if let Some(oldest) = entries.order.pop_front() {
                entries.values.remove(&oldest);
            }
        }
        Ok(value)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries<V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_loaded_once_and_the_oldest_are_dropped() {
        let cache = Cache::new(4);
        for offset in 0..5 {
            assert_eq!(*cache.get(offset, || Ok(offset * 10)).unwrap(), offset * 10);
        }
        assert_eq!(*cache.get(4, || panic!("still cached")).unwrap(), 40);
        assert_eq!(*cache.get(0, || Ok(7)).unwrap(), 7);
    }
}
