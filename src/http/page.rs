//! The status page: files without assets of other hosts.
//!
//! The page's script asks `/api/v1/streaming` once a second and shows the answer. It sets text as text only, and
//! the policy allows no inline code. Whoever runs no scripts gets the state as a list.

use std::fmt::{self, Display, Write};

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Shown;
use crate::observe::board::{PipelineStatus, ServiceStatus};

/// What the page may load: its own files, and the state. Strings never become markup or code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

const PAGE: &str = include_str!("page/index.html");
const STATE_MARK: &str = "{{state}}";
/// So many partitions are named where no script shows them.
const PARTITIONS_MAX: usize = 50;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and content.
const FILES: [(&str, &str, &str); 5] = [
    ("/page/page.css", CSS, include_str!("page/page.css")),
    ("/page/main.js", SCRIPT, include_str!("page/main.js")),
    ("/page/view.js", SCRIPT, include_str!("page/view.js")),
    ("/page/judge.js", SCRIPT, include_str!("page/judge.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
];

/// The routes of the page.
pub(super) fn routes() -> Router<Shown> {
    FILES.into_iter().fold(
        Router::new().route("/", get(page)),
        |router, (path, content_type, content)| {
            router.route(path, get(async move || answer(content_type, content)))
        },
    )
}

async fn page(State(shown): State<Shown>) -> impl IntoResponse {
    let mut state = String::new();
    write_state(&mut state, &shown.board.status()).expect("writing to a string does not fail");
    // One mark is replaced: text within the state is not taken for another.
    answer(HTML, PAGE.replacen(STATE_MARK, &state, 1))
}

fn answer(content_type: &'static str, content: impl IntoResponse) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, content)
}

fn write_state(out: &mut String, status: &ServiceStatus) -> fmt::Result {
    for pipeline in &status.pipelines {
        write_pipeline(out, pipeline)?;
    }
    Ok(())
}

fn write_pipeline(out: &mut String, pipeline: &PipelineStatus) -> fmt::Result {
    let (name, kind) = (Escaped(&pipeline.name), Escaped(&pipeline.kind));
    writeln!(
        out,
        "<h2>{name} ({kind}): {}</h2>\n<ul>",
        pipeline.state.as_str()
    )?;
    let mut item = |text: &str| writeln!(out, "<li>{}</li>", Escaped(text));
    if let Some(reason) = &pipeline.reason {
        item(reason)?;
    }
    for target in pipeline.targets.iter().filter(|target| !target.up) {
        let error = target.last_error.as_deref().unwrap_or_default();
        item(&format!("{} does not answer: {error}", target.target))?;
    }
    for stuck in pipeline.stuck.iter().take(PARTITIONS_MAX) {
        let partition = stuck.partition.map_or(String::new(), |p| format!(":{p}"));
        let (topic, what) = (&stuck.topic, stuck.what.as_str());
        item(&format!("{topic}{partition} {what}: {}", stuck.why))?;
    }
    item(&format!(
        "lag {}, rows written {}, dead letters {}",
        pipeline.lag_records(),
        pipeline.rows_written,
        pipeline.dead_letters
    ))?;
    for partition in pipeline.partitions.iter().take(PARTITIONS_MAX) {
        let lag = partition.lag.map_or("?".to_owned(), |lag| lag.to_string());
        let (topic, number) = (&partition.topic, partition.partition);
        item(&format!("{topic}:{number} lag {lag}"))?;
    }
    if let Some(error) = &pipeline.last_error {
        item(&format!("last error: {error}"))?;
    }
    writeln!(out, "</ul>")
}

/// Text with the characters escaped that mean something in HTML.
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
