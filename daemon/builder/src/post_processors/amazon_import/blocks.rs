//! From the disk to the snapshot: one thread reads the blocks that hold something, in order; some connections put them, in any order.
//! What is under way is bounded, however large the disk is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use kiln_disk_formats::ExtentKind;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::disk::Disk;
use super::ebs::{BLOCK, Block, Ebs, Snapshot};
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;

/// Blocks that are read ahead.
const AHEAD: usize = 16;

/// Guest bytes whose extents are asked for at once.
const RANGE: u64 = 1 << 30;

/// Puts every block with data in it, and completes the snapshot.
pub(super) async fn put_all(
    build: &BuildContext,
    ebs: &Ebs,
    snapshot: &Snapshot,
    disk: Arc<Disk>,
    parallel: usize,
) -> Result<(), StepError> {
    let total = disk.virtual_size();
    let (sender, receiver) = mpsc::channel(AHEAD);
    let receiver = Arc::new(Mutex::new(receiver));
    let place = Arc::new(AtomicU64::new(0));
    let reading = {
        let disk = disk.clone();
        blocking("reading the disk", move |abandoned| read(&disk, &sender, abandoned))
    };
    // They end with this, whatever becomes of it.
    let mut putting = JoinSet::new();
    for _ in 0..parallel {
        let (mut ebs, snapshot, receiver) = (ebs.another(), snapshot.clone(), receiver.clone());
        let (build, place) = (build.clone(), place.clone());
        putting.spawn(async move {
            loop {
                // One at a time waits for the next.
                let block: Option<Block> = receiver.lock().await.recv().await;
                let Some(block) = block else { return Ok::<(), StepError>(()) };
                ebs.put(&snapshot, &block).await?;
                let end = (block.index + 1) * BLOCK as u64;
                let furthest = place.fetch_max(end, Ordering::Relaxed).max(end);
                build.progress("send the disk to AWS", furthest.min(total), Some(total));
            }
        });
    }
    drop(receiver);
    let put = async {
        while let Some(ended) = putting.join_next().await {
            ended.map_err(StepError::wrap)??;
        }
        Ok::<(), StepError>(())
    };
    // The first that fails ends the others: the reader finds nobody to give blocks to.
    let (read, ()) = tokio::try_join!(reading, put)?;
    if read.count == 0 {
        return Err(StepError::new("the disk is empty: there is nothing to import"));
    }
    let sent = read.count * BLOCK as u64;
    build.say(format!("{} blocks sent: {} MiB of {} MiB", read.count, sent >> 20, total >> 20));
    ebs.another().complete(snapshot, read.count, read.digests).await
}

/// What was read.
struct Read {
    count: u64,
    digests: Sha256,
}

/// Reads the blocks that hold something, and gives them away.
fn read(disk: &Disk, to: &mpsc::Sender<Block>, abandoned: &AtomicBool) -> Result<Read, StepError> {
    let size = disk.virtual_size();
    let mut read = Read { count: 0, digests: Sha256::new() };
    // The first block that has not been looked at.
    let mut next = 0;
    let mut at = 0;
    while at < size {
        let extents = disk.reader.extents(at..size.min(at.saturating_add(RANGE))).map_err(StepError::from)?;
        for extent in &extents {
            at = extent.end();
            if extent.kind != ExtentKind::Data {
                continue;
            }
            let first = next.max(extent.offset / BLOCK as u64);
            let last = (extent.end() - 1) / BLOCK as u64;
            for index in first..=last {
                if abandoned.load(Ordering::Relaxed) {
                    return Err(StepError::new("nobody waits for it any more"));
                }
                let mut bytes = vec![0; BLOCK];
                disk.reader.read_at(index * BLOCK as u64, &mut bytes).map_err(StepError::from)?;
                next = index + 1;
                // Stored bytes may be zeroes too.
                if bytes.iter().all(|&byte| byte == 0) {
                    continue;
                }
                let digest: [u8; 32] = Sha256::digest(&bytes).into();
                read.digests.update(digest);
                read.count += 1;
                let block = Block { index, bytes: Bytes::from(bytes), digest };
                if to.blocking_send(block).is_err() {
                    // Who takes them has failed, and says why.
                    return Ok(read);
                }
            }
        }
        if extents.is_empty() {
            break;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, SeekFrom, Write as _};

    fn blocks_of(write: &[(u64, &[u8])], size: u64) -> (Vec<(u64, Vec<u8>)>, Read) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        let mut file = std::fs::File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (offset, bytes) in write {
            file.seek(SeekFrom::Start(*offset)).unwrap();
            file.write_all(bytes).unwrap();
        }
        drop(file);
        let disk = Disk::open(path).unwrap();
        let (sender, mut receiver) = mpsc::channel(1000);
        let read = read(&disk, &sender, &AtomicBool::new(false)).unwrap();
        drop(sender);
        let mut found = Vec::new();
        while let Some(block) = receiver.blocking_recv() {
            let digest: [u8; 32] = Sha256::digest(&block.bytes).into();
            assert_eq!(digest, block.digest);
            found.push((block.index, block.bytes.to_vec()));
        }
        (found, read)
    }

    #[test]
    fn only_blocks_with_data_are_given_each_once_and_in_order() {
        let block = BLOCK as u64;
        // Two places in one block, one over the border of two, zeroes that are stored, and the last, which is not whole.
        let writes: [(u64, &[u8]); 6] = [
            (0, b"a"),
            (100_000, b"b"),
            (3 * block - 1, b"cd"),
            (5 * block, &[0; 4096]),
            (9 * block, b"e"),
            (10 * block + 100, b"f"),
        ];
        let (found, read) = blocks_of(&writes, 10 * block + 512);
        let indices: Vec<_> = found.iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, [0, 2, 3, 9, 10]);
        assert_eq!(read.count, 5);
        assert_eq!((found[0].1[0], found[0].1[100_000]), (b'a', b'b'));
        assert_eq!((found[1].1[BLOCK - 1], found[2].1[0]), (b'c', b'd'));
        assert!(found.iter().all(|(_, bytes)| bytes.len() == BLOCK));
        let mut all = Sha256::new();
        found.iter().for_each(|(_, bytes)| all.update(Sha256::digest(bytes)));
        assert_eq!(all.finalize(), read.digests.finalize());
    }

    #[test]
    fn an_empty_disk_has_no_blocks_and_who_has_gone_is_not_read_for() {
        assert!(blocks_of(&[], 4 << 20).0.is_empty());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.raw");
        std::fs::write(&path, vec![1; 4 * BLOCK]).unwrap();
        let disk = Disk::open(path).unwrap();
        let (sender, receiver) = mpsc::channel(1);
        assert!(read(&disk, &sender, &AtomicBool::new(true)).is_err());
        drop(receiver);
        assert_eq!(read(&disk, &sender, &AtomicBool::new(false)).unwrap().count, 1);
    }
}
