//! How far the clocks of a time zone are ahead of UTC, worked out once for the years that columns hold.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// 1900-01-01 and 2100-01-01 00:00:00 UTC in epoch seconds: what is worked out.
const FROM: i64 = -2_208_988_800;
const TO: i64 = 4_102_444_800;
const SECONDS_PER_DAY: i64 = 86_400;

/// A time zone of the IANA database, as the daemon carries it.
#[derive(Debug, Clone)]
pub struct Zone {
    name: Box<str>,
    zone: TimeZone,
    /// From which epoch second on clocks are how many seconds ahead, ascending, from [`FROM`] on.
    changes: Box<[(i64, i64)]>,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Zone {
    /// Universal time.
    #[must_use]
    pub fn utc() -> Zone {
        Zone::of("UTC", TimeZone::UTC)
    }

    /// The zone of this name; none: the database has no such zone.
    #[must_use]
    pub fn named(name: &str) -> Option<Zone> {
        TimeZone::get(name).ok().map(|zone| Zone::of(name, zone))
    }

    fn of(name: &str, zone: TimeZone) -> Zone {
        let start = Timestamp::from_second(FROM).expect("1900 is a year of timestamps");
        let offset = |at| i64::from(zone.to_offset(at).seconds());
        let following = zone.following(start);
        let following = following.map(|change| {
            (
                change.timestamp().as_second(),
                i64::from(change.offset().seconds()),
            )
        });
        let changes = std::iter::once((FROM, offset(start)))
            .chain(following.take_while(|(from, _)| *from < TO))
            .collect();
        Zone {
            name: name.into(),
            changes,
            zone,
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Seconds that clocks are ahead of UTC.
    pub(super) fn offset(&self, epoch_seconds: i64) -> i64 {
        if (FROM..TO).contains(&epoch_seconds) {
            let after = self
                .changes
                .partition_point(|(from, _)| *from <= epoch_seconds);
            return self.changes[after - 1].1;
        }
        let at = Timestamp::from_second(epoch_seconds);
        at.map_or(0, |at| i64::from(self.zone.to_offset(at).seconds()))
    }

    /// Epoch seconds of a time that clocks show, counted as if that were UTC. Of a time that clocks show
    /// twice the first; one that they leave out counts from the clock before.
    pub(super) fn of_local(&self, local_seconds: i64) -> i64 {
        let before = self.offset(local_seconds.saturating_sub(SECONDS_PER_DAY));
        let first = local_seconds - before;
        let offset = self.offset(first);
        let second = local_seconds - offset;
        match offset != before && self.offset(second) == offset {
            true => second,
            false => first,
        }
    }
}
