//! Where a producer puts a key: the three ways in use, as functions of key and partition count.
//!
//! A partitioner of librdkafka or Kafka that ends in `_random`, and Java's default one, place a
//! record without key anywhere; with a key they are the functions here.

/// `toPositive(murmur2(key)) % partitions`, as Java's producer does (`DefaultPartitioner`,
/// `BuiltInPartitioner`), and librdkafka with `partitioner=murmur2` or `murmur2_random`.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub(crate) fn murmur2(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2_hash(key) & 0x7fff_ffff;
    remainder(u64::from(positive), partitions)
}

/// `crc32(key) % partitions`, as librdkafka does with `partitioner=consistent` or
/// `consistent_random`, its default.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub(crate) fn consistent(key: &[u8], partitions: i32) -> i32 {
    remainder(u64::from(crc32(key)), partitions)
}

/// The key as a decimal number modulo `partitions`, as producers do that place by hand; `None` for a
/// key that is no number of ASCII digits.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub(crate) fn key_modulo(key: &[u8], partitions: i32) -> Option<i32> {
    if key.is_empty() || !key.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let modulus = u64::from(partitions.unsigned_abs());
    // Digit by digit, so that no number is too long.
    let step = |rest: u64, digit: &u8| (rest * 10 + u64::from(digit - b'0')) % modulus;
    Some(remainder(key.iter().fold(0, step), partitions))
}

fn remainder(hash: u64, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    let rest = hash % u64::from(partitions.unsigned_abs());
    i32::try_from(rest).expect("less than the partition count")
}

/// Kafka's variant of MurmurHash2, `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2_hash(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(key.len()).expect("a record's key has less than 2 GiB");
    let (words, rest) = key.as_chunks::<4>();
    let mut hash = words.iter().fold(SEED ^ length, |hash, word| {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash.wrapping_mul(M) ^ k.wrapping_mul(M)
    });
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// CRC-32 as zlib has it (polynomial 0xedb88320, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        (crc >> 8) ^ CRC32[index as usize]
    });
    !crc
}

const CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (low * 0xedb8_8320);
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_the_hashes_that_kafkas_own_test_expects() {
        // org.apache.kafka.common.utils.UtilsTest.testMurmur2
        let expected: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (key, hash) in expected {
            assert_eq!(murmur2_hash(key.as_bytes()).cast_signed(), hash, "{key}");
            let positive = hash & 0x7fff_ffff;
            for partitions in [1, 3, 16] {
                assert_eq!(murmur2(key.as_bytes(), partitions), positive % partitions);
            }
        }
    }

    #[test]
    fn consistent_goes_by_the_crc32_of_zlib() {
        // The check value of CRC-32, and others of zlib.crc32.
        for (key, crc) in [
            ("", 0),
            ("123456789", 0xcbf4_3926),
            ("a", 0xe8b7_be43),
            ("foobar", 0x9ef6_1f95),
        ] {
            assert_eq!(crc32(key.as_bytes()), crc, "{key}");
            assert_eq!(i64::from(consistent(key.as_bytes(), 7)), i64::from(crc) % 7);
        }
    }

    #[test]
    fn key_modulo_takes_decimal_numbers_of_any_length_and_nothing_else() {
        assert_eq!(key_modulo(b"17", 4), Some(1));
        assert_eq!(key_modulo(b"0017", 4), Some(1));
        assert_eq!(key_modulo(b"18446744073709551615", 16), Some(15));
        assert_eq!(key_modulo(&[b'9'; 400], 9), Some(0));
        assert_eq!(key_modulo(&[b'9'; 400], i32::MAX), {
            let rest = (0..400).fold(0u64, |rest, _| (rest * 10 + 9) % 2_147_483_647);
            Some(rest as i32)
        });
        for key in ["", "-1", "1.0", "x", "1 "] {
            assert_eq!(key_modulo(key.as_bytes(), 4), None, "{key}");
        }
    }
}
