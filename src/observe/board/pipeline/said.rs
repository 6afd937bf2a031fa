//! What the log says of a pipeline: failures, what does not get on, dead letters.

use super::super::letters::SaidLetters;
use super::super::lock;
use super::super::status::{DeadLetterStatus, Moment};
use super::super::stuck::Place;
use super::super::troubles::Trouble;
use super::{PipelineBoard, shortened};

impl PipelineBoard {
    /// Shows a record that was kept as a dead letter.
    pub fn dead_letter(&self, address: String, reason: &'static str, detail: &str) {
        let letter = DeadLetterStatus {
            address,
            reason,
            detail: shortened(detail),
            at: Moment(self.clock.unix_ms()),
        };
        let said = lock(&self.letters).add(letter, self.clock.monotonic_ms());
        if let Some(said) = said {
            self.say_letters(&said);
        }
    }

    /// Has the log say what it has not said of dead letters, because the pipeline ends.
    pub(crate) fn say_rest(&self) {
        let rest = lock(&self.letters).due(self.clock.monotonic_ms(), true);
        rest.iter().for_each(|said| self.say_letters(said));
    }

    fn say_letters(&self, said: &SaidLetters) {
        tracing::warn!(
            pipeline = self.name,
            reason = said.newest.reason,
            count = said.count,
            address = said.newest.address,
            detail = said.newest.detail,
            "records kept as dead letters"
        );
    }

    /// The address of the newest dead letter.
    pub(crate) fn newest_dead_letter(&self) -> Option<String> {
        lock(&self.letters).newest_address()
    }

    /// An example of what dead letters are most often for, and how many are for that.
    pub(crate) fn most_frequent_dead_letter(&self) -> Option<(u64, DeadLetterStatus)> {
        lock(&self.letters).most_frequent()
    }

    /// Something failed that is tried again. The log has it the first time, and then once a minute.
    pub(crate) fn trouble(&self, what: Trouble, error: &str) {
        self.voice.failed(what.as_str(), error);
    }

    /// Takes [`PipelineBoard::trouble`] back, because it works.
    pub(crate) fn trouble_over(&self, what: Trouble) {
        self.voice.over(what.as_str());
    }

    /// Has the log say what is due by now.
    pub(super) fn say_due(&self) {
        let due = lock(&self.letters).due(self.clock.monotonic_ms(), false);
        due.iter().for_each(|said| self.say_letters(said));
        self.voice.over_if_quiet(Trouble::KafkaReports.as_str());
    }

    /// Something failed, or still does not get on. The log has it the first time, and then once a minute.
    pub fn stuck(&self, place: &Place<'_>, why: &str) {
        let now = (Moment(self.clock.unix_ms()), self.clock.monotonic_ms());
        let said = lock(&self.stuck).failed(place, shortened(why), now);
        let Some(said) = said else { return };
        tracing::warn!(
            pipeline = self.name,
            topic = place.topic,
            partition = place.partition,
            range = place.range,
            since_s = said.seconds,
            count = said.count,
            others = said.others,
            error = why,
            "{}",
            place.undone.as_str(),
        );
    }

    /// Takes [`PipelineBoard::stuck`] back, because it has been done.
    pub fn got_on(&self, place: &Place<'_>) {
        let said = lock(&self.stuck).got_on(place, self.clock.monotonic_ms());
        let Some(said) = said else { return };
        tracing::info!(
            pipeline = self.name,
            topic = place.topic,
            partition = place.partition,
            range = place.range,
            count = said.count,
            "{}: recovered after {} s",
            place.undone.as_str(),
            said.seconds,
        );
    }
}
