//! The documents say what is there: their commands exist and their links lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use trimtab::domain::manifest::DocumentSet;

use super::source::{files, read, root};

fn documents() -> Vec<PathBuf> {
    let mut found = files("docs", ".md");
    found.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from));
    found
}

#[test]
fn readme_has_its_two_commands() {
    let text = read(Path::new("README.md"));
    assert!(text.contains("cargo run --release -- demo"), "the README's first command");
    assert!(text.contains("tests/run"), "the README's second command");
    for script in ["tests/run", ".ci/run"] {
        assert!(root().join(script).is_file(), "{script}");
    }
}

#[test]
fn documented_verbs_exist() {
    let verbs = verbs_of(&documents());
    assert!(verbs.iter().any(|(verb, _)| verb == "daemon"), "the documents name no verb at all: {verbs:?}");
    let known = known_verbs();
    let unknown: Vec<_> = verbs.iter().filter(|(verb, _)| !known.contains(verb)).collect();
    assert!(unknown.is_empty(), "not among {known:?}: {unknown:?}");
}

/// The verbs that `trimtab --help` lists.
fn known_verbs() -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_trimtab")).arg("--help").output().unwrap();
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    let commands = text.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    // A verb stands two columns in; the lines of a wrapped description stand further in.
    let entries = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    entries.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The verbs behind `trimtab` in code blocks and code spans, each with the document it stands in.
fn verbs_of(documents: &[PathBuf]) -> BTreeSet<(String, PathBuf)> {
    let mut found = BTreeSet::new();
    for document in documents {
        let mut in_block = false;
        for line in read(document).lines() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
                continue;
            }
            // Outside of blocks only what stands between backticks is code.
            let code: Vec<&str> = match in_block {
                true => vec![line.split(" # ").next().unwrap_or(line)],
                false => line.split('`').skip(1).step_by(2).collect(),
            };
            for span in code {
                let mut words = span.split_whitespace();
                while let Some(word) = words.next() {
                    if word == "trimtab" || word.ends_with("/trimtab") || word == "--" {
                        let verb = words.next().unwrap_or("");
                        if verb.len() > 1 && verb.chars().all(|c| c.is_ascii_lowercase()) {
                            found.insert((verb.to_owned(), document.clone()));
                        }
                    }
                }
            }
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            if !root().join(document.parent().unwrap()).join(path).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn documented_manifests_are_valid() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if !block.starts_with("apiVersion:") {
                continue;
            }
            seen += 1;
            let set = DocumentSet::from(vec![("example.yaml".into(), block.into())]);
            let problems: Vec<String> = set.problems().iter().map(ToString::to_string).collect();
            assert!(problems.is_empty(), "{}:\n{block}\n{}", document.display(), problems.join("\n"));
        }
    }
    assert!(seen > 0, "no document shows a whole manifest");
}

/// All forty cases are listed once, in order, and every test that is named is there.
#[test]
fn the_list_of_faults_names_tests_that_exist() {
    let text = read(Path::new("docs/faults.md"));
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let numbers: Vec<u32> = rows.iter().filter_map(|row| row.split('|').nth(1)?.trim().parse().ok()).collect();
    assert_eq!(numbers, (1..=40).collect::<Vec<u32>>());
    let tests: String = files("tests", ".rs").iter().map(|file| read(file)).collect();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c));
    // `area::file`; not the `ext::` of an address.
    let is_module = |word: &str| word.split_once("::").is_some_and(|(_, file)| !file.is_empty());
    let named: BTreeSet<&str> = words.filter(|word| is_module(word) || word.starts_with("fault_")).collect();
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        let there = match name.split_once("::") {
            Some((area, file)) => root().join("tests").join(area).join(format!("{file}.rs")).is_file(),
            None => name == "fault_NN_" || tests.contains(&format!(" {name}")),
        };
        assert!(there, "docs/faults.md names {name}, which is not there");
    }
}

/// What broke other executors of strategies is listed with tests that exist.
#[test]
fn the_cases_of_strategies_name_tests_that_exist() {
    let text = read(Path::new("docs/strategies.md"));
    let (_, cases) = text.split_once("## Cases that broke others").expect("the cases are listed");
    let tests: String = files("tests", ".rs").iter().map(|file| read(file)).collect();
    let code = cases.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = code.filter(|word| word.matches('_').count() > 3).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("fn {name}()")), "docs/strategies.md names {name}, which is not there");
    }
}
