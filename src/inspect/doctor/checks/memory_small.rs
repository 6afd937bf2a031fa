//! `service.memory_max` is too small for what is declared, or too large for the machine.

use super::prelude::*;

/// What the process takes beside what is counted.
const PROCESS_BYTES: u64 = 80 << 20;
const KEY: &str = "service.memory_max";

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    let memory_max = facts.service.memory_max_bytes;
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    if let Some(machine) = facts
        .machine
        .memory_bytes
        .filter(|bytes| memory_max > *bytes)
    {
        found.add_of_process(
            Error,
            KEY,
            format!(
                "service.memory_max is {}, and this machine or container has {}: the process is killed before it \
                 reaches its ceiling",
                mib(memory_max),
                mib(machine)
            ),
            "set service.memory_max below what the process may take",
        );
    }
    let lanes: u64 = facts
        .pipelines
        .iter()
        .map(|own| u64::from(own.pipeline.consumers))
        .sum();
    let queues = (memory_max / 32 / lanes.max(1)).clamp(1 << 20, 16 << 20) * lanes;
    let room = memory_max.saturating_sub(PROCESS_BYTES + queues);
    // What one sealed and one open batch of each pipeline may take, as far as one record does.
    let batch = |own: &PipelineFacts| own.pipeline.batch.bytes_max as u64;
    let largest = facts.pipelines.iter().map(batch).max().unwrap_or(0);
    let needed = largest.max(lanes << 20);
    if lanes > 0 && room < needed {
        found.add_of_process(
            Warning,
            KEY,
            format!(
                "service.memory_max is {}: the process and the queues of {lanes} consumers take about {}, which \
                 leaves {} for batches, caches and state, and one batch may be {} (pipeline.batch.bytes_max): \
                 consumers pause, and batches are sealed early",
                mib(memory_max),
                mib(PROCESS_BYTES + queues),
                mib(room),
                mib(largest)
            ),
            "raise service.memory_max, or lower consumers and pipeline.batch.bytes_max",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn the_ceiling_must_hold_queues_and_a_batch() {
        assert_silent("memory_small", &enrichment());
        let small = ("memory_max = \"256MiB\"", "memory_max = \"96MiB\"");
        let finding = one("memory_small", &shipped("clickstream", &[small]));
        assert_eq!(
            (finding.level, &*finding.place),
            (Warning, "service.memory_max")
        );
        let many = ("consumers = 1 ", "consumers = 64 ");
        let small = ("memory_max = \"256MiB\"", "memory_max = \"160MiB\"");
        assert_eq!(
            found("memory_small", &shipped("clickstream", &[many, small])).len(),
            1
        );
    }

    #[test]
    fn the_machine_must_have_it() {
        let mut facts = enrichment();
        facts.machine.memory_bytes = Some(200 << 20);
        assert_eq!(one("memory_small", &facts).level, Error);
        facts.machine.memory_bytes = None;
        assert_silent("memory_small", &facts);
    }
}
