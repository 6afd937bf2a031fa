//! The status page: one HTML text without external assets, rendered here whole.
//!
//! The page's script fetches the page again every second and swaps the part that changes, so that
//! one renderer serves browsers with and without scripts.

use std::fmt::{self, Display, Write};

use crate::observe::board::StuckStatus;
use crate::observe::board::status::{BatchStatus, PartitionStatus, PipelineStatus, ServiceStatus};

const FRAME: &str = include_str!("page.html");
const NONCE_MARK: &str = "{{nonce}}";
const STATUS_MARK: &str = "{{status}}";

/// Of what does not get on, so much is shown.
const STUCK_MAX: usize = 10;

/// Size of the rate's picture, in its own units.
const SPARKLINE_WIDTH: f64 = 180.0;
const SPARKLINE_HEIGHT: f64 = 28.0;

/// The page; `nonce` allows its own style and script to be used.
pub(super) fn render(status: &ServiceStatus, nonce: &str) -> String {
    let mut shown = String::new();
    write_status(&mut shown, status).expect("writing to a string does not fail");
    // The status comes last, so that no text within it is taken for a mark.
    FRAME
        .replace(NONCE_MARK, nonce)
        .replacen(STATUS_MARK, &shown, 1)
}

fn write_status(out: &mut String, status: &ServiceStatus) -> fmt::Result {
    write_header(out, status)?;
    if status.pipelines.is_empty() {
        writeln!(out, "<p class=\"quiet\">No pipelines.</p>")?;
    }
    status
        .pipelines
        .iter()
        .try_for_each(|pipeline| write_pipeline(out, pipeline))
}

fn write_header(out: &mut String, status: &ServiceStatus) -> fmt::Result {
    write!(
        out,
        "<p class=\"quiet\">streamweir {} · up {}",
        Escaped(status.version),
        Elapsed(status.uptime_seconds),
    )?;
    if let Some(bytes_max) = status.memory_bytes_max {
        write!(out, " · memory limit {}", Bytes(bytes_max))?;
    }
    for (part, bytes) in &status.memory_bytes {
        write!(out, " · {} {}", Escaped(part), Bytes(*bytes))?;
    }
    writeln!(out, "</p>")
}

fn write_pipeline(out: &mut String, pipeline: &PipelineStatus) -> fmt::Result {
    let state = pipeline.state;
    writeln!(
        out,
        "<section><h2>{} <span class=\"kind\">{}</span> <span class=\"state {state}\">{state}</span></h2>",
        Escaped(&pipeline.name),
        Escaped(&pipeline.kind),
    )?;
    if let Some(reason) = &pipeline.reason {
        writeln!(out, "<p class=\"reason\">{}</p>", Escaped(reason))?;
    }
    write_figures(out, pipeline)?;
    if let Some(error) = &pipeline.last_error {
        write!(out, "<p class=\"error\">Last error")?;
        if let Some(at) = pipeline.last_error_at {
            write!(out, ", {at}")?;
        }
        writeln!(out, ": {}</p>", Escaped(error))?;
    }
    write_stuck(out, &pipeline.stuck)?;
    write_partitions(out, &pipeline.partitions)?;
    write_batches(out, &pipeline.batches)?;
    write_lanes_and_sinks(out, pipeline)?;
    writeln!(out, "</section>")
}

fn write_figures(out: &mut String, pipeline: &PipelineStatus) -> fmt::Result {
    let rate = pipeline.rows_per_second.last().copied().unwrap_or(0.0);
    write!(out, "<dl>")?;
    write!(
        out,
        "<div><dt>lag</dt><dd>{}</dd></div>",
        Grouped(pipeline.lag_records())
    )?;
    write!(
        out,
        "<div><dt>rows/s</dt><dd>{}</dd></div>",
        Grouped(rate.round() as i64)
    )?;
    write!(
        out,
        "<div><dt>rows written</dt><dd>{}</dd></div>",
        Grouped(pipeline.rows_written)
    )?;
    write!(
        out,
        "<div><dt>dead letters</dt><dd>{}</dd></div>",
        Grouped(pipeline.dead_letters)
    )?;
    write_sparkline(out, &pipeline.rows_per_second)?;
    writeln!(out, "</dl>")
}

fn write_sparkline(out: &mut String, rows_per_second: &[f64]) -> fmt::Result {
    if rows_per_second.len() < 2 {
        return Ok(());
    }
    let highest = rows_per_second.iter().copied().fold(1.0, f64::max);
    let step = SPARKLINE_WIDTH / (rows_per_second.len() - 1) as f64;
    write!(
        out,
        "<div class=\"rate\"><dt>rows/s lately</dt><dd><svg viewBox=\"0 -1 {SPARKLINE_WIDTH} {}\" role=\"img\" \
         aria-label=\"rows per second, at most {}\"><polyline points=\"",
        SPARKLINE_HEIGHT + 2.0,
        highest.round(),
    )?;
    for (sample, rate) in rows_per_second.iter().enumerate() {
        let x = step * sample as f64;
        let y = SPARKLINE_HEIGHT * (1.0 - rate / highest);
        write!(out, "{x:.1},{y:.1} ")?;
    }
    write!(out, "\"/></svg></dd></div>")
}

fn write_stuck(out: &mut String, stuck: &[StuckStatus]) -> fmt::Result {
    for stuck in stuck.iter().take(STUCK_MAX) {
        write!(out, "<p class=\"error\">{}", Escaped(&stuck.topic))?;
        if let Some(partition) = stuck.partition {
            write!(out, ":{partition}")?;
        }
        if let Some(range) = &stuck.range {
            write!(out, " {}", Escaped(range))?;
        }
        writeln!(
            out,
            " {} since {} ({}): {}</p>",
            stuck.what.as_str(),
            stuck.since,
            Elapsed(stuck.seconds),
            Escaped(&stuck.why),
        )?;
    }
    match stuck.len().saturating_sub(STUCK_MAX) {
        0 => Ok(()),
        more => writeln!(out, "<p class=\"error\">and {more} more, see the JSON</p>"),
    }
}

fn write_partitions(out: &mut String, partitions: &[PartitionStatus]) -> fmt::Result {
    if partitions.is_empty() {
        return writeln!(out, "<p class=\"quiet\">No partitions assigned.</p>");
    }
    write!(
        out,
        "<table><thead><tr><th>topic</th><th>partition</th><th>position</th><th>committed</th>\
         <th>end</th><th>lag</th></tr></thead><tbody>"
    )?;
    for partition in partitions {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&partition.topic),
            partition.partition,
            Known(partition.position),
            Known(partition.committed),
            Known(partition.end),
            Known(partition.lag),
        )?;
    }
    writeln!(out, "</tbody></table>")?;
    partitions
        .iter()
        .try_for_each(|partition| write_watermark_ahead(out, partition))
}

fn write_watermark_ahead(out: &mut String, partition: &PartitionStatus) -> fmt::Result {
    let Some(seconds) = partition.watermark_ahead_seconds else {
        return Ok(());
    };
    writeln!(
        out,
        "<p class=\"error\">The watermark of {}:{} is {} ahead of the wall clock: records of now are \
         late.</p>",
        Escaped(&partition.topic),
        partition.partition,
        Elapsed(seconds),
    )
}

fn write_batches(out: &mut String, batches: &[BatchStatus]) -> fmt::Result {
    if batches.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<details><summary>Last batches</summary><table><thead><tr><th>table</th><th>rows</th>\
         <th>size</th><th>seconds</th><th>acknowledged</th></tr></thead><tbody>"
    )?;
    for batch in batches {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td><td>{}</td></tr>",
            Escaped(&batch.table),
            Grouped(batch.rows),
            Bytes(batch.bytes),
            batch.seconds,
            batch.at,
        )?;
    }
    writeln!(out, "</tbody></table></details>")
}

fn write_lanes_and_sinks(out: &mut String, pipeline: &PipelineStatus) -> fmt::Result {
    write!(out, "<p class=\"quiet\">")?;
    for lane in &pipeline.lanes {
        let joined = if lane.joined {
            "in its group"
        } else {
            "not in its group"
        };
        write!(
            out,
            "lane {} {joined}, turned {} ms ago · ",
            lane.lane, lane.turned_ms_ago
        )?;
    }
    for sink in &pipeline.sinks {
        match sink.answered_ms_ago {
            Some(ago_ms) => {
                let ago = Elapsed(ago_ms / 1_000);
                write!(out, "{} answered {ago} ago · ", Escaped(&sink.sink))?;
            }
            None => write!(out, "{} has not answered yet · ", Escaped(&sink.sink))?,
        }
    }
    let name = PathSegment(&pipeline.name);
    writeln!(out, "<a href=\"api/v1/streaming/{name}\">JSON</a></p>")
}

/// Text with the characters escaped that mean something in HTML text and quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

/// Text percent-encoded as one segment of a path.
struct PathSegment<'a>(&'a str);

impl Display for PathSegment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                f.write_char(char::from(byte))
            }
            other => write!(f, "%{other:02X}"),
        })
    }
}

/// A number with its thousands set apart.
struct Grouped<N>(N);

impl<N: Display> Display for Grouped<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.to_string();
        let (sign, digits) = number.split_at(usize::from(number.starts_with('-')));
        f.write_str(sign)?;
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place) % 3 == 0 {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// An offset that may not be known.
struct Known(Option<i64>);

impl Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => Grouped(offset).fmt(f),
            None => f.write_char('–'),
        }
    }
}

/// A size in the largest unit that leaves a number above 1.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1_024 {
            return write!(f, "{} B", self.0);
        }
        let unit = (self.0.ilog2() / 10).min(4);
        let number = self.0 as f64 / f64::from(1u32 << 10).powi(unit as i32);
        write!(f, "{number:.1} {}", UNITS[unit as usize - 1])
    }
}

/// Whole seconds as days, hours, minutes and seconds, the two largest of them.
struct Elapsed(u64);

impl Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, hours, minutes) = (self.0 / 86_400, self.0 / 3_600 % 24, self.0 / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{} s", self.0),
            (0, 0, _) => write!(f, "{minutes} min {} s", self.0 % 60),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}
