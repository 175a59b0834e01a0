//! Canonical Huffman codes of limited length (RFC 1951, 3.2.2).

/// Most symbols of an alphabet: literals and lengths.
pub(super) const MAX_SYMBOLS: usize = 286;
/// Longest code of any alphabet here.
const MAX_BITS: usize = 15;

/// Gives each of `lengths` the length of its symbol's code, 0 where it does not occur; none is longer than `limit` bits.
/// There are at least two codes, as some decoders want.
pub(super) fn code_lengths(frequencies: &[u32], limit: usize, lengths: &mut [u8]) {
    debug_assert!(frequencies.len() <= MAX_SYMBOLS && frequencies.len() == lengths.len());
    lengths.fill(0);
    // Frequency and symbol in one word, so that sorting is by frequency, then by symbol: the same everywhere.
    let mut sorted = [0u64; MAX_SYMBOLS];
    let mut used = 0;
    for (symbol, frequency) in frequencies.iter().enumerate().filter(|(_, frequency)| **frequency > 0) {
        sorted[used] = u64::from(*frequency) << 16 | symbol as u64;
        used += 1;
    }
    if used < 2 {
        let only = if used == 1 { (sorted[0] & 0xffff) as usize } else { 0 };
        lengths[only] = 1;
        lengths[usize::from(only == 0)] = 1;
        return;
    }
    let sorted = &mut sorted[..used];
    sorted.sort_unstable();
    let mut count = [0u32; MAX_BITS + 1];
    count_lengths(sorted, limit, &mut count);
    // The rarest symbols get the longest codes.
    let mut bits = limit;
    for entry in sorted.iter() {
        while count[bits] == 0 {
            bits -= 1;
        }
        count[bits] -= 1;
        lengths[(entry & 0xffff) as usize] = bits as u8;
    }
}

/// Counts how many codes of each length the best code has, and shortens those over the limit.
fn count_lengths(sorted: &[u64], limit: usize, count: &mut [u32; MAX_BITS + 1]) {
    let used = sorted.len();
    // Two queues: leaves in order, and inner nodes, which come into being in order. `parent` is of inner nodes.
    let mut weight = [0u64; MAX_SYMBOLS];
    let mut parent = [0u16; MAX_SYMBOLS];
    let (mut leaf, mut inner) = (0, 0);
    let mut leaf_parent = [0u16; MAX_SYMBOLS];
    for node in 0..used - 1 {
        let mut sum = 0;
        for _ in 0..2 {
            if leaf < used && (inner >= node || sorted[leaf] >> 16 <= weight[inner]) {
                sum += sorted[leaf] >> 16;
                leaf_parent[leaf] = node as u16;
                leaf += 1;
            } else {
                sum += weight[inner];
                parent[inner] = node as u16;
                inner += 1;
            }
        }
        weight[node] = sum;
    }
    let mut depth = [0u16; MAX_SYMBOLS];
    for node in (0..used - 2).rev() {
        depth[node] = depth[parent[node] as usize] + 1;
    }
    for parent in &leaf_parent[..used] {
        count[(depth[*parent as usize] as usize + 1).min(limit)] += 1;
    }
    // Codes that were cut overfill the code space; one shorter code made longer makes room for two.
    let mut space: u32 = (1..=limit).map(|bits| count[bits] << (limit - bits)).sum();
    while space > 1 << limit {
        let mut bits = limit - 1;
        while count[bits] == 0 {
            bits -= 1;
        }
        count[bits] -= 1;
        count[bits + 1] += 2;
        count[limit] -= 1;
        space -= 1;
    }
}

/// Returns the codes of `lengths`, bits reversed as deflate sends them.
pub(super) fn codes(lengths: &[u8], codes: &mut [u16]) {
    let mut count = [0u16; MAX_BITS + 1];
    for length in lengths {
        count[*length as usize] += 1;
    }
    count[0] = 0;
    let mut next = [0u16; MAX_BITS + 2];
    for bits in 1..=MAX_BITS {
        next[bits + 1] = (next[bits] + count[bits]) << 1;
    }
    for (length, code) in lengths.iter().zip(codes) {
        if *length > 0 {
            let bits = *length as usize;
            *code = next[bits].reverse_bits() >> (16 - bits);
            next[bits] = next[bits].wrapping_add(1);
        }
    }
}
