//! Windows of many groups through the daemon's own reading, windows and rows, in memory and on disk.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use streamweir::config::Config;
use streamweir::drive::{Given, WindowPath};

use super::{mixed, peak_memory, spent};

/// Records of one poll.
const CHUNK_RECORDS: u64 = 1_000;
/// 2025-11-21T10:00:00Z.
const T: i64 = 1_763_719_200_000;

const COLUMNS: [(&str, &str); 9] = [
    ("window_start", "DateTime64(3, 'UTC')"),
    ("window_end", "DateTime64(3, 'UTC')"),
    ("customer", "String"),
    ("sales", "UInt64"),
    ("revenue", "Decimal(38, 9)"),
    ("revision", "UInt64"),
    ("late_count", "UInt64"),
    ("is_final", "UInt8"),
    ("version", "UInt64"),
];

fn config(state: &str) -> Result<Config> {
    let text = format!(
        "[[pipeline]]\nname = \"p\"\nkind = \"aggregation\"\ntopics = [\"sales\"]\ngroup_id = \"g\"\n\
         timestamp_ahead_max = \"1h\"\n[pipeline.clickhouse]\ntable = \"t\"\n\
         [pipeline.window]\nkind = \"tumbling\"\nsize = \"1h\"\n[pipeline.group]\ncustomer = \"$.customer\"\n\
         [pipeline.metrics]\nsales = {{ function = \"count\" }}\n\
         revenue = {{ function = \"sum\", path = \"$.amount\" }}\n{state}"
    );
    let loaded = Config::parse(&text, "config.toml", Path::new("."), []);
    Ok(loaded.map_err(|problems| anyhow!("{problems}"))?.config)
}

/// Every customer buys `rounds` times within an hour, those that came last first in every second round.
pub(crate) fn measured(
    directory: &Path,
    customers: u64,
    rounds: u64,
    memory_max: Option<&str>,
) -> Result<String> {
    let state = memory_max.map_or_else(String::new, |memory_max| {
        format!(
            "[pipeline.state]\nbackend = \"disk\"\nmemory_max = {memory_max:?}\ndisk_max = \"100GiB\"\n"
        )
    });
    super::lies_in(directory);
    let mut path = WindowPath::new(&config(&state)?, &COLUMNS, directory);
    let events = customers * rounds;
    let mut texts = vec![];
    let mut disk = String::new();
    let count = spent(events, || {
        for first in (0..events).step_by(CHUNK_RECORDS as usize) {
            texts.clear();
            let chunk = first..events.min(first + CHUNK_RECORDS);
            texts.extend(chunk.map(|number| sale(number, customers)));
            let records = texts.iter().map(|text| Given::new(text.as_bytes(), T));
            let records: Vec<_> = records.collect();
            path.chunk(&records);
        }
        disk = super::on_disk()?;
        Ok(())
    })?;
    let rows = spent(events, || {
        path.close();
        Ok(())
    })?;
    // Two times, a customer of 13 bytes, three numbers, a decimal, three numbers of windows and a flag.
    let row_bytes = 8 + 8 + 14 + 8 + 16 + 8 + 8 + 1 + 8;
    let made = path.row_bytes / row_bytes;
    ensure!(made == customers, "{made} rows of {customers} customers");
    ensure!(
        path.row_bytes.is_multiple_of(row_bytes),
        "rows of another length"
    );
    let memory = peak_memory().context("its memory")?;
    Ok(format!(
        "{events} | {customers} | {count} | {rows} | {memory} | {disk}"
    ))
}

fn sale(number: u64, customers: u64) -> String {
    let round = number / customers;
    let customer = match round % 2 {
        0 => number % customers,
        _ => customers - 1 - number % customers,
    };
    let cents = mixed(number) % 20_000;
    format!(
        r#"{{"customer":"cust-{customer:08}","amount":{}.{:02},"timestamp":{}}}"#,
        cents / 100,
        cents % 100,
        T + (number % 3_000_000) as i64
    )
}
