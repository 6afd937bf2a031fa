//! Where a producer puts a key: the three ways in use, as functions of key and partition count.
//!
//! A partitioner of librdkafka or Kafka that ends in `_random`, and Java's default one, place a
//! record without key anywhere; with a key they are the functions here.

/// How a key decides its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// CRC32, as librdkafka and clients on top of it do by default.
    Consistent,
    /// Murmur2, as Java's clients do by default.
    Murmur2,
    /// A decimal key modulo the number of partitions; other keys by Murmur2.
    KeyModulo,
}

/// The partition of `partitions` that a record with this key belongs to; none where any will do:
/// without key, and by CRC32 with an empty one too.
pub fn partition_of(
    partitioner: Partitioner,
    key: Option<&[u8]>,
    partitions: usize,
) -> Option<i32> {
    let key = key?;
    let partitions = i32::try_from(partitions).ok().filter(|&count| count > 0)?;
    match partitioner {
        Partitioner::Consistent if key.is_empty() => None,
        Partitioner::Consistent => Some(consistent(key, partitions)),
        Partitioner::Murmur2 => Some(murmur2(key, partitions)),
        Partitioner::KeyModulo => {
            Some(key_modulo(key, partitions).unwrap_or_else(|| murmur2(key, partitions)))
        }
    }
}

/// `toPositive(murmur2(key)) % partitions`, as Java's producer does (`DefaultPartitioner`,
/// `BuiltInPartitioner`), and librdkafka with `partitioner=murmur2` or `murmur2_random`.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub fn murmur2(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2_hash(key) & 0x7fff_ffff;
    remainder(u64::from(positive), partitions)
}

/// `crc32fast::hash(key) % partitions`, as librdkafka does with `partitioner=consistent` or
/// `consistent_random`, its default.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub fn consistent(key: &[u8], partitions: i32) -> i32 {
    remainder(u64::from(crc32fast::hash(key)), partitions)
}

/// The key as a decimal number modulo `partitions`, as producers do that place by hand; `None` for a
/// key that is no number of ASCII digits.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub fn key_modulo(key: &[u8], partitions: i32) -> Option<i32> {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
    use rdkafka::{ClientConfig, ClientContext, Message};

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
            assert_eq!(crc32fast::hash(key.as_bytes()), crc, "{key}");
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

    #[test]
    fn decimal_keys_go_by_their_number_and_others_by_murmur2() {
        let of = |key: &str| partition_of(Partitioner::KeyModulo, Some(key.as_bytes()), 6);
        assert_eq!((of("42"), of("0043")), (Some(0), Some(1)));
        for key in ["", "-42", "4 2", "4.2", "foobar"] {
            let murmur = partition_of(Partitioner::Murmur2, Some(key.as_bytes()), 6);
            assert!(of(key).is_some() && of(key) == murmur, "{key}");
        }
        assert_eq!(partition_of(Partitioner::Murmur2, None, 3), None);
        assert_eq!(partition_of(Partitioner::Consistent, Some(b""), 3), None);
    }

    /// Keys and the partitions they were delivered to.
    #[derive(Default, Clone)]
    struct Delivered(Arc<Mutex<Vec<Keyed>>>);

    type Keyed = (Vec<u8>, i32);

    impl ClientContext for Delivered {}

    impl ProducerContext for Delivered {
        type DeliveryOpaque = ();

        fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
            let message = result.as_ref().expect("the cluster takes everything");
            let key = message.key().unwrap_or_default().to_vec();
            self.0.lock().unwrap().push((key, message.partition()));
        }
    }

    /// Keys of every length up to 40, and numbers.
    fn keys() -> Vec<String> {
        let text = "aé4-Zß{7.~ñ_qx0😀WdÖ9,kp:MéUb(!";
        let chars: Vec<char> = text.chars().collect();
        let beginnings = (1..=chars.len()).map(|end| chars[..end].iter().collect());
        beginnings
            .chain((0..200).map(|n| (n * 37).to_string()))
            .collect()
    }

    #[test]
    fn keys_go_where_librdkafka_sends_them() {
        const PARTITIONS: usize = 7;
        let cluster = MockCluster::new(1).expect("a cluster");
        for (name, partitioner) in [
            ("consistent_random", Partitioner::Consistent),
            ("murmur2_random", Partitioner::Murmur2),
        ] {
            let topic = format!("keys-{name}");
            let partitions = i32::try_from(PARTITIONS).unwrap();
            cluster
                .create_topic(&topic, partitions, 1)
                .expect("a topic");
            let delivered = Delivered::default();
            let producer: BaseProducer<Delivered> = ClientConfig::new()
                .set("bootstrap.servers", cluster.bootstrap_servers())
                .set("partitioner", name)
                .create_with_context(delivered.clone())
                .expect("a producer");
            for key in keys() {
                let record = BaseRecord::to(&topic).key(&key).payload("");
                producer.send(record).map_err(|(e, _)| e).expect("queued");
            }
            producer.flush(Duration::from_secs(60)).expect("delivered");
            let delivered = delivered.0.lock().unwrap();
            assert_eq!(delivered.len(), keys().len());
            for (key, partition) in &*delivered {
                let expected = partition_of(partitioner, Some(key), PARTITIONS);
                let key = String::from_utf8_lossy(key);
                assert_eq!(expected, Some(*partition), "{name} {key:?}");
            }
        }
    }
}
