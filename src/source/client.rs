//! The properties librdkafka is given: the operator's, and those that are ours.

use std::time::Duration;

use streamweir_kafka::ClientConfig;

use crate::config::{GroupProtocol, Kafka, Partitioner, Pipeline, Service};

/// How long the transaction of one who was killed holds readers of committed messages back.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// What is derived for one lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientSettings<'a> {
    pub(crate) service: &'a Service,
    pub(crate) pipeline: &'a Pipeline,
    /// Number of the lane within the pipeline.
    pub(crate) lane: u16,
    /// Bytes of fetched records the client may hold for this lane.
    pub(crate) queue_bytes: u64,
}

/// One lane's consumer.
pub(crate) fn consumer_config(settings: ClientSettings<'_>) -> ClientConfig {
    let ClientSettings {
        service,
        pipeline,
        lane,
        queue_bytes,
    } = settings;
    let mut config = base_config(&pipeline.kafka, &pipeline.name);
    // A full prefetch queue waits this long before fetching on; the default of 1,000 ms leaves a
    // fast consumer idle four fifths of the time. Operators may set it.
    let mut default = |key: &str, value: &str| {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    };
    default("fetch.queue.backoff.ms", "2");
    default("fetch.wait.max.ms", "100");
    default("fetch.min.bytes", "1");
    // All records of one answer are unpacked at once, before anything asks for room: what one fetch
    // brings is small, because repetitive text is a hundred times larger unpacked. A record that is
    // larger than this is fetched all the same.
    let fetch_bytes_max = (queue_bytes / 16).clamp(256 << 10, 1 << 20);
    default(
        "max.partition.fetch.bytes",
        &(fetch_bytes_max / 2).to_string(),
    );
    // The client raises the size of a fetch to that of a message, which bounds only what it sends.
    let message_bytes_max = pipeline.kafka.properties.get("message.max.bytes");
    let message_bytes_max = message_bytes_max.and_then(|v| v.value().parse::<u64>().ok());
    default("message.max.bytes", &fetch_bytes_max.to_string());
    let floor = message_bytes_max.unwrap_or(0).min(1_000_000_000);
    default("fetch.max.bytes", &fetch_bytes_max.max(floor).to_string());
    config
        .set("group.id", &pipeline.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("queued.min.messages", "1000")
        .set(
            "queued.max.messages.kbytes",
            (queue_bytes / 1024).max(1024).to_string(),
        );
    set_assignor(&mut config, pipeline);
    if let Some(instance_id) = &service.instance_id {
        config.set("group.instance.id", format!("{instance_id}-{lane}"));
    }
    config
}

/// Who gives partitions to members, and how.
fn set_assignor(config: &mut ClientConfig, pipeline: &Pipeline) {
    match pipeline.group_protocol {
        // One member reads all of a topic: with the first partition everything changes hands.
        // Equal partitions of two topics are one member's.
        GroupProtocol::Classic if pipeline.has_one_reader() || pipeline.is_transactional() => {
            config.set("partition.assignment.strategy", "range");
        }
        GroupProtocol::Classic => {
            config.set("partition.assignment.strategy", "cooperative-sticky");
        }
        GroupProtocol::Consumer => {
            config.set("group.protocol", "consumer");
        }
    }
}

/// The producer of dead letters and other plain output: idempotent, every replica in sync.
pub(crate) fn producer_config(kafka: &Kafka, pipeline: &str) -> ClientConfig {
    let mut config = base_config(kafka, pipeline);
    // Consumer properties of the operator mean nothing to a producer and would only be warned of.
    for key in CONSUMER_ONLY {
        config.remove(key);
    }
    config
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        // A record as large as the broker lets in comes back out with a few headers more.
        .set("message.max.bytes", "104857600")
        // A single record must fit; how many are queued at once is the caller's to bound.
        .set("queue.buffering.max.kbytes", "131072");
    config
}

/// The producer of a join's lanes; each adds its number to `transactional.id`.
pub(crate) fn transaction_config(
    pipeline: &Pipeline,
    service: &Service,
    partitioner: Partitioner,
) -> ClientConfig {
    let mut config = producer_config(&pipeline.kafka, &pipeline.name);
    // Whoever has no name of its own must not fence another of the same configuration.
    let name = match &service.instance_id {
        Some(instance_id) => instance_id.clone(),
        None => format!("{:016x}", rand::random::<u64>()),
    };
    let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
    // Another name of the same property.
    config.remove("delivery.timeout.ms");
    config
        .set("transactional.id", format!("{}-{name}", pipeline.group_id))
        .set("transaction.timeout.ms", &timeout)
        .set("message.timeout.ms", &timeout)
        .set("delivery.report.only.error", "true")
        // How many are on their way is bounded by who hands them over.
        .set("queue.buffering.max.messages", "1000000")
        .set(
            "partitioner",
            match partitioner {
                Partitioner::Consistent => "consistent_random",
                // Of keys that are no numbers.
                Partitioner::Murmur2 | Partitioner::KeyModulo => "murmur2_random",
            },
        );
    config
}

/// For questions and for making topics.
pub(crate) fn admin_client(kafka: &Kafka, pipeline: &str) -> ClientConfig {
    let mut config = base_config(kafka, pipeline);
    for key in CONSUMER_ONLY {
        config.remove(key);
    }
    config
}

const CONSUMER_ONLY: [&str; 12] = [
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "fetch.min.bytes",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "max.partition.fetch.bytes",
    "fetch.error.backoff.ms",
    "max.poll.interval.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "check.crcs",
    "coordinator.query.interval.ms",
];

fn base_config(kafka: &Kafka, pipeline: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap_servers.join(","))
        .set("client.id", format!("streamweir-{pipeline}"))
        .set("socket.nagle.disable", "true")
        .set("log.connection.close", "false");
    for (key, property) in &kafka.properties {
        config.set(key, property.value());
    }
    config
}
