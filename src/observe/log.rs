//! Logs go to stderr, as text for people or one JSON object a line.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, fmt};

/// The environment variable that holds the filter, in the syntax of `RUST_LOG`:
/// `debug`, or `info,streamweir::sink=debug`.
pub const FILTER_VARIABLE: &str = "STREAMWEIR_LOG";

/// Libraries that would fill the log; they stand before the user's filter, which can name them
/// again to hear more.
const QUIET: [&str; 6] = [
    "librdkafka",
    "rdkafka",
    "hyper",
    "hyper_util",
    "rustls",
    "lsm_tree",
];

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One flat JSON object a line with `timestamp`, `level`, `target`, `message` and the fields.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error(
        "{FILTER_VARIABLE}: `{filter}` is no log filter; write `debug` or `info,streamweir::sink=debug`"
    )]
    Filter {
        /// The filter as given.
        filter: String,
        /// What the parser says.
        source: ParseError,
    },
    /// A logger is installed already.
    #[error("logging is set up twice")]
    Twice(#[from] TryInitError),
}

/// Sends the logs of the process to stderr: those of `level` and above, unless [`FILTER_VARIABLE`] says
/// something else.
///
/// # Errors
/// When the filter does not parse or logging is set up already.
pub fn init(format: Format, level: &str) -> Result<(), LogError> {
    let filter = std::env::var_os(FILTER_VARIABLE).unwrap_or_default();
    let filter = parse_filter(level, &filter.to_string_lossy())?;
    subscriber(format, filter, io::stderr().is_terminal(), io::stderr).try_init()?;
    Ok(())
}

fn parse_filter(level: &str, filter: &str) -> Result<EnvFilter, LogError> {
    let filter = filter.trim();
    let of_libraries = if level == "error" { level } else { "warn" };
    let mut directives = level.to_owned();
    for library in QUIET {
        directives += &format!(",{library}={of_libraries}");
    }
    // The client of a cluster warns of each attempt to connect; what fails is said once by who asked.
    directives += ",redis=error";
    if !filter.is_empty() {
        directives += &format!(",{filter}");
    }
    EnvFilter::try_new(directives).map_err(|source| LogError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

fn subscriber<W>(
    format: Format,
    filter: EnvFilter,
    colours: bool,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = Registry::default().with(filter);
    match format {
        Format::Text => {
            Box::new(registry.with(fmt::layer().with_ansi(colours).with_writer(writer)))
        }
        Format::Json => Box::new(
            registry.with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false)
                    .with_writer(writer),
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::{Format, LogError, parse_filter, subscriber};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics here").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged under a filter by `speak`.
    fn logged(format: Format, filter: &str, speak: impl FnOnce()) -> String {
        logged_from("info", format, filter, speak)
    }

    /// The same under a level of the configuration.
    fn logged_from(level: &str, format: Format, filter: &str, speak: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let filter = parse_filter(level, filter).expect("a valid filter");
        let subscriber = subscriber(format, filter, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, speak);
        let bytes = captured.0.lock().expect("no test panics here").clone();
        String::from_utf8(bytes).expect("logs are UTF-8")
    }

    #[test]
    fn json_lines_are_flat_objects() {
        let text = logged(Format::Json, "", || {
            tracing::warn!(pipeline = "clickstream", rows = 7, "insert \"refused\"");
            tracing::info!("next");
        });
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["message"], "insert \"refused\"");
        assert_eq!(lines[0]["pipeline"], "clickstream");
        assert_eq!(lines[0]["rows"], 7);
        assert!(
            lines[0]["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }

    #[test]
    fn text_lines_name_level_message_and_fields_without_colours() {
        let text = logged(Format::Text, "", || {
            tracing::error!(rows = 7, "insert refused")
        });
        assert!(
            text.contains("ERROR") && text.contains("insert refused rows=7"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn libraries_are_quiet_unless_the_filter_names_them() {
        let speak = || {
            tracing::info!(target: "librdkafka", "broker");
            tracing::warn!(target: "redis::cluster_handling", "node");
            tracing::debug!(target: "streamweir::lane", "lane");
        };
        assert_eq!(logged(Format::Text, "", speak), "");
        let debug = logged(Format::Text, "debug", speak);
        assert!(
            debug.contains("lane") && !debug.contains("broker"),
            "{debug}"
        );
        let named = logged(Format::Text, "librdkafka=info", speak);
        assert!(
            named.contains("broker") && !named.contains("lane:"),
            "{named}"
        );
    }

    #[test]
    fn the_level_of_the_configuration_holds_until_the_filter_names_another() {
        let speak = || {
            tracing::debug!("small");
            tracing::info!("usual");
            tracing::error!("grave");
            tracing::warn!(target: "librdkafka", "broker");
        };
        for (level, filter, expected) in [
            ("error", "", "grave"),
            ("warn", "", "grave broker"),
            ("info", "", "usual grave broker"),
            ("debug", "", "small usual grave broker"),
            ("error", "info", "usual grave"),
            ("debug", "error,librdkafka=off", "grave"),
        ] {
            let text = logged_from(level, Format::Text, filter, speak);
            let words = text.lines().filter_map(|line| line.rsplit(' ').next());
            let words: Vec<&str> = words.collect();
            assert_eq!(words.join(" "), expected, "{level} {filter:?}");
        }
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused_by_the_variable_s_name() {
        let refused = parse_filter("info", "streamweir=loud").expect_err("no such level");
        assert!(matches!(&refused, LogError::Filter { filter, .. } if filter == "streamweir=loud"));
        assert!(
            refused
                .to_string()
                .starts_with("STREAMWEIR_LOG: `streamweir=loud` is no log filter")
        );
    }
}
