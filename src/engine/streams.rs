//! Random numbers: one independent stream per (replication, entity, purpose), and keyed hashes for the models.
//!
//! A draw must not depend on what other entities do, or two runs that differ in one policy could not be
//! compared (common random numbers). So nobody shares a generator: every entity has a [`stream`] for every
//! purpose, and decisions that the kernel takes from a keyed hash are taken from [`keyed_hash`].

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The increment of SplitMix64: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014; constants of Stafford's variant 13).
///
/// A bijection of the 64-bit numbers: every input bit reaches every output bit. Zero maps to zero.
pub const fn mix64(u: u64) -> u64 {
    let u = (u ^ (u >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let u = (u ^ (u >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u ^ (u >> 31)
}

/// A keyed hash of a few words, for what a host derives from its boot secret: ISN, timestamp offset, port offset.
///
/// It stands in for the kernel's siphash: well mixed and the same on every machine, but no protection against an
/// adversary. Sequences of different length are different inputs.
pub fn keyed_hash(key: u64, words: &[u64]) -> u64 {
    let start = mix64(key ^ (words.len() as u64 + 1).wrapping_mul(GAMMA));
    let folded = words
        .iter()
        .fold(start, |state, word| mix64((state ^ word).wrapping_add(GAMMA)));
    // The key goes in once more: otherwise two keys would give the same function of the last word up to an XOR
    // of its argument.
    mix64(folded.wrapping_add(key))
}

/// The random stream of one entity for one purpose.
///
/// `role` and `position` name the entity by what it is ("node", 2), never by what the user calls it: renaming a
/// host changes no draw, and adding an entity leaves the streams of those before it alone. `purpose` separates
/// the uses inside an entity, so that a draw more in one place shifts nothing in another.
///
/// The recipe is part of the contract, because published results depend on it. The four words
/// `seed`, `replication`, `position` and FNV-1a-64(`role`, 0xff, `purpose`) are absorbed in this order:
/// `state = mix64((state ^ word) + GAMMA)` from `state = 0`; the four states, little-endian, are the key of
/// ChaCha8. That is a bijection from the words to the keys: streams coincide only if two names collide in FNV-1a.
pub fn stream(seed: u64, replication: u32, role: &str, position: u64, purpose: &str) -> ChaCha8Rng {
    // 0xff occurs in no UTF-8 string, so no other pair of names gives the same bytes.
    let names = role.bytes().chain([0xff]).chain(purpose.bytes());
    let words = [seed, u64::from(replication), position, fnv1a(names)];
    let mut key = [0; 32];
    let mut state = 0;
    for (part, word) in key.chunks_exact_mut(8).zip(words) {
        state = mix64((state ^ word).wrapping_add(GAMMA));
        part.copy_from_slice(&state.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// FNV-1a, 64 bits (draft-eastlake-fnv).
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::collections::BTreeSet;

    fn first(seed: u64, replication: u32, role: &str, position: u64, purpose: &str) -> u64 {
        stream(seed, replication, role, position, purpose).next_u64()
    }

    /// These values come from a second implementation of the recipe, with a ChaCha8 written for it.
    #[test]
    fn first_draws_are_pinned() {
        let mut rng = stream(1, 0, "node", 0, "snat-port");
        let draws = [rng.next_u64(), rng.next_u64(), rng.next_u64()];
        let pinned = [
            0xfa43_8b7d_6cf6_6fac,
            0xf8a4_e858_2886_8437,
            0x877e_50f6_e1b7_a4a4,
        ];
        assert_eq!(draws, pinned, "{draws:#018x?}");
        assert_eq!(first(1, 0, "", 0, ""), 0x88de_4148_cea1_4263);
    }

    #[test]
    fn hashes_are_pinned() {
        // FNV-1a of "foobar" is a published test vector, mix64(GAMMA) the first draw of SplitMix64 from state 0.
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
        assert_eq!(mix64(GAMMA), 0xe220_a839_7b1d_cdaf);
        assert_eq!(keyed_hash(1, &[2, 3]), 0x833f_9a9c_626a_4c2b);
        assert_eq!(keyed_hash(0, &[]), 0x4821_8226_ff3c_d4bf);
    }

    #[test]
    fn every_part_of_the_name_makes_another_stream() {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for seed in [0, 1, 2, u64::MAX] {
            for replication in [0, 1, 2, u32::MAX] {
                for position in [0, 1, 2, u64::MAX] {
                    for (role, purpose) in [
                        ("node", "port"),
                        ("nodep", "ort"),
                        ("pod", "port"),
                        ("", "nodeport"),
                    ] {
                        seen.insert(first(seed, replication, role, position, purpose));
                        count += 1;
                    }
                }
            }
        }
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn numbers_do_not_slide_from_one_part_into_another() {
        let parts = [
            first(1, 0, "pod", 0, "isn"),
            first(0, 1, "pod", 0, "isn"),
            first(0, 0, "pod", 1, "isn"),
            first(0, 0, "isn", 1, "pod"),
        ];
        assert_eq!(BTreeSet::from(parts).len(), parts.len());
    }

    #[test]
    fn one_flipped_bit_flips_half_of_the_hash() {
        for flipped in 0..192 {
            let ones: u32 = (0..1_000)
                .map(|sample| {
                    let mut parts = [mix64(sample + 1), sample, sample << 40];
                    let before = keyed_hash(parts[0], &parts[1..]);
                    parts[flipped / 64] ^= 1 << (flipped % 64);
                    (before ^ keyed_hash(parts[0], &parts[1..])).count_ones()
                })
                .sum();
            // 64,000 fair coins: standard deviation 126, so this is more than six of them.
            assert!((31_200..32_800).contains(&ones), "bit {flipped}: {ones} of 64000");
        }
    }

    #[test]
    fn hashes_of_neighbouring_words_fill_all_bins_alike() {
        for shift in [0, 16, 32, 48] {
            let mut bins = [0_u32; 256];
            for word in 0..65_536 {
                bins[(keyed_hash(7, &[word, 80]) >> shift) as usize & 255] += 1;
            }
            let chi_squared: f64 = bins.iter().map(|&n| (f64::from(n) - 256.0).powi(2) / 256.0).sum();
            // 255 degrees of freedom: mean 255, standard deviation 22.6.
            assert!(
                (140.0..370.0).contains(&chi_squared),
                "shift {shift}: {chi_squared}"
            );
        }
    }

    #[test]
    fn length_and_order_of_the_words_count() {
        let hashes = [
            keyed_hash(5, &[]),
            keyed_hash(5, &[0]),
            keyed_hash(5, &[0, 0]),
            keyed_hash(5, &[0, 1]),
            keyed_hash(5, &[1, 0]),
            keyed_hash(6, &[1, 0]),
        ];
        assert_eq!(BTreeSet::from(hashes).len(), hashes.len());
    }
}
