//! What the documentation says is what the program has.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use streamweir::config::{Config, known_keys};
use streamweir::decode::Reason;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page under docs/, as a path from the root of the repository.
fn book_pages() -> BTreeSet<String> {
    fn collect(directory: &str, pages: &mut BTreeSet<String>) {
        for entry in fs::read_dir(repository().join(directory)).expect(directory) {
            let entry = entry.expect(directory);
            let name = entry.file_name();
            let path = format!("{directory}/{}", name.to_str().expect("names are UTF-8"));
            if entry.path().is_dir() {
                collect(&path, pages);
            } else if path.ends_with(".md") {
                pages.insert(path);
            }
        }
    }
    let mut pages = BTreeSet::new();
    collect("docs", &mut pages);
    pages
}

/// README.md, CONTRIBUTING.md, CHANGELOG.md and every page under docs/.
fn pages() -> Vec<String> {
    let root = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    let root = root.into_iter().map(str::to_owned);
    root.chain(book_pages()).collect()
}

/// The lines of a page outside of code blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut in_block = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    };
    page.lines().filter(is_prose).collect()
}

/// The targets of the links of a page, as they are written.
fn links(page: &str) -> Vec<String> {
    let code = Regex::new("`[^`]*`").expect("a pattern");
    let link = Regex::new(r"\]\(([^)]*)\)").expect("a pattern");
    let lines = prose(page)
        .into_iter()
        .map(|line| code.replace_all(line, ""));
    let found = lines.flat_map(|line| {
        let targets = link.captures_iter(&line).map(|found| found[1].to_owned());
        targets.collect::<Vec<_>>()
    });
    found.collect()
}

/// The anchors of a page's headings, as GitHub and mdBook derive them: letters and digits in lower
/// case, spaces as hyphens, a number behind a heading that repeats.
fn anchors(page: &str) -> BTreeSet<String> {
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").expect("a pattern");
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose(page).into_iter().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim();
        let text = link.replace_all(text, "$1");
        let kept = text.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        let anchor = kept.collect::<String>().to_lowercase();
        let times = seen.entry(anchor.clone()).or_default();
        *times += 1;
        match *times {
            1 => anchor,
            again => format!("{anchor}-{}", again - 1),
        }
    };
    headings.map(anchor).collect()
}

/// The first column of every table row that begins with a code span.
fn first_column(page: &str) -> BTreeSet<String> {
    let row = Regex::new(r"(?m)^\| `([^`]+)` \|").expect("a pattern");
    let names = row.captures_iter(page).map(|found| found[1].to_owned());
    names.collect()
}

fn difference(left: &BTreeSet<String>, right: &BTreeSet<String>) -> Vec<String> {
    left.difference(right).cloned().collect()
}

#[test]
fn every_configuration_key_is_documented_and_nothing_else_is() {
    let documented = first_column(&read("docs/configuration.md"));
    let known: BTreeSet<String> = known_keys().into_iter().collect();
    let is_table = |key: &String| known.iter().any(|k| k.starts_with(&format!("{key}.")));
    let keys: BTreeSet<String> = known.iter().filter(|k| !is_table(k)).cloned().collect();
    let missing = difference(&keys, &documented);
    let unknown = difference(&documented, &known);
    assert!(
        missing.is_empty(),
        "not in docs/configuration.md: {missing:?}"
    );
    assert!(
        unknown.is_empty(),
        "in docs/configuration.md, and no key: {unknown:?}"
    );
}

#[test]
fn every_metric_is_documented_and_nothing_else_is() {
    let names = Regex::new(r#""(streamweir_[a-z_]+)""#).expect("a pattern");
    let source = read("src/observe/metrics/names.rs");
    let exposed: BTreeSet<String> = names
        .captures_iter(&source)
        .map(|found| found[1].to_owned())
        .collect();
    assert!(exposed.len() > 20, "the catalogue was found: {exposed:?}");
    let page = read("docs/metrics.md");
    let (metrics, _) = page
        .split_once("\n## Values of labels\n")
        .expect("the words of labels stand behind the metrics");
    let documented = first_column(metrics);
    let missing = difference(&exposed, &documented);
    let unknown = difference(&documented, &exposed);
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    assert!(
        unknown.is_empty(),
        "in docs/metrics.md, and no metric: {unknown:?}"
    );
}

#[test]
fn every_reason_for_a_dead_letter_is_documented_and_nothing_else_is() {
    let page = read("docs/dead-letters.md");
    let (_, reasons) = page
        .split_once("\n## Reasons\n")
        .expect("the section is there");
    let documented = first_column(reasons);
    let known: BTreeSet<String> = Reason::ALL.map(|reason| reason.to_string()).into();
    let missing = difference(&known, &documented);
    let unknown = difference(&documented, &known);
    assert!(
        missing.is_empty(),
        "not in docs/dead-letters.md: {missing:?}"
    );
    assert!(
        unknown.is_empty(),
        "in docs/dead-letters.md, and no reason: {unknown:?}"
    );
}

/// Every Rust file below a directory.
fn sources(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push(fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

#[test]
fn every_reason_to_halt_has_a_row_in_the_table_of_halts_and_nothing_else_has() {
    let mut texts = vec![];
    for directory in ["src", "crates"].map(|name| repository().join(name)) {
        if directory.exists() {
            sources(&directory, &mut texts);
        }
    }
    let raised = Regex::new(
        r#"(?:Halt::new\(|Remedy::Halt\(|Halt \{\s*reason: |_FAILED: &str =)\s*"([a-z_]+)""#,
    );
    let raised = raised.expect("a pattern");
    let found = texts.iter().flat_map(|text| raised.captures_iter(text));
    let reasons: BTreeSet<String> = found.map(|found| found[1].to_owned()).collect();
    let page = read("docs/halts.md");
    let word = Regex::new(r"`([a-z_]+)`").expect("a pattern");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let explained: BTreeSet<String> = cells
        .flat_map(|cell| word.captures_iter(cell))
        .map(|found| found[1].to_owned())
        .collect();
    let missing = difference(&reasons, &explained);
    let unknown = difference(&explained, &reasons);
    assert!(missing.is_empty(), "not in docs/halts.md: {missing:?}");
    assert!(
        unknown.is_empty(),
        "in docs/halts.md, and no reason: {unknown:?}"
    );
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_streamweir"))
        .args(arguments)
        .arg("--help")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{arguments:?} --help");
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// The names under `Commands:` in a help text.
fn commands(help: &str) -> BTreeSet<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// What stands in code spans and code blocks, a line each.
fn code(page: &str) -> Vec<String> {
    let mut code = vec![];
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            code.push(line.to_owned());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

#[test]
fn pages_mention_only_commands_and_options_that_the_program_has() {
    let all = commands(&help(&[]));
    assert!(
        all.contains("run"),
        "the list of commands was found: {all:?}"
    );
    let call = Regex::new(r"\bstreamweir ([a-z][a-z-]*)(?: ([a-z|]+))?(.*)").expect("a pattern");
    let option = Regex::new(r"--[a-z-]+").expect("a pattern");
    let mut mentioned = BTreeSet::new();
    for page in pages() {
        for line in code(&read(&page)) {
            // Units, images and containers are named as the program is.
            let is_ours = |found: &regex::Captures<'_>| {
                let before = &line[..found.get(0).expect("the whole").start()];
                !before.ends_with('[') && !before.contains("systemctl")
            };
            let Some(found) = call.captures(&line).filter(is_ours) else {
                continue;
            };
            let name = &found[1];
            assert!(all.contains(name), "{page}: {line:?}: no command {name}");
            mentioned.insert(name.to_owned());
            let mut text = help(&[name]);
            let inner = commands(&text);
            if let Some(second) = found.get(2).filter(|_| !inner.is_empty()) {
                for word in second.as_str().split('|') {
                    assert!(inner.contains(word), "{page}: {line:?}: no {name} {word}");
                    text.push_str(&help(&[name, word]));
                }
            }
            for option in option.find_iter(&found[3]) {
                let option = option.as_str();
                assert!(text.contains(option), "{page}: {line:?}: no {option}");
            }
        }
    }
    let unmentioned: Vec<_> = all.iter().filter(|c| *c != "help").collect();
    assert!(
        unmentioned.iter().all(|c| mentioned.contains(*c)),
        "commands without a mention: {unmentioned:?}, mentioned: {mentioned:?}"
    );
}

/// The blocks of a page that hold a whole configuration or a whole pipeline.
fn configurations(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```"));
    let blocks = blocks.map(|(block, _)| block);
    blocks
        .filter(|block| block.contains("[[pipeline]]"))
        .collect()
}

#[test]
fn the_configurations_in_the_pages_are_valid() {
    let mut with_one = vec![];
    for page in pages() {
        for text in configurations(&read(&page)) {
            let loaded = Config::parse(text, &page, Path::new(&repository()), []);
            let loaded = loaded.unwrap_or_else(|problems| panic!("{page}: {problems}"));
            assert_eq!(loaded.config.pipelines.len(), 1, "{page}");
            assert!(loaded.warnings.is_empty(), "{page}: {:?}", loaded.warnings);
            with_one.push(page.clone());
        }
    }
    for page in ["README.md", "docs/windows.md", "docs/joins.md"] {
        assert!(with_one.iter().any(|found| found == page), "{page}");
    }
}

#[test]
fn the_readme_is_read_in_five_minutes() {
    let lines = read("README.md").lines().count();
    assert!(lines < 150, "README.md has {lines} lines");
}

#[test]
fn the_summary_lists_every_page_once_and_nothing_else() {
    let listed: Vec<String> = links(&read("docs/SUMMARY.md"))
        .into_iter()
        .map(|target| format!("docs/{target}"))
        .collect();
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), once.len(), "a page is listed twice");
    let mut pages = book_pages();
    assert!(pages.remove("docs/SUMMARY.md"));
    let missing = difference(&pages, &once);
    let unknown = difference(&once, &pages);
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
    assert!(
        unknown.is_empty(),
        "in docs/SUMMARY.md, and no page: {unknown:?}"
    );
}

#[test]
fn links_and_their_anchors_lead_somewhere() {
    let mut anchors_checked = 0;
    for page in pages() {
        let directory = Path::new(&page).parent().expect("a page has a directory");
        for link in links(&read(&page)) {
            if link.contains("://") {
                continue;
            }
            let (target, anchor) = link
                .split_once('#')
                .map_or((&*link, None), |(target, anchor)| (target, Some(anchor)));
            let path = match target {
                "" => PathBuf::from(&page),
                target => directory.join(target),
            };
            assert!(repository().join(&path).exists(), "{page}: {link}");
            if let Some(anchor) = anchor {
                let headings = anchors(&read(path.to_str().expect("paths are UTF-8")));
                assert!(
                    headings.contains(anchor),
                    "{page}: {link}: no such heading among {headings:?}"
                );
                anchors_checked += 1;
            }
        }
    }
    assert!(anchors_checked > 20, "links to headings were found");
}

#[test]
fn every_check_of_doctor_is_seen_to_find_something_on_facts_and_on_servers() {
    let directory = repository().join("src/inspect/doctor/checks");
    let servers = [
        "tests/doctor.rs",
        "tests/doctor/access.rs",
        "tests/doctor/servers.rs",
        "tests/programme/replicated/back.rs",
    ];
    let servers = servers.map(read).concat();
    let mut alone = BTreeSet::new();
    let documented = first_column(&read("docs/doctor.md")).into_iter();
    for id in documented.filter(|name| !name.starts_with('-')) {
        let check = fs::read_to_string(directory.join(format!("{id}.rs")));
        let check = check.unwrap_or_else(|error| panic!("{id}: {error}"));
        let is_found = ["one", "found"].map(|word| check.contains(&format!("{word}(\"{id}\"")));
        assert!(
            is_found.contains(&true),
            "{id} is never seen to find something"
        );
        let is_expected = ["error", "warning", "info"]
            .map(|level| servers.contains(&format!("(\"{id}\", \"{level}\")")));
        if !is_expected.contains(&true) {
            alone.insert(id);
        }
    }
    assert_eq!(alone, BTreeSet::new(), "shown on facts alone");
}
