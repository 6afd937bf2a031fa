//! What a daemon answers about completeness: asked of Kafka when somebody wants to know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::{PipelineWatermark, Reader, least_of, nothing_known};
use crate::config::{NamedWatermark, Pipeline, Service};
use crate::inspect::Failure;
use crate::observe::board::status::Moment;

/// How long a cluster that does not answer is asked.
const PATIENCE: Duration = Duration::from_secs(4);

/// A named watermark and its pipelines.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    name: String,
    pipelines: Vec<Arc<Pipeline>>,
}

impl Named {
    /// Those of a configuration.
    pub(crate) fn all(watermarks: &[NamedWatermark], pipelines: &[Arc<Pipeline>]) -> Vec<Named> {
        let of = |watermark: &NamedWatermark| {
            let names = watermark.pipelines.iter();
            let known = names.filter_map(|name| pipelines.iter().find(|p| p.name == *name));
            Named {
                name: watermark.name.clone(),
                pipelines: known.cloned().collect(),
            }
        };
        watermarks.iter().map(of).collect()
    }
}

/// How far several pipelines are together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NamedStatus {
    /// Its name in the configuration.
    name: String,
    /// The pipelines.
    pipelines: Vec<String>,
    /// The least of theirs; `null` as long as one has none.
    #[schema(value_type = Option<String>)]
    watermark: Option<Moment>,
    /// Why nothing is known of one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One client a pipeline, made when it is first asked about.
#[derive(Debug)]
pub(crate) struct Watermarks {
    service: Arc<Service>,
    named: Vec<Named>,
    asked: Mutex<Asked>,
    /// Whoever holds it may wait for `asked` with a thread of the runtime.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Asked {
    readers: HashMap<String, Reader>,
    last: Option<(Instant, Vec<PipelineWatermark>)>,
}

impl Watermarks {
    pub(crate) fn new(service: &Arc<Service>, named: Vec<Named>) -> Self {
        Watermarks {
            service: service.clone(),
            named,
            asked: Mutex::default(),
            turn: Arc::default(),
        }
    }

    /// Many who ask hold one thread together: the others wait here, without one.
    pub(crate) async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.turn.clone().lock_owned().await
    }

    /// How far these pipelines are, and those of the named watermarks, by an answer that is not older than
    /// `since`. Waits for Kafka.
    pub(crate) fn read_with_named(
        &self,
        since: Instant,
        running: Vec<Arc<Pipeline>>,
    ) -> (Vec<PipelineWatermark>, Vec<NamedStatus>) {
        let mut all = running;
        for pipeline in self.named.iter().flat_map(|named| &named.pipelines) {
            if !all.iter().any(|known| known.name == pipeline.name) {
                all.push(pipeline.clone());
            }
        }
        let read = self.read_since(since, &all);
        let of = |named: &Named| {
            let names = named.pipelines.iter().map(|pipeline| &pipeline.name);
            let error = |name: &String| read.iter().find(|p| p.name == *name)?.error.clone();
            NamedStatus {
                name: named.name.clone(),
                watermark: least_of(names.clone(), &read),
                error: names.clone().find_map(error),
                pipelines: names.cloned().collect(),
            }
        };
        let named = self.named.iter().map(of).collect();
        (read, named)
    }

    /// How far these pipelines are now, in their order. Waits for Kafka.
    pub(crate) fn read(&self, pipelines: &[Arc<Pipeline>]) -> Vec<PipelineWatermark> {
        self.read_since(Instant::now(), pipelines)
    }

    /// How far these pipelines are, in their order, by an answer that is not older than `since`. Whoever asks while an answer is awaited
    /// gets the next one, together with all others who do: anybody may ask, as often as they like. No answer
    /// is older than its question, so that several processes, asked in turn, take nothing back.
    fn read_since(&self, since: Instant, pipelines: &[Arc<Pipeline>]) -> Vec<PipelineWatermark> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, last)) = &asked.last
            && *at >= since
            && is_about(last, pipelines)
        {
            return last.clone();
        }
        let mut readers = std::mem::take(&mut asked.readers);
        let service = &self.service;
        let began = Instant::now();
        // A cluster that is away holds up nothing else.
        let read: Vec<_> = std::thread::scope(|scope| {
            let mut threads = vec![];
            for pipeline in pipelines {
                let known = readers.remove(&pipeline.name);
                let known = known.filter(|known| Arc::ptr_eq(&known.pipeline, pipeline));
                threads.push(scope.spawn(move || read(service, pipeline, known)));
            }
            let joined = threads.into_iter().zip(pipelines);
            let joined = joined.map(|(thread, pipeline)| {
                let why =
                    || Some("a defect of the program: look for the panic in the log".to_owned());
                thread
                    .join()
                    .unwrap_or_else(|_| (nothing_known(pipeline, why()), None))
            });
            joined.collect()
        });
        let (read, readers): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        let readers = readers.into_iter().flatten();
        asked.readers = readers
            .map(|reader| (reader.pipeline.name.clone(), reader))
            .collect();
        asked.last = Some((began, read.clone()));
        read
    }
}

fn is_about(last: &[PipelineWatermark], pipelines: &[Arc<Pipeline>]) -> bool {
    let names = last.iter().map(|known| &known.name);
    names.eq(pipelines.iter().map(|pipeline| &pipeline.name))
}

/// What one pipeline's cluster answers, and the client for the next time.
fn read(
    service: &Service,
    pipeline: &Arc<Pipeline>,
    known: Option<Reader>,
) -> (PipelineWatermark, Option<Reader>) {
    let made = || Ok(Reader::new(service, pipeline)?.with_patience(PATIENCE));
    let nothing = |failure: Failure| nothing_known(pipeline, Some(failure.to_string()));
    match known.map_or_else(made, Ok) {
        Ok(reader) => (reader.read().unwrap_or_else(nothing), Some(reader)),
        Err(failure) => (nothing(failure), None),
    }
}
