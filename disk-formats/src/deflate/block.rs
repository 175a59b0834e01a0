//! Writes a segment as one block: with codes made for it, or stored when that is smaller (RFC 1951, 3.2.3 to 3.2.7).

use super::huffman::{MAX_SYMBOLS, code_lengths, codes};
use super::matcher::Found;

/// Bytes of a stored block at most (RFC 1951, 3.2.4).
pub(super) const MAX_STORED: usize = 65535;
/// Bytes that are written beyond the end before they are corrected.
pub(super) const SLACK: usize = 8;
/// The symbol that ends a block; those of lengths follow.
const END_OF_BLOCK: usize = 256;
const DISTANCES: usize = 30;
/// Longest literal or length code here; four of them fit into what a flush leaves free.
const LITERAL_LIMIT: usize = 14;
const DISTANCE_LIMIT: usize = 15;
/// The code lengths' own code: its symbols, its limit, and the order in which it is sent.
const PRECODE: usize = 19;
const PRECODE_LIMIT: usize = 7;
const PRECODE_ORDER: [usize; PRECODE] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Lengths and distances are classes of numbers: a first number and extra bits that count from it.
struct Classes<const N: usize> {
    base: [u16; N],
    extra: [u8; N],
}

const LENGTHS: Classes<29> = {
    let mut classes = Classes { base: [0; 29], extra: [0; 29] };
    let (mut class, mut base) = (0, 3);
    while class < 28 {
        classes.extra[class] = if class < 8 { 0 } else { (class as u8 - 4) / 4 };
        classes.base[class] = base;
        base += 1 << classes.extra[class];
        class += 1;
    }
    // 258 has a class of its own, and the class before it could say 258 too.
    classes.base[28] = 258;
    classes
};

const DISTANCE_CLASSES: Classes<DISTANCES> = {
    let mut classes = Classes { base: [0; DISTANCES], extra: [0; DISTANCES] };
    let (mut class, mut base) = (0, 1);
    while class < DISTANCES {
        classes.extra[class] = if class < 4 { 0 } else { (class as u8 - 2) / 2 };
        classes.base[class] = base;
        base = base.wrapping_add(1 << classes.extra[class]);
        class += 1;
    }
    classes
};

/// The class of each length.
static LENGTH_CLASS: [u8; 512] = {
    let mut table = [0; 512];
    let (mut length, mut class) = (3, 0);
    while length < 259 {
        while class + 1 < 29 && LENGTHS.base[class + 1] as usize <= length {
            class += 1;
        }
        table[length] = class as u8;
        length += 1;
    }
    table
};

/// The class of each distance up to 256, then of every 128th of those above.
static DISTANCE_CLASS: [u8; 512] = {
    let mut table = [0; 512];
    let mut slot = 0;
    let mut class = 0;
    while slot < 512 {
        let distance = if slot < 256 { slot + 1 } else { ((slot - 256) << 7) + 1 };
        if slot == 256 {
            class = 0;
        }
        while class + 1 < DISTANCES && DISTANCE_CLASSES.base[class + 1] as usize <= distance {
            class += 1;
        }
        table[slot] = class as u8;
        slot += 1;
    }
    table
};

#[inline]
fn length_class(length: u16) -> usize {
    usize::from(LENGTH_CLASS[usize::from(length) & 511] & 31)
}

#[inline]
fn distance_class(distance: u16) -> usize {
    let before = usize::from(distance.wrapping_sub(1)) & 0x7fff;
    usize::from(DISTANCE_CLASS[if before < 256 { before } else { 256 + (before >> 7) }] & 31)
}

/// Gathers bits, the first in the lowest place, and stores them in whole bytes.
pub(super) struct BitWriter<'a> {
    out: &'a mut [u8],
    position: usize,
    bits: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, position: 0, bits: 0, count: 0 }
    }

    /// Adds bits; a flush must come before they are more than 64, and leaves at most 7.
    #[inline]
    fn push(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
    }

    #[inline]
    fn flush(&mut self) {
        if let Some(room) = self.out.get_mut(self.position..self.position + 8) {
            room.copy_from_slice(&self.bits.to_le_bytes());
        }
        self.position += (self.count / 8) as usize;
        self.bits >>= self.count & !7;
        self.count &= 7;
    }

    fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Pads to a byte; returns how many bytes there are.
    pub(super) fn finish(mut self) -> usize {
        self.align();
        self.position
    }
}

/// A code and the extra bits' base: one word per symbol, `bits` in the low 32, their number above.
type Word = u64;

fn word(code: u16, length: u8) -> Word {
    u64::from(code) | u64::from(length) << 32
}

/// The codes of a block.
struct Codes {
    literal_lengths: [u8; MAX_SYMBOLS],
    distance_lengths: [u8; DISTANCES],
}

/// Writes one segment.
pub(super) fn write_segment(writer: &mut BitWriter<'_>, segment: &[u8], found: &Found<'_>, last: bool) {
    let (literals, distances) = count(found);
    let mut codes = Codes { literal_lengths: [0; MAX_SYMBOLS], distance_lengths: [0; DISTANCES] };
    code_lengths(&literals, LITERAL_LIMIT, &mut codes.literal_lengths);
    code_lengths(&distances, DISTANCE_LIMIT, &mut codes.distance_lengths);
    let header = Header::new(&codes);
    let size = header.size() + content_size(&codes, &literals, &distances);
    if size >= stored_size(segment.len()) {
        return write_stored(writer, segment, last);
    }
    writer.push(u64::from(last) | 0b10 << 1, 3);
    header.write(writer);
    write_sequences(writer, found, &codes);
}

/// Counts how often each symbol occurs.
fn count(found: &Found<'_>) -> ([u32; MAX_SYMBOLS], [u32; DISTANCES]) {
    // Equal bytes come in a row; four tables keep one addition from waiting for the other.
    let mut tables = [[0u32; 256]; 4];
    let (fours, rest) = found.literals().as_chunks::<4>();
    for four in fours {
        for (table, byte) in tables.iter_mut().zip(four) {
            table[usize::from(*byte)] += 1;
        }
    }
    for byte in rest {
        tables[0][usize::from(*byte)] += 1;
    }
    let mut lengths = [0u32; 32];
    let mut distances = [0u32; 32];
    if let Some((_last, matches)) = found.sequences.split_last() {
        for sequence in matches {
            lengths[length_class(sequence.length)] += 1;
            distances[distance_class(sequence.distance)] += 1;
        }
    }
    let mut literals = [0; MAX_SYMBOLS];
    for (byte, sum) in literals[..256].iter_mut().enumerate() {
        *sum = tables.iter().map(|table| table[byte]).sum();
    }
    literals[END_OF_BLOCK] = 1;
    literals[END_OF_BLOCK + 1..].copy_from_slice(&lengths[..LENGTHS.base.len()]);
    let mut used = [0; DISTANCES];
    used.copy_from_slice(&distances[..DISTANCES]);
    (literals, used)
}

/// Returns bits of everything behind the header.
fn content_size(codes: &Codes, literals: &[u32; MAX_SYMBOLS], distances: &[u32; DISTANCES]) -> u64 {
    let sum = |frequencies: &[u32], lengths: &[u8]| -> u64 {
        frequencies.iter().zip(lengths).map(|(frequency, length)| u64::from(*frequency) * u64::from(*length)).sum()
    };
    sum(literals, &codes.literal_lengths)
        + sum(&literals[END_OF_BLOCK + 1..], &LENGTHS.extra)
        + sum(distances, &codes.distance_lengths)
        + sum(distances, &DISTANCE_CLASSES.extra)
}

/// Returns bits of a segment that is stored, at most.
fn stored_size(length: usize) -> u64 {
    let blocks = length.div_ceil(MAX_STORED).max(1);
    (length + blocks * 5) as u64 * 8
}

fn write_stored(writer: &mut BitWriter<'_>, segment: &[u8], last: bool) {
    let mut rest = segment;
    loop {
        let (block, behind) = rest.split_at(rest.len().min(MAX_STORED));
        writer.push(u64::from(last && behind.is_empty()), 3);
        writer.align();
        let length = block.len() as u16;
        writer.push(u64::from(length) | u64::from(!length) << 16, 32);
        writer.flush();
        writer.out[writer.position..writer.position + block.len()].copy_from_slice(block);
        writer.position += block.len();
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

/// The front of a block: the lengths of all codes, run-length coded, in a code of their own.
struct Header {
    literals: usize,
    distances: usize,
    /// Symbols with their extra bits and how many those are.
    items: [(u8, u8, u8); MAX_SYMBOLS + DISTANCES],
    item_count: usize,
    precode_lengths: [u8; PRECODE],
    /// How many of them are sent.
    precode_count: usize,
}

impl Header {
    fn new(codes: &Codes) -> Self {
        let used = |lengths: &[u8], least| {
            lengths.iter().rposition(|length| *length > 0).map_or(least, |at| at + 1).max(least)
        };
        let literals = used(&codes.literal_lengths, END_OF_BLOCK + 1);
        let distances = used(&codes.distance_lengths, 1);
        let mut lengths = [0; MAX_SYMBOLS + DISTANCES];
        lengths[..literals].copy_from_slice(&codes.literal_lengths[..literals]);
        lengths[literals..literals + distances].copy_from_slice(&codes.distance_lengths[..distances]);
        let mut header = Self {
            literals,
            distances,
            items: [(0, 0, 0); MAX_SYMBOLS + DISTANCES],
            item_count: 0,
            precode_lengths: [0; PRECODE],
            precode_count: 4,
        };
        let mut frequencies = [0; PRECODE];
        let mut rest = &lengths[..literals + distances];
        while let Some(length) = rest.first() {
            let run = rest.iter().take_while(|other| *other == length).count();
            let (item, taken) = match (*length, run) {
                (0, 11..) => ((18, (run.min(138) - 11) as u8, 7), run.min(138)),
                (0, 3..) => ((17, (run - 3) as u8, 3), run),
                // "The one before, again": so the first of a run is sent as it is.
                (_, 3..) if header.item_count > 0 && header.previous_is(*length) => {
                    ((16, (run.min(6) - 3) as u8, 2), run.min(6))
                }
                _ => ((*length, 0, 0), 1),
            };
            frequencies[usize::from(item.0)] += 1;
            header.items[header.item_count] = item;
            header.item_count += 1;
            rest = &rest[taken..];
        }
        code_lengths(&frequencies, PRECODE_LIMIT, &mut header.precode_lengths);
        header.precode_count =
            PRECODE_ORDER.iter().rposition(|symbol| header.precode_lengths[*symbol] > 0).map_or(4, |at| at + 1).max(4);
        header
    }

    /// Says whether the last length that was sent is this one.
    fn previous_is(&self, length: u8) -> bool {
        let before = self.items[..self.item_count].iter().rev().find(|item| item.0 != 16);
        before.is_some_and(|item| item.0 == length)
    }

    /// Returns bits, including the three of the block's type.
    fn size(&self) -> u64 {
        let items = &self.items[..self.item_count];
        let bits: u64 =
            items.iter().map(|item| u64::from(self.precode_lengths[usize::from(item.0)]) + u64::from(item.2)).sum();
        3 + 14 + 3 * self.precode_count as u64 + bits
    }

    fn write(&self, writer: &mut BitWriter<'_>) {
        writer.push((self.literals - 257) as u64, 5);
        writer.push((self.distances - 1) as u64, 5);
        writer.push((self.precode_count - 4) as u64, 4);
        writer.flush();
        for symbol in &PRECODE_ORDER[..self.precode_count] {
            writer.push(u64::from(self.precode_lengths[*symbol]), 3);
            writer.flush();
        }
        let mut precode = [0; PRECODE];
        codes(&self.precode_lengths, &mut precode);
        for (symbol, extra, count) in &self.items[..self.item_count] {
            let symbol = usize::from(*symbol);
            writer.push(u64::from(precode[symbol]), u32::from(self.precode_lengths[symbol]));
            writer.push(u64::from(*extra), u32::from(*count));
            writer.flush();
        }
    }
}

fn write_sequences(writer: &mut BitWriter<'_>, found: &Found<'_>, lengths: &Codes) {
    let mut literal_codes = [0; MAX_SYMBOLS];
    codes(&lengths.literal_lengths, &mut literal_codes);
    let mut distance_codes = [0; DISTANCES];
    codes(&lengths.distance_lengths, &mut distance_codes);
    let mut literals: [Word; 256] = [0; 256];
    for (symbol, literal) in literals.iter_mut().enumerate() {
        *literal = word(literal_codes[symbol], lengths.literal_lengths[symbol]);
    }
    // A length's code with its extra bits, ready to be sent.
    let mut match_lengths: [Word; 512] = [0; 512];
    for (length, entry) in match_lengths[..259].iter_mut().enumerate().skip(3) {
        let class = length_class(length as u16);
        let symbol = END_OF_BLOCK + 1 + class;
        let bits = lengths.literal_lengths[symbol];
        let extra = (length - usize::from(LENGTHS.base[class])) as u64;
        *entry = (u64::from(literal_codes[symbol]) | extra << bits) | u64::from(bits + LENGTHS.extra[class]) << 32;
    }
    let mut distances = [(0u64, 0u32, 0u32); 32];
    for (class, entry) in distances[..DISTANCES].iter_mut().enumerate() {
        let bits = u32::from(lengths.distance_lengths[class]);
        *entry = (
            u64::from(distance_codes[class]) | u64::from(DISTANCE_CLASSES.base[class]) << 32,
            bits,
            bits + u32::from(DISTANCE_CLASSES.extra[class]),
        );
    }
    let mut position = 0;
    let Some((last, matches)) = found.sequences.split_last() else { return };
    for sequence in matches {
        push_literals(writer, &literals, found, position, sequence.literals as usize);
        position += sequence.literals as usize;
        let length = match_lengths[usize::from(sequence.length) & 511];
        writer.push(length & 0xffff_ffff, (length >> 32) as u32);
        let (code, bits, all) = distances[distance_class(sequence.distance)];
        let extra = u64::from(sequence.distance) - (code >> 32);
        writer.push((code & 0xffff_ffff) | extra << bits, all);
        writer.flush();
    }
    push_literals(writer, &literals, found, position, last.literals as usize);
    let symbol = END_OF_BLOCK;
    writer.push(u64::from(literal_codes[symbol]), u32::from(lengths.literal_lengths[symbol]));
    writer.flush();
}

/// Writes `count` literals in groups of four. Most runs are shorter, and of no foreseeable length: the codes behind the end are
/// masked away, as a wrongly guessed branch takes longer than four codes.
#[inline]
fn push_literals(writer: &mut BitWriter<'_>, codes: &[Word; 256], found: &Found<'_>, position: usize, count: usize) {
    let (mut position, mut left) = (position, count);
    loop {
        let taken = left.min(4);
        for (index, byte) in found.four_literals(position).into_iter().enumerate() {
            let literal = codes[usize::from(byte)] & u64::from(index < taken).wrapping_neg();
            writer.push(literal & 0xffff_ffff, (literal >> 32) as u32);
        }
        writer.flush();
        left -= taken;
        position += taken;
        if left == 0 {
            return;
        }
    }
}

/// Every flush may touch this many bytes behind the last one.
const _: () = assert!(SLACK == size_of::<u64>());
