//! Where snapshots lie: a directory, or an object store that the machines of a group share.
//!
//! `<url>/<pipeline>/<topic>/<partition>/<offset, 20 digits>.snapshot`

mod named;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

pub(crate) use self::named::{CompleteNames, StoredSnapshot};
use crate::causes::with_causes;
use crate::source::TopicPartition;

/// Longest that one request may take, its repetitions included.
const TIMEOUT: Duration = Duration::from_secs(60);
const SUFFIX: &str = ".snapshot";
/// What the directory store adds to names of files that are not whole yet.
const UNFINISHED: &str = ".snapshot#";

/// The snapshots of one pipeline.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotStore {
    store: Arc<dyn ObjectStore>,
    /// What stands before the topic in every name.
    root: Path,
    /// The same as a directory, where it is one.
    directory: Option<PathBuf>,
    label: String,
}

/// The store cannot be used. The text names the place.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub(crate) struct StoreError {
    place: String,
    problem: String,
}

impl SnapshotStore {
    /// The store at `url`; an empty one stands for `directory`. Object stores take credentials,
    /// region and endpoint from the environment, as the clouds' own tools do.
    ///
    /// # Errors
    /// A URL that no store serves, or a directory that cannot be made.
    pub(crate) fn open(
        url: &str,
        directory: &std::path::Path,
        pipeline: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let fail = |problem: String| StoreError {
            place: format!("pipeline.state.url {url:?}"),
            problem,
        };
        if url.is_empty() {
            return Self::in_directory(directory.to_owned());
        }
        let parsed = url::Url::parse(url).map_err(|e| fail(e.to_string()))?;
        if let Ok(path) = parsed.to_file_path() {
            return Self::in_directory(path.join(pipeline));
        }
        let environment = environment.map(|(key, value)| (key.to_lowercase(), value));
        let (store, root) = object_store::parse_url_opts(&parsed, environment)
            .map_err(|error| fail(error.to_string()))?;
        Ok(SnapshotStore {
            store: store.into(),
            root: root.join(pipeline),
            directory: None,
            label: url.to_owned(),
        })
    }

    fn in_directory(directory: PathBuf) -> Result<Self, StoreError> {
        let label = directory.display().to_string();
        let fail = |problem: String| StoreError {
            place: label.clone(),
            problem,
        };
        std::fs::create_dir_all(&directory).map_err(|e| fail(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(&directory)
            .map_err(|e| fail(e.to_string()))?
            .with_fsync(true);
        Ok(SnapshotStore {
            store: Arc::new(store),
            root: Path::default(),
            directory: Some(directory),
            label,
        })
    }

    /// What to call it in messages.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// The labels of what is there, ascending.
    pub(crate) async fn offsets(&self, partition: &TopicPartition) -> Result<Vec<i64>, StoreError> {
        let folder = self.folder(partition);
        let listed = self.store.list(Some(&folder)).try_collect::<Vec<_>>();
        let listed = self.within(&folder, listed).await?;
        let offset = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok();
        let mut offsets: Vec<i64> = listed
            .iter()
            .filter_map(|object| offset(object.location.filename()?))
            .collect();
        offsets.sort_unstable();
        Ok(offsets)
    }

    pub(crate) async fn get(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<bytes::Bytes, StoreError> {
        let path = self.path(partition, offset);
        let got = async { self.store.get(&path).await?.bytes().await };
        self.within(&path, got).await
    }

    /// Writes it whole or not at all.
    pub(crate) async fn put(
        &self,
        partition: &TopicPartition,
        offset: i64,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let path = self.path(partition, offset);
        let put = self.store.put(&path, PutPayload::from(bytes));
        self.within(&path, put).await.map(|_etag| ())
    }

    /// Removes what `keep` newer snapshots replace. Those above the committed offset do not count:
    /// nobody can start from them yet.
    pub(crate) async fn prune(
        &self,
        partition: &TopicPartition,
        committed: i64,
        keep: usize,
    ) -> Result<(), StoreError> {
        for offset in replaced(&self.offsets(partition).await?, committed, keep) {
            let path = self.path(partition, *offset);
            match self.within(&path, self.store.delete(&path)).await {
                Ok(()) => {}
                // Another owner's prune was first.
                Err(_) if !self.offsets(partition).await?.contains(offset) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes what a killed owner left half written.
    pub(crate) fn remove_unfinished(&self, partition: &TopicPartition) {
        let Some(directory) = &self.directory else {
            return;
        };
        let folder = directory
            .join(&*partition.topic)
            .join(partition.partition.to_string());
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(UNFINISHED) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn folder(&self, partition: &TopicPartition) -> Path {
        let root = self.root.clone().join(&*partition.topic);
        root.join(partition.partition.to_string())
    }

    fn path(&self, partition: &TopicPartition, offset: i64) -> Path {
        self.folder(partition).join(format!("{offset:020}{SUFFIX}"))
    }

    async fn within<T>(
        &self,
        path: &Path,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let fail = |problem: String| StoreError {
            place: format!("{}: {path}", self.label),
            problem,
        };
        match tokio::time::timeout(TIMEOUT, request).await {
            Ok(answer) => answer.map_err(|error| fail(with_causes(&error))),
            Err(_elapsed) => Err(fail(format!("no answer within {} s", TIMEOUT.as_secs()))),
        }
    }
}

/// Ascending offsets of snapshots → those that `keep` newer usable ones replace.
fn replaced(offsets: &[i64], committed: i64, keep: usize) -> &[i64] {
    let usable = offsets.partition_point(|offset| *offset <= committed);
    &offsets[..usable.saturating_sub(keep)]
}

#[cfg(test)]
mod s3;

#[cfg(test)]
mod tests {
    use super::s3::stand_in_for_s3;
    use super::*;

    fn no_environment() -> impl Iterator<Item = (String, String)> {
        std::iter::empty()
    }

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "clicks".into(),
            partition: 3,
        }
    }

    #[test]
    fn what_newer_usable_snapshots_replace_may_go() {
        assert_eq!(replaced(&[10, 20, 30, 40], 40, 3), [10]);
        // 30 and 40 are not usable yet.
        assert_eq!(replaced(&[10, 20, 30, 40], 25, 1), [10]);
        assert_eq!(replaced(&[10, 20, 30, 40], 25, 2), [0; 0]);
        assert_eq!(replaced(&[], 25, 2), [0; 0]);
    }

    /// Puts three, looks at them, and prunes one away.
    async fn assert_keeps_the_newest(store: &SnapshotStore) {
        assert_eq!(store.offsets(&partition()).await.unwrap(), [0; 0]);
        for offset in [200, 5, 1_000_000] {
            store.put(&partition(), offset, vec![1; 9]).await.unwrap();
        }
        let offsets = store.offsets(&partition()).await.unwrap();
        assert_eq!(offsets, [5, 200, 1_000_000]);
        assert_eq!(store.get(&partition(), 200).await.unwrap(), vec![1; 9]);
        store.prune(&partition(), 999, 1).await.unwrap();
        assert_eq!(store.offsets(&partition()).await.unwrap(), [200, 1_000_000]);
    }

    #[tokio::test]
    async fn snapshots_lie_in_a_directory_newest_last() {
        let directory = tempfile::tempdir().unwrap();
        let store =
            SnapshotStore::open("", directory.path(), "clickstream", no_environment()).unwrap();
        let torn = directory
            .path()
            .join("clicks/3/00000000000000000007.snapshot#1");
        std::fs::create_dir_all(torn.parent().unwrap()).unwrap();
        std::fs::write(&torn, b"half").unwrap();
        assert_keeps_the_newest(&store).await;
        store.remove_unfinished(&partition());
        assert!(!torn.exists());
    }

    #[tokio::test]
    async fn a_url_shares_one_store_among_pipelines() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}", directory.path().display());
        let nowhere = std::path::Path::new("/nowhere");
        let open = |pipeline| SnapshotStore::open(&url, nowhere, pipeline, no_environment());
        open("a")
            .unwrap()
            .put(&partition(), 1, vec![1])
            .await
            .unwrap();
        assert!(
            directory
                .path()
                .join("a/clicks/3/00000000000000000001.snapshot")
                .exists()
        );
        assert_eq!(
            open("b").unwrap().offsets(&partition()).await.unwrap(),
            [0; 0]
        );
        assert_eq!(open("a").unwrap().offsets(&partition()).await.unwrap(), [1]);
    }

    #[test]
    fn a_url_that_no_store_serves_is_refused_by_name() {
        let nowhere = std::path::Path::new("/nowhere");
        let error =
            SnapshotStore::open("ftp://host/path", nowhere, "a", no_environment()).unwrap_err();
        assert!(error.to_string().contains("pipeline.state.url"), "{error}");
    }

    #[tokio::test]
    async fn an_error_tells_the_place_and_the_cause() {
        let directory = tempfile::tempdir().unwrap();
        let store =
            SnapshotStore::open("", directory.path(), "clickstream", no_environment()).unwrap();
        std::fs::write(directory.path().join("clicks"), b"a file in the way").unwrap();
        let error = store.put(&partition(), 5, vec![]).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("clicks/3/00000000000000000005.snapshot"),
            "{text}"
        );
        assert!(text.to_lowercase().contains("directory"), "{text}");
    }

    /// Against a stand-in; `STREAMWEIR_S3_ENDPOINT` names another server that has a bucket `snapshots`.
    #[tokio::test]
    async fn snapshots_lie_in_an_s3_bucket() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = match std::env::var("STREAMWEIR_S3_ENDPOINT") {
            Ok(endpoint) => endpoint,
            Err(_) => stand_in_for_s3().await,
        };
        let environment = [
            ("AWS_ENDPOINT", &*endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let environment = environment.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let nowhere = std::path::Path::new("/nowhere");
        let url = "s3://snapshots/of/ours";
        let store = SnapshotStore::open(url, nowhere, "clicks", environment.into_iter()).unwrap();
        assert_keeps_the_newest(&store).await;
        let error = store.get(&partition(), 5).await.unwrap_err().to_string();
        assert!(error.contains("00000000000000000005.snapshot"), "{error}");
    }
}
