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

impl Found<'_> {
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

/// The tables of the search.
pub(super) struct Matcher {
    /// The segment, padded so that loads need no checks.
    bytes: Box<[u8; SEGMENT + PADDING]>,
    /// Latest position with each hash of eight bytes, and of four; 0 also where there was none: the bytes tell.
    long: Box<[u16; 1 << LONG_BITS]>,
    short: Box<[u16; 1 << SHORT_BITS]>,
    sequences: Vec<Sequence>,
    literals: Box<[u8; SEGMENT + PADDING]>,
    literal_count: usize,
}

impl Matcher {
    pub(super) fn new() -> Self {
        Self {
            bytes: Box::new([0; SEGMENT + PADDING]),
            long: Box::new([0; 1 << LONG_BITS]),
            short: Box::new([0; 1 << SHORT_BITS]),
            sequences: Vec::with_capacity(SEGMENT / MIN_MATCH + 1),
            literals: Box::new([0; SEGMENT + PADDING]),
            literal_count: 0,
        }
    }

    /// Splits a segment into sequences; the last one has the literals at its end.
    pub(super) fn find(&mut self, segment: &[u8]) -> Found<'_> {
        let length = segment.len();
        self.bytes[..length].copy_from_slice(segment);
        // What an earlier segment left behind must not be seen: the same bytes give the same output.
        self.long.fill(0);
        self.short.fill(0);
        self.sequences.clear();
        self.literal_count = 0;
        // Loads of eight bytes must not see what lies behind the segment.
        let limit = length.saturating_sub(8);
        let (mut position, mut start, mut misses) = (1, 0, 0u32);
        while position < limit {
            let Some((mut matched, mut distance)) = self.candidate(position, length) else {
                misses += 1;
                position += 1 + (misses >> SKIP_BITS) as usize;
                continue;
            };
            misses = 0;
            // A longer match at the next place is worth a literal.
            let next = position + 1;
            let candidate = self.swap_long(next);
            if self.four(candidate) == self.four(next) && next - candidate <= MAX_DISTANCE {
                let other = self.match_length(candidate, next, length);
                if other > matched {
                    (position, matched, distance) = (next, other, next - candidate);
                }
            }
            self.push_literals(start, position);
            self.sequences.push(Sequence {
                literals: (position - start) as u32,
                length: matched as u16,
                distance: distance as u16,
            });
            // What follows a match often goes on from its end.
            for inside in [position + 2, position + matched - 1] {
                self.swap_long(inside);
                self.swap_short(inside);
            }
            position += matched;
            start = position;
        }
        self.push_literals(start, length);
        self.sequences.push(Sequence { literals: (length - start) as u32, length: 0, distance: 0 });
        Found { sequences: &self.sequences, literals: &self.literals, literal_count: self.literal_count }
    }

    /// Enters a position into the tables; returns the length and distance of a match there that is worth it.
    #[inline]
    fn candidate(&mut self, position: usize, end: usize) -> Option<(usize, usize)> {
        let four = self.four(position);
        let long = self.swap_long(position);
        let short = self.swap_short(position);
        let is_long = (self.four(long) == four) & (position - long <= MAX_DISTANCE);
        let candidate = std::hint::select_unpredictable(is_long, long, short);
        let distance = position - candidate;
        if self.four(candidate) != four || distance > MAX_DISTANCE {
            return None;
        }
        Some((self.match_length(candidate, position, end), distance))
    }

    #[inline]
    fn swap_long(&mut self, position: usize) -> usize {
        let hash = self.eight(position).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - LONG_BITS);
        usize::from(std::mem::replace(&mut self.long[hash as usize], position as u16))
    }

    #[inline]
    fn swap_short(&mut self, position: usize) -> usize {
        let hash = self.four(position).wrapping_mul(0x9e37_79b1) >> (32 - SHORT_BITS);
        usize::from(std::mem::replace(&mut self.short[hash as usize], position as u16))
    }

    /// Gathers literals, more than asked for where that is quicker.
    #[inline]
    fn push_literals(&mut self, start: usize, end: usize) {
        let (from, to) = (start & (SEGMENT - 1), self.literal_count & (SEGMENT - 1));
        if end - start <= PADDING {
            self.literals[to..to + PADDING].copy_from_slice(&self.bytes[from..from + PADDING]);
        } else {
            self.literals[to..to + end - start].copy_from_slice(&self.bytes[start..end]);
        }
        self.literal_count += end - start;
    }

    #[inline]
    fn four(&self, position: usize) -> u32 {
        let position = position & (SEGMENT - 1);
        let bytes = &self.bytes[position..position + 4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[inline]
    fn eight(&self, position: usize) -> u64 {
        let position = position & (SEGMENT - 1);
        let bytes = &self.bytes[position..position + 8];
        u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
    }

    /// Counts equal bytes at two places that begin with four of them.
    #[inline]
    fn match_length(&self, candidate: usize, position: usize, end: usize) -> usize {
        let most = MAX_MATCH.min(end - position);
        let mut length = MIN_MATCH;
        while length < most {
            let difference = self.eight(candidate + length) ^ self.eight(position + length);
            if difference != 0 {
                return (length + (difference.trailing_zeros() / 8) as usize).min(most);
            }
            length += 8;
        }
        most
    }
}
