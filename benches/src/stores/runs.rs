//! What windows do with `lsm-tree`, the engine of fjall: sorted runs of parts of groups, which are read together
//! once, window by window.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use lsm_tree::config::{BlockSizePolicy, FilterPolicy};
use lsm_tree::{
    AbstractTree as _, AnyTree, Cache, Config, Guard as _, SeqNo, SequenceNumberCounter, UserKey,
    UserValue,
};

use super::{CACHE_BYTES, RUN_KEYS, entry, on_disk, peak_memory, spent};

fn open(directory: &Path) -> Result<AnyTree> {
    let counter = SequenceNumberCounter::default;
    let config = Config::new(directory, counter(), counter())
        .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES as u64)))
        .data_block_size_policy(BlockSizePolicy::all(16 << 10))
        .filter_policy(FilterPolicy::disabled());
    Ok(config.open()?)
}

pub(crate) fn measured(directory: &Path, keys: u64) -> Result<String> {
    super::lies_in(directory);
    let windows = [open(&directory.join("0"))?, open(&directory.join("1"))?];
    let mut runs = 0u32;
    let write = spent(keys, || {
        for first in (0..keys).step_by(RUN_KEYS as usize) {
            let mut run: Vec<_> = (first..keys.min(first + RUN_KEYS)).map(entry).collect();
            run.sort_unstable_by_key(|entry| entry.0);
            let split = run.partition_point(|entry| entry.0[7] == 0);
            for (window, part) in windows.iter().zip([&run[..split], &run[split..]]) {
                let mut ingestion = window.ingestion()?;
                for (key, value) in part {
                    let key = [&key[8..], &runs.to_be_bytes()].concat();
                    ingestion.write(UserKey::from(key), UserValue::from(&value[..]))?;
                }
                ingestion.finish()?;
            }
            runs += 1;
        }
        Ok(())
    })?;
    let disk = on_disk()?;
    let mut count = 0;
    let scan = spent(keys, || {
        for window in &windows {
            for entry in window.iter(SeqNo::MAX, None) {
                entry.into_inner()?;
                count += 1;
            }
        }
        Ok(())
    })?;
    ensure!(count == keys, "{count} of {keys} entries were scanned");
    drop(windows);
    let remove = spent(keys / 2, || {
        Ok(std::fs::remove_dir_all(directory.join("0"))?)
    })?;
    let memory = peak_memory()?;
    Ok(format!(
        "{write} | not asked | not asked | {scan} | {remove} | {memory} | {disk}"
    ))
}
