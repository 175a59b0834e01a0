//! The bare loop under compressed outputs: `floor LEVEL INPUT` reads a raw disk, tests for zeroes and compresses each 64 KiB with
//! libdeflate on all cores, and writes nothing. The benchmark says which share of its speed the converter reaches.

use std::fs::File;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use libdeflater::{CompressionLvl, Compressor};

const GRAIN: usize = 1 << 16;
/// Bytes read at once.
const WINDOW: usize = 16 * GRAIN;

/// Compresses every window that is left; returns the compressed bytes.
fn work(disk: &File, size: u64, next: &AtomicU64, level: CompressionLvl) -> std::io::Result<u64> {
    let mut compressor = Compressor::new(level);
    let mut window = vec![0; WINDOW];
    let mut room = vec![0; compressor.deflate_compress_bound(GRAIN)];
    let mut sum = 0;
    loop {
        let offset = next.fetch_add(WINDOW as u64, Ordering::Relaxed);
        if offset >= size {
            return Ok(sum);
        }
        let length = usize::try_from(size - offset).unwrap_or(WINDOW).min(WINDOW);
        disk.read_exact_at(&mut window[..length], offset)?;
        let is_data = |grain: &&[u8]| grain.iter().any(|byte| *byte != 0);
        for grain in window[..length].chunks(GRAIN).filter(is_data) {
            sum += compressor.deflate_compress(grain, &mut room).unwrap_or_default() as u64;
        }
    }
}

fn run(arguments: &[String]) -> Result<u64, String> {
    let [level, input] = arguments else { return Err("floor LEVEL INPUT".to_owned()) };
    let level = level.parse().ok().and_then(|level| CompressionLvl::new(level).ok()).ok_or("no such level")?;
    let disk = File::open(input).map_err(|error| format!("{input}: {error}"))?;
    let size = disk.metadata().map_err(|error| format!("{input}: {error}"))?.len();
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&disk, size, &next, level))).collect();
        let sums = workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread panicked".to_owned()));
        sums.map(|sum| sum?.map_err(|error| format!("{input}: {error}"))).sum()
    })
}

fn main() -> ExitCode {
    use std::io::Write;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(sum) => {
            let _ = writeln!(std::io::stdout(), "{sum}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
