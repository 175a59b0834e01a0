//! What is compressed unpacks to itself, judged by another's decoder, and its bytes never change.

use libdeflater::Decompressor;
use proptest::prelude::*;

use super::fast::FastDeflate;

fn compress(encoder: &mut FastDeflate, input: &[u8]) -> Vec<u8> {
    let mut out = vec![0; FastDeflate::bound(input.len())];
    let length = encoder.compress(input, &mut out);
    out.truncate(length);
    out
}

fn round_trip(input: &[u8]) -> usize {
    let packed = compress(&mut FastDeflate::new(), input);
    let mut unpacked = vec![0; input.len()];
    let length = Decompressor::new().deflate_decompress(&packed, &mut unpacked).unwrap();
    assert_eq!(length, input.len());
    assert!(unpacked == input, "{} bytes come back changed", input.len());
    packed.len()
}

/// A cheap stream of bytes that look random.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// Words in no order: what text and programs look like to the matcher.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let words: [&[u8]; 8] = [b"kiln ", b"image", b"\0\0\0\0", b"convert ", b"\x48\x89\xe5", b"a", b"grain, ", b"\n"];
    noise(seed, length).into_iter().flat_map(|byte| words[usize::from(byte & 7)]).copied().take(length).collect()
}

#[test]
fn every_kind_of_content_comes_back() {
    for length in [0, 1, 2, 3, 4, 7, 8, 9, 100, 511, 512, 4096, 65535, 65536, 65537, 131_072, 2 << 20] {
        round_trip(&vec![0; length]);
        round_trip(&vec![0xa5; length]);
        round_trip(&noise(7, length));
        round_trip(&text(9, length));
        round_trip(&(0..length).map(|at| at as u8).collect::<Vec<_>>());
        round_trip(&(0..length).map(|at| (at / 300) as u8).collect::<Vec<_>>());
    }
}

#[test]
fn what_cannot_shrink_is_stored() {
    for length in [1, 65535, 65536, 200_000] {
        assert!(round_trip(&noise(3, length)) <= length + length.div_ceil(65536) * 10);
    }
}

#[test]
fn matches_at_the_farthest_and_the_longest() {
    for distance in [1, 2, 32767, 32768, 32769] {
        let front = noise(5, distance);
        let again = [&front[..], &front[..distance.min(600)], &noise(6, 20)].concat();
        let length = round_trip(&again);
        if (4..=32768).contains(&distance) {
            assert!(length < again.len() - 300, "{distance}: a repetition of {} bytes was missed", distance.min(600));
        }
    }
}

#[test]
fn codes_are_cut_to_their_limit() {
    // Frequencies like Fibonacci's numbers make the deepest tree there is.
    let (mut one, mut two) = (1usize, 1);
    let mut bytes = Vec::new();
    for symbol in 0..22u8 {
        bytes.resize(bytes.len() + one, symbol);
        (one, two) = (two, one + two);
    }
    let order = noise(11, bytes.len());
    let mut shuffled: Vec<_> = order.into_iter().enumerate().map(|(at, key)| (key, bytes[at])).collect();
    shuffled.sort_by_key(|(key, _)| *key);
    round_trip(&shuffled.into_iter().map(|(_, byte)| byte).collect::<Vec<_>>());
}

#[test]
fn the_bytes_do_not_depend_on_what_came_before() {
    let mut used = FastDeflate::new();
    for seed in 0..20 {
        compress(&mut used, &text(seed, 65536));
        compress(&mut used, &noise(seed, 1000));
    }
    for piece in [text(77, 65536), text(78, 512), noise(79, 65536), text(80, 300_000)] {
        assert!(compress(&mut used, &piece) == compress(&mut FastDeflate::new(), &piece));
    }
}

/// Outputs are reproducible across machines and versions: who changes the encoder on purpose changes these.
#[test]
fn the_bytes_are_what_they_always_were() {
    let packed = compress(&mut FastDeflate::new(), &text(1, 65536));
    let digest = crate::Sha256Digest::of(&packed).to_string();
    assert_eq!((packed.len(), &digest[..16]), (12468, "0eda844be8d7eda6"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_comes_back(
        parts in prop::collection::vec((any::<u64>(), 0usize..40_000, 0u8..4), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut input = Vec::new();
        for (seed, length, kind) in parts {
            match kind {
                0 => input.extend(noise(seed, length)),
                1 => input.extend(text(seed, length)),
                2 => input.resize(input.len() + length, seed as u8),
                // Something from before, at any distance.
                _ => {
                    let start = seed as usize % (input.len() + 1);
                    let end = input.len().min(start + length);
                    input.extend_from_within(start..end);
                }
            }
        }
        input.extend(tail);
        round_trip(&input);
    }
}
