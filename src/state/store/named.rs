//! Snapshots that are kept under a name, beside those that the owners of partitions come and go by.
//!
//! `<url>/<pipeline>/@<name>/<topic>/<partition>/<offset, 20 digits>.snapshot`

use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::{SUFFIX, SnapshotStore, StoreError};
use crate::source::TopicPartition;

/// What no topic's name begins with.
const NAMED: char = '@';

/// A snapshot that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSnapshot {
    /// The name under which it is kept; `None`: its partition begins from it.
    pub(crate) name: Option<String>,
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) bytes: u64,
    /// When it was written, epoch milliseconds.
    pub(crate) taken_ms: i64,
}

impl SnapshotStore {
    /// Every snapshot, by name, partition and offset.
    pub(crate) async fn list_all(&self) -> Result<Vec<StoredSnapshot>, StoreError> {
        let listed = self.store.list(Some(&self.root)).try_collect::<Vec<_>>();
        let listed = self.within(&self.root, listed).await?;
        let mut all: Vec<StoredSnapshot> = listed
            .iter()
            .filter_map(|object| stored(&self.root, object))
            .collect();
        all.sort_by(|a, b| {
            let place = |s: &StoredSnapshot| (s.name.clone(), s.partition.clone(), s.offset);
            place(a).cmp(&place(b))
        });
        Ok(all)
    }

    /// Its bytes.
    pub(crate) async fn read(&self, snapshot: &StoredSnapshot) -> Result<bytes::Bytes, StoreError> {
        let path = self.path_of(snapshot);
        let got = async { self.store.get(&path).await?.bytes().await };
        self.within(&path, got).await
    }

    /// Keeps a copy of it under another name, or makes it one that its partition begins from.
    pub(crate) async fn copy(
        &self,
        snapshot: &StoredSnapshot,
        name: Option<&str>,
    ) -> Result<(), StoreError> {
        let to = self.path_of(&StoredSnapshot {
            name: name.map(str::to_owned),
            ..snapshot.clone()
        });
        let bytes = self.read(snapshot).await?;
        let put = self.store.put(&to, bytes.into());
        self.within(&to, put).await.map(drop)
    }

    pub(crate) async fn delete(&self, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        let path = self.path_of(snapshot);
        self.within(&path, self.store.delete(&path)).await
    }

    fn path_of(&self, snapshot: &StoredSnapshot) -> Path {
        let StoredSnapshot {
            name,
            partition,
            offset,
            ..
        } = snapshot;
        let root = match name {
            Some(name) => self.root.clone().join(format!("{NAMED}{name}")),
            None => self.root.clone(),
        };
        let folder = root
            .join(&*partition.topic)
            .join(partition.partition.to_string());
        folder.join(format!("{offset:020}{SUFFIX}"))
    }
}

/// `None`: it is no snapshot.
fn stored(root: &Path, object: &ObjectMeta) -> Option<StoredSnapshot> {
    let parts = object.location.prefix_match(root)?;
    let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
    let (name, parts) = match parts.split_first()? {
        (first, rest) if first.starts_with(NAMED) => {
            (Some(first.trim_start_matches(NAMED).to_owned()), rest)
        }
        _ => (None, &parts[..]),
    };
    let [topic, partition, file] = parts else {
        return None;
    };
    Some(StoredSnapshot {
        name,
        partition: TopicPartition {
            topic: topic.as_str().into(),
            partition: partition.parse().ok()?,
        },
        offset: file.strip_suffix(SUFFIX)?.parse().ok()?,
        bytes: object.size,
        taken_ms: object.last_modified.timestamp_millis(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_named_snapshot_is_no_partitions_until_it_is_copied_back() {
        let directory = tempfile::tempdir().unwrap();
        let none = std::iter::empty();
        let store = SnapshotStore::open("", directory.path(), "p", none).unwrap();
        let partition = TopicPartition {
            topic: "clicks".into(),
            partition: 3,
        };
        for offset in [5, 70] {
            store.put(&partition, offset, vec![1; 9]).await.unwrap();
        }
        std::fs::write(directory.path().join("clicks/3/note.txt"), b"no snapshot").unwrap();
        let all = store.list_all().await.unwrap();
        let places: Vec<_> = all
            .iter()
            .map(|s| (s.name.as_deref(), s.offset, s.bytes))
            .collect();
        assert_eq!(places, [(None, 5, 9), (None, 70, 9)]);
        assert!(all[0].taken_ms > 1_700_000_000_000);

        store.copy(&all[0], Some("before")).await.unwrap();
        store.delete(&all[0]).await.unwrap();
        assert_eq!(store.offsets(&partition).await.unwrap(), [70]);
        let all = store.list_all().await.unwrap();
        let named = all.iter().find(|s| s.name.as_deref() == Some("before"));
        let named = named.expect("it is there");
        assert_eq!(store.read(named).await.unwrap(), vec![1; 9]);
        store.copy(named, None).await.unwrap();
        assert_eq!(store.offsets(&partition).await.unwrap(), [5, 70]);
        // Pruning a partition leaves names alone.
        store.prune(&partition, 100, 1).await.unwrap();
        assert_eq!(store.list_all().await.unwrap().len(), 2);
    }
}
