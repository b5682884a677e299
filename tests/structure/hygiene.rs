//! Files that can be read in one sitting, that are all compiled, and that leave nothing for later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::source::{Keep, blank, files, read, root};

/// Longer files hold more than one concept.
const LONGEST: usize = 600;

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<String> = files("src", ".rs")
        .into_iter()
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, file)| format!("{} has {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "one concept a file, at most {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn every_file_is_compiled() {
    for (folder, entries) in [("src", &["src/lib.rs", "src/main.rs"][..]), ("tests", &["tests/main.rs"][..])] {
        let mut reached = BTreeSet::new();
        for entry in entries {
            reach(Path::new(entry), &mut reached);
        }
        let all: BTreeSet<PathBuf> = files(folder, ".rs").into_iter().collect();
        let forgotten: Vec<_> = all.difference(&reached).collect();
        assert!(forgotten.is_empty(), "no `mod` leads to {forgotten:?}: declare or delete them");
    }
}

/// Adds a file and all that its `mod name;` declarations lead to.
fn reach(file: &Path, reached: &mut BTreeSet<PathBuf>) {
    if !root().join(file).is_file() || !reached.insert(file.to_owned()) {
        return;
    }
    let stem = file.file_stem().unwrap().to_string_lossy();
    let folder = match stem.as_ref() {
        "mod" | "lib" | "main" => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    for line in blank(&read(file), Keep::Code).lines() {
        let Some((before, name)) = line.trim().strip_suffix(';').and_then(|rest| rest.rsplit_once("mod ")) else {
            continue;
        };
        if before.is_empty() || before.ends_with(' ') {
            reach(&folder.join(name).join("mod.rs"), reached);
            reach(&folder.join(name).with_extension("rs"), reached);
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!(", "unimplemented!(", "dbg!("];
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    let mut found = Vec::new();
    for file in files("src", ".rs") {
        let text = read(&file);
        for ((index, line), code) in text.lines().enumerate().zip(blank(&text, Keep::Code).lines()) {
            if marks.iter().any(|mark| code.contains(mark)) || words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", file.display(), index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "finish it or leave it out:\n{}", found.join("\n"));
}

#[test]
fn no_path_of_one_machine() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "docs", "systemd", "examples", ".ci"] {
        for file in files(folder, "") {
            let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
            for (index, line) in text.lines().enumerate().filter(|(_, line)| names_a_home(line)) {
                found.push(format!("{}:{}: {}", file.display(), index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "these paths exist on one machine only:\n{}", found.join("\n"));
}

/// Whether a line names something in somebody's home folder, or in the folder of one build machine.
fn names_a_home(line: &str) -> bool {
    ["root", "home", "work"].iter().any(|top| {
        let top = format!("/{top}/");
        line.match_indices(&top).any(|(at, _)| {
            let begins = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "./-_}*".contains(c));
            let inner = line[at + top.len()..].split(|c: char| c.is_whitespace() || "\"'`,;)".contains(c)).next();
            begins && inner.is_some_and(|inner| inner.contains('/') || (top != "/home/" && !inner.is_empty()))
        })
    })
}

#[test]
fn homes_are_told_from_other_paths() {
    let home = |rest: &str| ["/ho", "me/", rest].concat();
    assert!(names_a_home(&format!("cd {}", home("me/trimtab"))));
    assert!(names_a_home(&["\"/ro", "ot/.cargo\""].concat()));
    assert!(!names_a_home(&home("x")) && !names_a_home("groups/KEY/slots/N/work/ is its folder"));
}
