//! What the documentation says is what the program has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use streamweir::config::{Config, known_keys};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README.md, CONTRIBUTING.md, CHANGELOG.md and everything under docs/.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    for directory in ["docs", "docs/adr"] {
        for entry in fs::read_dir(repository().join(directory)).expect(directory) {
            let name = entry.expect(directory).file_name();
            let name = name.to_str().expect("names of pages are UTF-8");
            if name.ends_with(".md") {
                pages.push(format!("{directory}/{name}"));
            }
        }
    }
    pages
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
    let documented = first_column(&read("docs/metrics.md"));
    let missing = difference(&exposed, &documented);
    let unknown = difference(&documented, &exposed);
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    assert!(
        unknown.is_empty(),
        "in docs/metrics.md, and no metric: {unknown:?}"
    );
}

/// Every file below a directory of sources.
fn sources(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, texts);
        } else {
            texts.push(fs::read_to_string(&path).expect("a source is text"));
        }
    }
}

#[test]
fn every_reason_to_halt_has_a_way_out_in_the_readme_and_nothing_else_has() {
    let mut texts = vec![];
    sources(&repository().join("src"), &mut texts);
    let raised = Regex::new(
        r#"(?:Halt::new\(|Remedy::Halt\(|Halt \{\s*reason: |_FAILED: &str =)\s*"([a-z_]+)""#,
    );
    let raised = raised.expect("a pattern");
    let found = texts.iter().flat_map(|text| raised.captures_iter(text));
    let reasons: BTreeSet<String> = found.map(|found| found[1].to_owned()).collect();
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once("### When it halts")
        .expect("the section is there");
    let (section, _) = rest.split_once("\n## ").expect("the section ends");
    let word = Regex::new(r"`([a-z_]+)`").expect("a pattern");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let explained: BTreeSet<String> = cells
        .flat_map(|cell| word.captures_iter(cell))
        .map(|found| found[1].to_owned())
        .collect();
    let missing = difference(&reasons, &explained);
    let unknown = difference(&explained, &reasons);
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
    assert!(
        unknown.is_empty(),
        "in README.md, and no reason: {unknown:?}"
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

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let readme = read("README.md");
    let (_, rest) = readme
        .split_once("```toml\n")
        .expect("a configuration in README.md");
    let (text, _) = rest.split_once("```").expect("the block ends");
    let loaded = Config::parse(text, "README.md", Path::new(&repository()), []);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.pipelines.len(), 1);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#]+)(?:#[^)]*)?\)").expect("a pattern");
    for page in pages() {
        let directory = Path::new(&page).parent().expect("a page has a directory");
        for found in link.captures_iter(&read(&page)) {
            let target = &found[1];
            if target.contains("://") {
                continue;
            }
            let path = repository().join(directory).join(target);
            assert!(path.exists(), "{page}: {target}");
        }
    }
}
