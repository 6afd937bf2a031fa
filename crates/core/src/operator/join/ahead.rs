//! Which side waits for the other, so that both fit into memory.

use super::{Join, Rules, Side};

const SLACK_MS_MIN: i64 = 10_000;

impl Rules {
    /// How far one side may be ahead of what the other needs: more than records of a side are apart, and so
    /// much that they take turns seldom.
    fn slack_ms(&self) -> i64 {
        self.watermark_delay_ms.saturating_mul(3).max(SLACK_MS_MIN)
    }
}

impl Join {
    /// Whether a side is so far ahead of the other that what it says next decides nothing yet. `is_held`: it
    /// waits already. A table is loaded to the end however tight memory is, which may be full of something else:
    /// where the table alone is too much the lane halts.
    pub fn is_far_ahead(&self, side: Side, is_held: bool, is_tight: bool) -> bool {
        let [Some(_), Some(_)] = &self.inputs else {
            return false;
        };
        if self.is_loading() {
            return side == Side::Left;
        }
        let is_idle = self.input(side.other()).is_idle();
        let Some(own_ms) = self.watermark_ms(side) else {
            return false;
        };
        let slack_ms = self.rules.slack_ms();
        let slack_ms = if is_held { slack_ms / 2 } else { slack_ms };
        let Some(other_ms) = self.watermark_ms(side.other()) else {
            // Where the other begins is not known yet, unless it says nothing at all.
            let is_far = self.input(side).span_ms() > slack_ms && !self.is_answered_at_once(side);
            return !is_idle && (is_far || is_tight);
        };
        match side {
            // Events behind the right watermark wait for it.
            Side::Left if is_idle => false,
            Side::Left if is_tight => own_ms > other_ms,
            Side::Left if self.is_answered_at_once(side) => false,
            Side::Left => own_ms > other_ms.saturating_add(slack_ms),
            // Those at the left watermark are decided once it is past this.
            Side::Right => {
                let enough_ms = self.rules.youngest_ms(other_ms).saturating_add(slack_ms);
                own_ms > enough_ms && (!is_idle || is_tight)
            }
        }
    }

    /// An eager join looks events up when they come.
    fn is_answered_at_once(&self, side: Side) -> bool {
        self.rules.is_eager && side == Side::Left
    }
}
