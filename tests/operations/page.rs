//! The status page in a real Chromium. Pictures of it go to `target/screenshots`.

use std::path::PathBuf;

use sandbox::browser::{Browser, keys};
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::{shared, topic, wait};
use serde_json::{Value, json};

use super::{ready, wait_for_page};
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE, event, project_root};

const TOKEN: &str = "open-sesame";
const PARTITIONS: i32 = 320;

/// Everything that is told of each pipeline, from the top.
const SHOWN: &str = "return [...document.querySelectorAll('.pipeline')].map(card => ({
    name: card.dataset.key, word: card.querySelector('summary .badge').textContent,
    level: card.querySelector('summary .badge').className, open: card.open, text: card.textContent,
    figures: [...card.querySelectorAll('.value')].map(value => value.textContent)}))";

struct Page<'d> {
    browser: Browser,
    daemon: &'d Daemon,
    screenshots: PathBuf,
}

impl<'d> Page<'d> {
    fn open(daemon: &'d Daemon) -> Page<'d> {
        let browser = Browser::start().expect("Debian's chromium and chromium-driver");
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| project_root().join("target"), PathBuf::from);
        let screenshots = target.join("screenshots");
        std::fs::create_dir_all(&screenshots).expect("a directory");
        let page = Page {
            browser,
            daemon,
            screenshots,
        };
        page.browser.prefer("light").expect("it prefers");
        page.resize(1000, 1200);
        let url = format!("http://{}/", daemon.http);
        page.browser.open(&url).expect("the page opens");
        page
    }

    fn resize(&self, width: u32, height: u32) {
        self.browser.resize(width, height).expect("it is resized");
    }

    fn run(&self, script: &str) -> Value {
        let result = self.browser.run(script, &[]);
        result.unwrap_or_else(|e| panic!("{e:#}: {script}"))
    }

    fn click(&self, selector: &str) {
        let clicked = self.browser.click(selector);
        clicked.unwrap_or_else(|e| panic!("{e:#}: {selector}"));
    }

    fn type_into(&self, selector: &str, text: &str) {
        let typed = self.browser.type_into(selector, text);
        typed.unwrap_or_else(|e| panic!("{e:#}: {selector}"));
    }

    fn screenshot(&self, name: &str) {
        let path = self.screenshots.join(format!("{name}.png"));
        self.browser.screenshot(&path).expect("a picture");
    }

    /// Waits until the page shows this of a pipeline.
    fn wait_for(&self, name: &str, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let seen = wait::until(&format!("{name}: {what}"), PATIENCE, || {
            last = self.run(SHOWN);
            let cards = last.as_array()?;
            let card = cards.iter().find(|card| card["name"] == name)?;
            accept(card).then(|| card.clone())
        });
        seen.unwrap_or_else(|e| panic!("{e}: {last:#}\n{}", self.daemon.log()))
    }

    fn wait_for_word(&self, name: &str, word: &str) -> Value {
        self.wait_for(name, word, |card| card["word"] == word)
    }

    fn wait_until(&self, what: &str, script: &str) {
        let seen = wait::until(what, PATIENCE, || (self.run(script) == true).then_some(()));
        seen.unwrap_or_else(|e| panic!("{e}: {}", self.daemon.log()));
    }

    fn order(&self) -> Vec<String> {
        let cards =
            self.run("return [...document.querySelectorAll('.pipeline')].map(c => c.dataset.key)");
        serde_json::from_value(cards).expect("names")
    }
}

fn text(card: &Value) -> &str {
    card["text"].as_str().unwrap_or_default()
}

fn move_button(name: &str, what: &str) -> String {
    format!("[data-pipeline='{name}'][data-move='{what}']")
}

/// Three pipelines: one behind a proxy, one whose table can go, and one of many partitions.
fn three(proxy: &Proxy) -> [Job; 3] {
    let mut job = ready("page", 2);
    job.set("service.admin_token", TOKEN);
    job.set("pipeline.clickhouse.url", proxy.url());
    let mut beside = ready("page-beside", 1);
    job.run_beside(&mut beside);
    let mut wide = ready("page-wide", PARTITIONS);
    job.run_beside(&mut wide);
    let pipelines = job.config["pipeline"].as_array_mut().expect("pipelines");
    pipelines[2]["name"] = "wide".into();
    [job, beside, wide]
}

#[test]
fn a_browser_shows_every_state_as_it_is_and_acts_with_a_token() {
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    let [job, beside, wide] = three(&proxy);
    job.produce_events(0, 0..20);
    beside.produce_events(0, 0..10);
    wide.produce_events(7, 0..5);
    let daemon = job.start("a", &[], "");
    wait_for_page(&daemon, "/livez", "it lives", |status, _| status == 200);
    let page = Page::open(&daemon);
    shows_what_runs(&page);
    acts_with_the_right_token_only(&page, &job);
    shows_an_outage_and_its_end(&page, &job, &proxy);
    shows_a_halt_first_and_starts_again(&page, &beside);
    folds_many_partitions(&page);
    is_usable_by_keyboard(&page);
    fits_a_narrow_screen(&page);
    takes_nothing_for_markup(&page, &beside);
    // Besides the two answers that say whether a token is right.
    let mut console = page.browser.console().expect("the console");
    console.retain(|line| !line.contains("/validate - Failed to load resource"));
    assert!(console.is_empty(), "{console:#?}");
    daemon.stop();
    page.wait_until(
        "it says that the daemon does not answer",
        "return !document.getElementById('lost').hidden && document.body.classList.contains('lost')",
    );
    page.screenshot("no-answer");
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (80, 80));
}

fn shows_what_runs(page: &Page<'_>) {
    for (name, rows) in [("clickstream", 20), ("beside", 10), ("wide", 5)] {
        let written = format!("{rows} rows written");
        let card = page.wait_for(name, "it runs", |card| {
            card["word"] == "running" && text(card).contains(&written)
        });
        assert_eq!(card["level"], "badge good", "{card}");
    }
    let card = page.wait_for("clickstream", "no lag", |card| card["figures"][0] == "0");
    assert_eq!(card["figures"][2], "–", "nothing is uncommitted: {card}");
    page.screenshot("running");
}

fn acts_with_the_right_token_only(page: &Page<'_>, job: &Job) {
    assert_eq!(
        page.run("return document.querySelectorAll('[data-move]').length"),
        0
    );
    page.type_into("#token", &format!("wrong{}", keys::ENTER));
    page.wait_until(
        "a wrong token is called so",
        "return document.getElementById('access-said').textContent.startsWith('Wrong token')",
    );
    assert_eq!(
        page.run("return document.querySelectorAll('[data-move]').length"),
        0
    );
    page.type_into("#token", &format!("{TOKEN}{}", keys::ENTER));
    page.wait_until(
        "actions",
        "return document.querySelector('[data-move]') != null",
    );
    let kept = page
        .run("return [sessionStorage.length, localStorage.length, location.href, document.cookie]");
    let expected = format!("http://{}/", page.daemon.http);
    assert_eq!(kept, json!([1, 0, expected, ""]));

    page.click(&move_button("clickstream", "pause"));
    let card = page.wait_for_word("clickstream", "paused");
    assert_eq!(card["level"], "badge idle", "{card}");
    // Its lag is true although it reads nothing.
    job.produce_events(0, 20..50);
    page.wait_for("clickstream", "its lag", |card| card["figures"][0] == "30");
    page.screenshot("paused-with-actions");
    page.click(&move_button("clickstream", "resume"));
    page.wait_for("clickstream", "it reads on", |card| {
        card["word"] == "running" && text(card).contains("50 rows written")
    });
}

fn shows_an_outage_and_its_end(page: &Page<'_>, job: &Job, proxy: &Proxy) {
    let away = proxy.inject(Matcher::any(), Fault::Disconnect, usize::MAX);
    job.produce_events(0, 50..60);
    let card = page.wait_for("clickstream", "its outage", |card| {
        card["word"] == "outage" && card["figures"][0] == "10"
    });
    assert_eq!(card["level"], "badge bad", "{card}");
    assert!(text(&card).contains("clickhouse does not answer"), "{card}");
    assert_eq!(page.order()[0], "clickstream");
    page.screenshot("outage");
    away.stop();
    let card = page.wait_for("clickstream", "its recovery", |card| {
        card["word"] == "running" && text(card).contains("recovered since")
    });
    assert!(!text(&card).contains("does not answer"), "{card}");
    page.screenshot("recovered");

    // The server answers, and rows that are old are not written.
    let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
    job.produce_events(1, 60..80);
    let card = page.wait_for_word("clickstream", "lagging");
    assert_eq!(card["level"], "badge warn", "{card}");
    page.screenshot("lagging");
    held.stop();
    held.release();
    page.wait_for("clickstream", "it catches up", |card| {
        card["word"] == "running" && card["figures"][0] == "0"
    });
}

fn shows_a_halt_first_and_starts_again(page: &Page<'_>, beside: &Job) {
    beside.query("RENAME TABLE {db}.clickstream_events TO {db}.away");
    beside.produce_events(0, 10..15);
    let card = page.wait_for_word("beside", "halted");
    assert_eq!(
        (&card["level"], &card["open"]),
        (&json!("badge bad"), &json!(true))
    );
    for words in ["halted: missing_table", "schema apply"] {
        assert!(text(&card).contains(words), "{words}: {card}");
    }
    assert_eq!(page.order()[0], "beside");
    page.wait_for("beside", "what is not written", |card| {
        card["figures"][0] == "5"
    });
    page.screenshot("halted");
    beside.query("RENAME TABLE {db}.away TO {db}.clickstream_events");
    page.click(&move_button("beside", "start"));
    page.wait_for("beside", "it runs again", |card| {
        card["word"] == "running" && text(card).contains("15 rows written")
    });
}

fn folds_many_partitions(page: &Page<'_>) {
    let folded = "[data-key='wide'] [data-key='partitions']";
    page.wait_for("wide", "its partitions", |card| {
        text(card).contains("320 partitions")
    });
    let state = format!(
        "const fold = document.querySelector(\"{folded}\");
        return [fold.open, fold.querySelectorAll('tbody tr').length]"
    );
    assert_eq!(page.run(&state), json!([false, 50]));
    page.click(&format!("{folded} > summary"));
    page.screenshot("many-partitions");
    page.click("[data-all='wide']");
    page.wait_until(
        "all of them",
        &format!("return document.querySelectorAll(\"{folded}[open] tbody tr\").length === 320"),
    );
    page.click(&format!("{folded} > summary"));
}

/// Everything that can be used is reached by the tab key, and keeps the focus while the page is updated.
fn is_usable_by_keyboard(page: &Page<'_>) {
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)");
    let focused = "const at = document.activeElement; return [at.tagName, at.className, at.dataset.move ?? '',
        at.closest('.pipeline')?.dataset.key ?? ''].join(' ')";
    let mut reached = vec![];
    for _ in 0..60 {
        page.browser.press(keys::TAB).expect("the key is pressed");
        let at = page.run(focused).as_str().unwrap_or_default().to_owned();
        if at.contains(" pause clickstream") {
            reached.push(at);
            break;
        }
        reached.push(at);
    }
    for wanted in ["A skip", "SUMMARY", "BUTTON  pause clickstream"] {
        assert!(
            reached.iter().any(|at| at.starts_with(wanted)),
            "{wanted}: {reached:#?}"
        );
    }
    page.browser.press(keys::ENTER).expect("the key is pressed");
    page.wait_for_word("clickstream", "paused");
    // Another button stands in its place; nothing else has taken the focus from the pipeline.
    page.click(&move_button("clickstream", "resume"));
    page.wait_for_word("clickstream", "running");
    page.run("document.querySelector('[data-key=clickstream] > summary').focus()");
    page.browser.press(keys::ENTER).expect("the key is pressed");
    page.wait_for("clickstream", "it folds", |card| card["open"] == false);
    page.browser.press(keys::SPACE).expect("the key is pressed");
    page.wait_for("clickstream", "it unfolds", |card| card["open"] == true);
}

fn fits_a_narrow_screen(page: &Page<'_>) {
    page.resize(400, 1200);
    page.run("document.querySelectorAll('details').forEach(fold => fold.open = true)");
    page.wait_until(
        "charts",
        "return document.querySelectorAll('.charts polyline').length >= 4",
    );
    let widths = "return [document.documentElement.scrollWidth, window.innerWidth]";
    assert_eq!(page.run(widths), json!([400, 400]));
    page.screenshot("narrow");
    page.browser.prefer("dark").expect("it prefers");
    page.screenshot("narrow-dark");
    page.resize(1000, 1200);
    page.screenshot("dark");
    page.browser.prefer("light").expect("it prefers");
}

/// Whatever a user, a record or a server has written is text.
fn takes_nothing_for_markup(page: &Page<'_>, beside: &Job) {
    let hostile = "<img src=x onerror=\\\"document.title='taken'\\\">";
    let bad = event(99, "").replace("\"user_id\":99", &format!("\"user_id\":\"{hostile}\""));
    let bad = topic::Record::new(bad)
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS);
    topic::produce(beside.bootstrap(), &beside.topic, [bad]).expect("a record");
    let card = page.wait_for("beside", "its dead letter", |card| {
        card["figures"][3] == "1"
    });
    assert!(text(&card).contains("Dead letters: "), "{card}");
    page.screenshot("dead-letter");
    // The same in every text that can come from outside, names included.
    let script = "return Promise.all([import('/page/view.js'), fetch('/api/v1/streaming').then(a => a.json())])
        .then(([view, status]) => {
            const soil = value => typeof value === 'string' && !/^[0-9]{4}-/.test(value) ? value + arguments[0]
                : Array.isArray(value) ? value.map(soil)
                : value !== null && typeof value === 'object'
                    ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, soil(inner)]))
                : value;
            view.show(soil(status), Date.now(), { mayAct: true, said: new Map() });
            return [document.querySelectorAll('main img, header img, #summary img').length,
                document.querySelector('main').textContent.includes('<img')];
        })";
    let hostile = "'\"><img src=x onerror=\"document.title='taken'\">";
    let seen = page
        .browser
        .run(script, &[json!(hostile)])
        .expect("it is shown");
    assert_eq!(seen, json!([0, true]));
    page.wait_for_word("clickstream", "running");
    let title = page.run("return document.title");
    assert_eq!(title, "streamweir");
}
