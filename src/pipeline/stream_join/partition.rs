//! Which partition a key goes to, by the rules that producers have.

use crate::config::Partitioner;

/// The partition of `partitions` that a record with this key belongs to; none where any will do:
/// without key, and by CRC32 with an empty one too.
pub(crate) fn partition_of(
    partitioner: Partitioner,
    key: Option<&[u8]>,
    partitions: usize,
) -> Option<i32> {
    let key = key?;
    let partitions = u32::try_from(partitions).ok().filter(|&count| count > 0)?;
    let partition = match partitioner {
        Partitioner::Consistent if key.is_empty() => return None,
        Partitioner::Consistent => crc32fast::hash(key) % partitions,
        Partitioner::Murmur2 => to_positive(murmur2(key)) % partitions,
        Partitioner::KeyModulo => {
            modulo(key, partitions).unwrap_or_else(|| to_positive(murmur2(key)) % partitions)
        }
    };
    i32::try_from(partition).ok()
}

/// A decimal key of any length modulo `divisor`; none for other keys.
fn modulo(key: &[u8], divisor: u32) -> Option<u32> {
    if key.is_empty() || !key.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let divisor = u64::from(divisor);
    let step = |rest: u64, digit: &u8| (rest * 10 + u64::from(digit - b'0')) % divisor;
    // Below the divisor, which has 32 bits.
    u32::try_from(key.iter().fold(0, step)).ok()
}

/// As Java's clients do it: the sign is cut off, not turned.
fn to_positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// MurmurHash2 with the seed of Kafka's clients.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // The length takes part with its low 32 bits, as everywhere.
    let mut hash = SEED ^ key.len() as u32;
    let (blocks, tail) = key.as_chunks::<4>();
    for block in blocks {
        let mut k = u32::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let of_tail = |sum, (at, &byte): (u32, &u8)| sum | u32::from(byte) << (8 * at);
        hash = (hash ^ (0..).zip(tail).fold(0, of_tail)).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
    use rdkafka::{ClientConfig, ClientContext, Message};

    use super::*;

    /// What Kafka's own tests expect of Java's client.
    const OF_JAVA: [(&str, i32); 6] = [
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

    #[test]
    fn murmur2_is_that_of_java() {
        for (key, hash) in OF_JAVA {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn decimal_keys_go_by_their_number_and_others_by_murmur2() {
        let of = |key: &str| partition_of(Partitioner::KeyModulo, Some(key.as_bytes()), 6);
        for (key, partition) in [
            ("42", 0),
            ("43", 1),
            ("0043", 1),
            ("0", 0),
            ("18446744073709551616", 4),
            ("100000000000000000000000000000000000000000000000001", 5),
        ] {
            assert_eq!(of(key), Some(partition), "{key}");
        }
        for key in ["", "-42", "4 2", "4.2", "foobar", "٤٢"] {
            let murmur = partition_of(Partitioner::Murmur2, Some(key.as_bytes()), 6);
            assert!(of(key).is_some() && of(key) == murmur, "{key}");
        }
    }

    #[test]
    fn without_key_any_partition_will_do() {
        for partitioner in [
            Partitioner::Consistent,
            Partitioner::Murmur2,
            Partitioner::KeyModulo,
        ] {
            assert_eq!(partition_of(partitioner, None, 3), None);
            assert_eq!(partition_of(partitioner, Some(b"a"), 0), None);
        }
        assert_eq!(partition_of(Partitioner::Consistent, Some(b""), 3), None);
        assert!(partition_of(Partitioner::Murmur2, Some(b""), 3).is_some());
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
