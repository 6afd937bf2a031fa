//! Snapshots that are kept under a name, beside those that the owners of partitions come and go by.
//!
//! `<url>/<pipeline>/@<name>/<topic>/<partition>/<offset, 20 digits>.snapshot`, and `<url>/<pipeline>/@<name>/complete`
//! once all of them are there: the names of the pipelines that were kept together, one a line.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::{SUFFIX, SnapshotStore, StoreError};
use crate::source::TopicPartition;

/// What no topic's name begins with.
const NAMED: char = '@';
/// Written last.
const COMPLETE: &str = "complete";

/// Names that are complete in a store, each with the pipelines that were kept together.
pub(crate) type CompleteNames = BTreeMap<String, Vec<String>>;

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

    /// The names whose last object is there.
    pub(crate) async fn complete_names(&self) -> Result<CompleteNames, StoreError> {
        let listed = self.store.list(Some(&self.root)).try_collect::<Vec<_>>();
        let listed = self.within(&self.root, listed).await?;
        let mut names = CompleteNames::new();
        for object in listed {
            let Some(name) = completed(&self.root, &object) else {
                continue;
            };
            let path = &object.location;
            let got = async { self.store.get(path).await?.bytes().await };
            let bytes = self.within(path, got).await?;
            let text = String::from_utf8_lossy(&bytes);
            names.insert(name, text.lines().map(str::to_owned).collect());
        }
        Ok(names)
    }

    /// All snapshots of a name are there, and those of the other pipelines that are kept under it.
    pub(crate) async fn complete(
        &self,
        name: &str,
        pipelines: &[String],
    ) -> Result<(), StoreError> {
        let path = self.path_of_name(name).join(COMPLETE);
        let put = self.store.put(&path, pipelines.join("\n").into());
        self.within(&path, put).await.map(drop)
    }

    /// Removes a name: first what says that it is complete.
    pub(crate) async fn remove_name(&self, name: &str) -> Result<(), StoreError> {
        let folder = self.path_of_name(name);
        let listed = self.store.list(Some(&folder)).try_collect::<Vec<_>>();
        let mut listed = self.within(&folder, listed).await?;
        listed.sort_by_key(|object| completed(&self.root, object).is_none());
        for object in listed {
            let path = object.location;
            self.within(&path, self.store.delete(&path)).await?;
        }
        Ok(())
    }

    /// Its bytes.
    pub(crate) async fn read(&self, snapshot: &StoredSnapshot) -> Result<bytes::Bytes, StoreError> {
        let path = self.path_of(snapshot);
        let got = async { self.store.get(&path).await?.bytes().await };
        self.within(&path, got).await
    }

    /// The same; `None`: the owner of its partition has removed it meanwhile.
    pub(crate) async fn read_if_there(
        &self,
        snapshot: &StoredSnapshot,
    ) -> Result<Option<bytes::Bytes>, StoreError> {
        let path = self.path_of(snapshot);
        let got = async { self.store.get(&path).await?.bytes().await };
        self.within(&path, unless_gone(got)).await
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

    /// One that the owner of its partition has removed meanwhile is gone, too.
    pub(crate) async fn delete(&self, snapshot: &StoredSnapshot) -> Result<(), StoreError> {
        let path = self.path_of(snapshot);
        let deleted = unless_gone(self.store.delete(&path));
        self.within(&path, deleted).await.map(drop)
    }

    fn path_of_name(&self, name: &str) -> Path {
        self.root.clone().join(format!("{NAMED}{name}"))
    }

    fn path_of(&self, snapshot: &StoredSnapshot) -> Path {
        let StoredSnapshot {
            name,
            partition,
            offset,
            ..
        } = snapshot;
        let root = match name {
            Some(name) => self.path_of_name(name),
            None => self.root.clone(),
        };
        let folder = root
            .join(&*partition.topic)
            .join(partition.partition.to_string());
        folder.join(format!("{offset:020}{SUFFIX}"))
    }
}

/// `None`: there is no such object.
async fn unless_gone<T>(
    request: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<Option<T>> {
    match request.await {
        Ok(answer) => Ok(Some(answer)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name that an object says is complete.
fn completed(root: &Path, object: &ObjectMeta) -> Option<String> {
    let mut parts = object.location.prefix_match(root)?;
    let (name, file) = (parts.next()?, parts.next()?);
    let name = name.as_ref().strip_prefix(NAMED)?.to_owned();
    (file.as_ref() == COMPLETE && parts.next().is_none()).then_some(name)
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
        // Whoever lists them runs beside the owner of the partition.
        store.delete(&all[0]).await.unwrap();
        assert_eq!(store.read_if_there(&all[0]).await.unwrap(), None);
        let there = store.read_if_there(&all[1]).await.unwrap();
        assert_eq!(there.unwrap(), vec![1; 9]);
        let all = store.list_all().await.unwrap();
        let named = all.iter().find(|s| s.name.as_deref() == Some("before"));
        let named = named.expect("it is there");
        assert_eq!(store.read(named).await.unwrap(), vec![1; 9]);
        store.copy(named, None).await.unwrap();
        assert_eq!(store.offsets(&partition).await.unwrap(), [5, 70]);
        // Pruning a partition leaves names alone.
        store.prune(&partition, 100, 1).await.unwrap();
        assert_eq!(store.list_all().await.unwrap().len(), 2);
        // A name counts once its last object says so.
        assert!(store.complete_names().await.unwrap().is_empty());
        let both = ["p".to_owned(), "q".to_owned()];
        store.complete("before", &both).await.unwrap();
        let names = store.complete_names().await.unwrap();
        assert_eq!(names, [("before".to_owned(), both.to_vec())].into());
        assert_eq!(store.list_all().await.unwrap().len(), 2);
        store.remove_name("before").await.unwrap();
        assert!(store.complete_names().await.unwrap().is_empty());
        assert_eq!(store.list_all().await.unwrap().len(), 1);
    }
}
