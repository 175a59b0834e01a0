//! Makes the checksums of damaged images right again, so that damage reaches what lies behind them.

use crate::sparse_file::SparseFile;

/// Corrects all checksums that the image's front or end seems to have.
pub fn checksums(file: &mut SparseFile) {
    if &file.bytes::<8>(0) == b"vhdxfile" {
        vhdx(file);
    }
    for footer in [0, file.len.saturating_sub(512)] {
        if &file.bytes::<8>(footer) == b"conectix" {
            vhd(file, footer);
        }
    }
    if &file.bytes::<5>(257) == b"ustar" {
        tar(file);
    }
}

fn put(file: &mut SparseFile, offset: u64, bytes: &[u8]) {
    if offset.saturating_add(bytes.len() as u64) <= file.len {
        file.pieces.push((offset, bytes.to_vec()));
    }
}

/// CRC-32C over `len` bytes whose second four hold it.
fn crc(file: &mut SparseFile, offset: u64, len: usize) {
    let mut bytes = vec![0; len];
    file.fill(offset, &mut bytes);
    bytes[4..8].fill(0);
    put(file, offset + 4, &crc32c::crc32c(&bytes).to_le_bytes());
}

fn vhdx(file: &mut SparseFile) {
    for header in [64 << 10, 128 << 10] {
        crc(file, header, 4096);
        let length = u64::from(u32::from_le_bytes(file.bytes(header + 68))).min(1 << 20);
        let log = u64::from_le_bytes(file.bytes(header + 72));
        for at in (0..length).step_by(4096).map_while(|within| log.checked_add(within)) {
            let entry = u32::from_le_bytes(file.bytes(at.saturating_add(8))) as usize;
            if &file.bytes::<4>(at) == b"loge" && (64..=1 << 20).contains(&entry) {
                crc(file, at, entry);
            }
        }
    }
    for table in [192 << 10, 256 << 10] {
        if &file.bytes::<4>(table) == b"regi" {
            crc(file, table, 64 << 10);
        }
    }
}

/// The complement of the sum of all bytes.
fn complement(file: &mut SparseFile, offset: u64, len: usize, at: usize) {
    let mut bytes = vec![0; len];
    file.fill(offset, &mut bytes);
    bytes[at..at + 4].fill(0);
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    put(file, offset + at as u64, &(!sum).to_be_bytes());
}

fn vhd(file: &mut SparseFile, footer: u64) {
    complement(file, footer, 512, 64);
    let header = u64::from_be_bytes(file.bytes(footer + 16));
    if header < file.len && &file.bytes::<8>(header) == b"cxsparse" {
        complement(file, header, 1024, 36);
    }
}

fn tar(file: &mut SparseFile) {
    let mut at = 0u64;
    for _ in 0..8 {
        if &file.bytes::<5>(at + 257) != b"ustar" {
            break;
        }
        let mut header = file.bytes::<512>(at);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(file, at + 148, format!("{sum:06o}\0").as_bytes());
        let digits = String::from_utf8_lossy(&header[124..135]).into_owned();
        let Ok(size) = u64::from_str_radix(digits.trim_matches([' ', '\0']), 8) else { break };
        at += 512 + size.next_multiple_of(512);
    }
}
