//! Finds repetitions inside a segment: greedy, with two candidates per place and a look at the next one.

/// Bytes that are searched as one; positions fit into 16 bits.
pub(super) const SEGMENT: usize = 1 << 16;
/// Shortest match that is looked for. Deflate could say 3, which rarely pays.
const MIN_MATCH: usize = 4;
/// Longest match (RFC 1951, 3.2.5).
const MAX_MATCH: usize = 258;
/// Farthest match (RFC 1951, 3.2.5).
const MAX_DISTANCE: usize = 32768;
/// Bits of the hashes. With 13 each, both tables stay in the first-level cache and 4 % of the time is saved, but files become 1 %
/// larger, which is more than `compression=fast` may take.
const LONG_BITS: u32 = 14;
const SHORT_BITS: u32 = 15;
/// Misses in a row, as a power of two, after which steps grow by one byte: data without repetitions is passed over quickly.
const SKIP_BITS: u32 = 7;
/// Literals copied at once, and how far loads and copies may reach over the end of a segment.
const PADDING: usize = 16;

/// Some literals and the match behind them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    /// 0 in the last sequence, which has no match.
    pub(super) length: u16,
    pub(super) distance: u16,
}

/// What a segment consists of.
pub(super) struct Found<'a> {
    pub(super) sequences: &'a [Sequence],
    literals: &'a [u8; SEGMENT + PADDING],
    literal_count: usize,
}

impl<'a> Found<'a> {
    fn new(sequences: &'a [Sequence], literals: &'a Bytes, literal_count: usize) -> Self {
        Self { sequences, literals, literal_count }
    }

    /// Returns the literals of all sequences, in order.
    pub(super) fn literals(&self) -> &[u8] {
        &self.literals[..self.literal_count]
    }

    /// Returns the literals from `position` on, and anything behind the last one.
    #[inline]
    pub(super) fn four_literals(&self, position: usize) -> [u8; 4] {
        let position = position & (SEGMENT - 1);
        let four = &self.literals[position..position + 4];
        [four[0], four[1], four[2], four[3]]
    }
}

/// A segment, padded so that loads need no checks.
type Bytes = [u8; SEGMENT + PADDING];
type LongTable = [u16; 1 << LONG_BITS];
type ShortTable = [u16; 1 << SHORT_BITS];
/// Most sequences of a segment: each but the last has a match.
const MAX_SEQUENCES: usize = SEGMENT / MIN_MATCH + 1;

/// The tables of the search.
pub(super) struct Matcher {
    bytes: Box<Bytes>,
    /// Latest position with each hash of eight bytes, and of four; 0 also where there was none: the bytes tell.
    long: Box<LongTable>,
    short: Box<ShortTable>,
    sequences: Box<[Sequence]>,
    literals: Box<Bytes>,
}

impl Matcher {
    pub(super) fn new() -> Self {
        Self {
            bytes: Box::new([0; SEGMENT + PADDING]),
            long: Box::new([0; 1 << LONG_BITS]),
            short: Box::new([0; 1 << SHORT_BITS]),
            sequences: vec![Sequence::default(); MAX_SEQUENCES].into_boxed_slice(),
            literals: Box::new([0; SEGMENT + PADDING]),
        }
    }

    /// Splits a segment into sequences; the last one has the literals at its end.
    pub(super) fn find(&mut self, segment: &[u8]) -> Found<'_> {
        let length = segment.len();
        self.bytes[..length].copy_from_slice(segment);
        // What an earlier segment left behind must not be seen: the same bytes give the same output.
        self.long.fill(0);
        self.short.fill(0);
        let bytes = &*self.bytes;
        let mut tables = Tables { bytes, long: &mut self.long, short: &mut self.short };
        let mut gathered =
            Gathered { bytes, sequences: &mut self.sequences, literals: &mut self.literals, counts: (0, 0) };
        // Loads of eight bytes must not see what lies behind the segment.
        let limit = length.saturating_sub(8);
        let (mut position, mut start, mut misses) = (1, 0, 0u32);
        while position < limit {
            let Some((mut matched, mut distance)) = tables.candidate(position, length) else {
                misses += 1;
                position += 1 + (misses >> SKIP_BITS) as usize;
                continue;
            };
            misses = 0;
            // A longer match at the next place is worth a literal.
            let next = position + 1;
            let candidate = tables.swap_long(next);
            if four(bytes, candidate) == four(bytes, next) && next - candidate <= MAX_DISTANCE {
                let other = match_length(bytes, candidate, next, length);
                if other > matched {
                    (position, matched, distance) = (next, other, next - candidate);
                }
            }
            gathered.push(start, position, matched, distance);
            // What follows a match often goes on from its end.
            for inside in [position + 2, position + matched - 1] {
                tables.swap_long(inside);
                tables.swap_short(inside);
            }
            position += matched;
            start = position;
        }
        gathered.push(start, length, 0, 0);
        let (sequences, literals) = gathered.counts;
        Found::new(&self.sequences[..sequences], &self.literals, literals)
    }
}

/// What the search reads and writes.
struct Tables<'a> {
    bytes: &'a Bytes,
    long: &'a mut LongTable,
    short: &'a mut ShortTable,
}

impl Tables<'_> {
    /// Enters a position into the tables; returns the length and distance of a match there that is worth it.
    #[inline]
    fn candidate(&mut self, position: usize, end: usize) -> Option<(usize, usize)> {
        let wanted = four(self.bytes, position);
        let long = self.swap_long(position);
        let short = self.swap_short(position);
        let is_long = (four(self.bytes, long) == wanted) & (position - long <= MAX_DISTANCE);
        let candidate = std::hint::select_unpredictable(is_long, long, short);
        let distance = position - candidate;
        if four(self.bytes, candidate) != wanted || distance > MAX_DISTANCE {
            return None;
        }
        Some((match_length(self.bytes, candidate, position, end), distance))
    }

    #[inline]
    fn swap_long(&mut self, position: usize) -> usize {
        let hash = eight(self.bytes, position).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - LONG_BITS);
        usize::from(std::mem::replace(&mut self.long[hash as usize], position as u16))
    }

    #[inline]
    fn swap_short(&mut self, position: usize) -> usize {
        let hash = four(self.bytes, position).wrapping_mul(0x9e37_79b1) >> (32 - SHORT_BITS);
        usize::from(std::mem::replace(&mut self.short[hash as usize], position as u16))
    }
}

/// What was found so far.
struct Gathered<'a> {
    bytes: &'a Bytes,
    sequences: &'a mut [Sequence],
    literals: &'a mut Bytes,
    /// How many sequences and literals there are.
    counts: (usize, usize),
}

impl Gathered<'_> {
    /// Adds the literals from `start` to `end` and a match; gathers more literals than asked for where that is quicker.
    #[inline]
    fn push(&mut self, start: usize, end: usize, length: usize, distance: usize) {
        let (sequences, literals) = &mut self.counts;
        let (from, to) = (start & (SEGMENT - 1), *literals & (SEGMENT - 1));
        if end - start <= PADDING {
            self.literals[to..to + PADDING].copy_from_slice(&self.bytes[from..from + PADDING]);
        } else {
            self.literals[to..to + end - start].copy_from_slice(&self.bytes[start..end]);
        }
        let sequence = Sequence { literals: (end - start) as u32, length: length as u16, distance: distance as u16 };
        if let Some(slot) = self.sequences.get_mut(*sequences) {
            *slot = sequence;
        }
        *sequences += 1;
        *literals += end - start;
    }
}

#[inline]
fn four(bytes: &Bytes, position: usize) -> u32 {
    let position = position & (SEGMENT - 1);
    let bytes = &bytes[position..position + 4];
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[inline]
fn eight(bytes: &Bytes, position: usize) -> u64 {
    let position = position & (SEGMENT - 1);
    let bytes = &bytes[position..position + 8];
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// Counts equal bytes at two places that begin with four of them.
#[inline]
fn match_length(bytes: &Bytes, candidate: usize, position: usize, end: usize) -> usize {
    let most = MAX_MATCH.min(end - position);
    let mut length = MIN_MATCH;
    while length < most {
        let difference = eight(bytes, candidate + length) ^ eight(bytes, position + length);
        if difference != 0 {
            return (length + (difference.trailing_zeros() / 8) as usize).min(most);
        }
        length += 8;
    }
    most
}
