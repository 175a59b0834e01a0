//! One stream packed on all processors: pieces are packed as they come and written in their order, and only so many are on their way.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::Crc;

use super::chunk::{Chunk, Packed};
use super::codec::Codec;

/// What went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) plain: u64,
    pub(crate) packed: u64,
    /// CRC-32 of the plain bytes, where the format has one.
    pub(crate) crc: u32,
}

/// How many processors there are for it.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Packs what `feed` writes into `output`.
///
/// # Errors
///
/// That of `feed`, of `output`, or of the format's library.
pub(crate) fn pack(
    codec: Codec,
    output: &mut dyn Write,
    feed: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Totals> {
    pack_in(codec.chunk_size(), codec, output, feed)
}

/// [`pack`], in pieces of `size` bytes.
fn pack_in(
    size: usize,
    codec: Codec,
    output: &mut dyn Write,
    feed: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> io::Result<Totals> {
    if codec == Codec::Plain {
        let mut counted = Counted { output, count: 0 };
        feed(&mut counted)?;
        return Ok(Totals { plain: counted.count, packed: counted.count, crc: 0 });
    }
    let workers = codec.workers(processors());
    thread::scope(|scope| {
        let (send, jobs) = bounded::<Job>(workers);
        for _ in 0..workers {
            let jobs = jobs.clone();
            // Ends when the last job has been taken and no more can come.
            scope.spawn(move || jobs.iter().for_each(|job| job.run(codec)));
        }
        let mut packer = Packer::new(codec, size, output, send, 2 * workers);
        packer.output.write_all(&codec.head())?;
        feed(&mut packer)?;
        packer.finish()
    })
}

/// A piece, and who waits for it.
struct Job {
    chunk: Chunk,
    answer: Sender<io::Result<Packed>>,
}

impl Job {
    fn run(self, codec: Codec) {
        // Nobody waits when the stream has failed meanwhile.
        let _ = self.answer.send(codec.pack(&self.chunk));
    }
}

/// Cuts what is written into pieces.
struct Packer<'a> {
    codec: Codec,
    /// Bytes of a piece.
    size: usize,
    output: Counted<'a>,
    send: Sender<Job>,
    /// Pieces on their way, the first one first.
    awaited: VecDeque<Receiver<io::Result<Packed>>>,
    most: usize,
    chunk: Vec<u8>,
    /// The end of the piece before.
    before: Vec<u8>,
    plain: u64,
    crc: Crc,
}

impl<'a> Packer<'a> {
    fn new(codec: Codec, size: usize, output: &'a mut dyn Write, send: Sender<Job>, most: usize) -> Self {
        let output = Counted { output, count: 0 };
        let (chunk, before) = (Vec::with_capacity(size), Vec::new());
        Self { codec, size, output, send, awaited: VecDeque::new(), most, chunk, before, plain: 0, crc: Crc::new() }
    }

    fn submit(&mut self, is_last: bool) -> io::Result<()> {
        while self.awaited.len() >= self.most {
            self.write_next()?;
        }
        let bytes = std::mem::replace(&mut self.chunk, Vec::with_capacity(if is_last { 0 } else { self.size }));
        let tail = bytes.len().saturating_sub(self.codec.looks_back());
        let next = if self.codec.looks_back() == 0 { Vec::new() } else { bytes[tail..].to_vec() };
        let before = std::mem::replace(&mut self.before, next);
        let (answer, awaited) = bounded(1);
        let job = Job { chunk: Chunk { bytes, before, is_last }, answer };
        self.send.send(job).map_err(|_| ended())?;
        self.awaited.push_back(awaited);
        Ok(())
    }

    fn write_next(&mut self) -> io::Result<()> {
        let Some(awaited) = self.awaited.pop_front() else { return Ok(()) };
        let packed = awaited.recv().map_err(|_| ended())??;
        self.crc.combine(&packed.crc);
        self.output.write_all(&packed.bytes)
    }

    fn finish(mut self) -> io::Result<Totals> {
        self.submit(true)?;
        while !self.awaited.is_empty() {
            self.write_next()?;
        }
        self.output.write_all(&self.codec.tail(&self.crc))?;
        Ok(Totals { plain: self.plain, packed: self.output.count, crc: self.crc.sum() })
    }
}

impl Write for Packer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece waits for what comes behind it: only then it is known not to be the last.
        if self.chunk.len() == self.size {
            self.submit(false)?;
        }
        let count = bytes.len().min(self.size - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        self.plain += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ended() -> io::Error {
    io::Error::other("a thread that packs ended abnormally")
}

/// Counts what is written.
struct Counted<'a> {
    output: &'a mut dyn Write,
    count: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::test_tools;
    use super::*;

    /// Small, for the formats are slow where nothing is compiled for speed; whole blocks of BGZF.
    const PIECE: usize = super::super::bgzf::BLOCK * 3;

    /// Bytes that pack well, badly and not at all, over more than one piece of every format.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let noise = std::iter::from_fn(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((state >> 24) as u8)
        });
        let words = b"the guest says the same again and again ".iter().copied().cycle();
        let mixed = noise.zip(words).enumerate();
        mixed
            .map(|(at, (noise, word))| match at >> 16 {
                2 => noise,
                3 => 0,
                _ => word,
            })
            .take(length)
            .collect()
    }

    fn packed(codec: Codec, plain: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        // In pieces of an odd size, as a reader may bring them.
        let totals = pack_in(PIECE, codec, &mut output, &mut |writer| {
            plain.chunks(70_001).try_for_each(|part| writer.write_all(part))
        });
        let totals = totals.unwrap();
        assert_eq!((totals.plain, totals.packed), (plain.len() as u64, output.len() as u64));
        output
    }

    /// What `tool` makes of `bytes`.
    fn unpack(tool: &str, bytes: &[u8]) -> Vec<u8> {
        let mut child = Command::new(tool);
        let mut child = child.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writing = thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        assert!(output.status.success(), "{tool}: {:?}", output.status);
        output.stdout
    }

    #[test]
    fn the_real_tools_read_every_format_at_every_length() {
        type Make = fn(super::super::chunk::Level) -> Codec;
        let formats: [(Make, &str); 6] = [
            (Codec::Gzip, "gzip"),
            (Codec::Bgzf, "gzip"),
            (Codec::Lz4, "lz4"),
            (Codec::Xz, "xz"),
            (Codec::Zstd, "zstd"),
            (Codec::Bzip2, "bzip2"),
        ];
        for (make, tool) in formats.into_iter().filter(|(_, tool)| test_tools::has(tool)) {
            for length in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
                let plain = sample(length);
                assert!(unpack(tool, &packed(make(None), &plain)) == plain, "{tool}, {length} bytes");
            }
        }
    }

    #[test]
    fn levels_are_heeded() {
        // Words in no order: who looks harder finds more.
        let words = sample(3 << 17);
        let noise = &words[2 << 16..];
        let text =
            noise.chunks(2).take(20_000).map(|two| format!("{} ", u16::from(two[0]) * 7 + u16::from(two[1] >> 6)));
        let plain = text.collect::<String>().into_bytes();
        for make in [Codec::Gzip, Codec::Bgzf, Codec::Lz4, Codec::Zstd] {
            let (low, high) = (packed(make(Some(1)), &plain), packed(make(Some(9)), &plain));
            assert!(high.len() < low.len(), "{:?}: {} and {}", make(None), low.len(), high.len());
        }
        // A block of bzip2 is as long as its level says; the words repeat too soon for xz to look harder.
        assert_eq!(packed(Codec::Bzip2(Some(3)), b"x")[3], b'3');
        assert_eq!(packed(Codec::Bzip2(None), b"x")[3], b'9');
        assert_ne!(packed(Codec::Xz(Some(0)), &plain[..70_000]), packed(Codec::Xz(Some(9)), &plain[..70_000]));
    }

    #[test]
    fn gzip_is_one_member_and_bgzf_has_its_blocks_and_end() {
        let plain = sample(3 * PIECE + 1);
        let mut once = Vec::new();
        // The decoder of one member stops at its end.
        let bytes = packed(Codec::Gzip(None), &plain);
        io::Read::read_to_end(&mut flate2::bufread::GzDecoder::new(&*bytes), &mut once).unwrap();
        assert!(once == plain);
        let bytes = packed(Codec::Bgzf(None), &plain);
        assert!(bytes.ends_with(&super::super::bgzf::END));
        let (mut at, mut blocks) = (0, 0);
        while at < bytes.len() {
            assert_eq!(bytes[at..at + 4], [31, 139, 8, 4]);
            at += usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]])) + 1;
            blocks += 1;
        }
        assert_eq!((at, blocks), (bytes.len(), plain.len().div_ceil(super::super::bgzf::BLOCK) + 1));
    }

    #[test]
    fn an_output_that_is_full_ends_it() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let plain = sample(3 << 20);
        let failed = pack(Codec::Gzip(None), &mut Full, &mut |writer| writer.write_all(&plain));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
