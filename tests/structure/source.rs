//! The repository's files, and Rust source reduced to what the rules speak of: code without comments and strings, and the
//! paths that it names.

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder of the repository whose name ends so, sorted, with paths relative to the root. Generated and
/// hidden folders are left out.
pub fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if name.ends_with(suffix) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The text of a file of the repository.
pub fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `blank` leaves in place.
#[derive(Clone, Copy, PartialEq)]
pub enum Keep {
    /// Code alone.
    Code,
    /// Code and the text of strings.
    Strings,
}

/// Rust source with comments (and strings) overwritten by spaces; lines and columns stay.
pub fn blank(text: &str, keep: Keep) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let hide = |out: &mut Vec<u8>, from: usize, to: usize| {
        for byte in &mut out[from..to.min(bytes.len())] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"//") {
            let end = at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            hide(&mut out, at, end);
            at = end;
        } else if rest.starts_with(b"/*") {
            let end = at + text[at..].find("*/").map_or(rest.len(), |length| length + 2);
            hide(&mut out, at, end);
            at = end;
        } else if let Some(length) = string_length(rest, at > 0 && is_word(bytes[at - 1])) {
            if keep == Keep::Code {
                hide(&mut out, at, at + length);
            }
            at += length;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the string or character literal at the start, if there is one.
fn string_length(rest: &[u8], inside_word: bool) -> Option<usize> {
    if rest[0] == b'r' && !inside_word {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let body = &rest[hashes + 2..];
            let end = body.windows(close.len()).position(|window| window == close)?;
            return Some(hashes + 2 + end + close.len());
        }
    }
    if rest[0] == b'"' {
        let mut at = 1;
        while at < rest.len() && rest[at] != b'"' {
            at += if rest[at] == b'\\' { 2 } else { 1 };
        }
        return Some(at + 1);
    }
    // 'x', '\n', '\u{..}'; a lifetime has no closing quote there.
    if rest[0] == b'\'' {
        if rest.get(1) == Some(&b'\\') {
            return rest[3..].iter().position(|byte| *byte == b'\'').map(|length| length + 4);
        }
        let text = std::str::from_utf8(&rest[..rest.len().min(8)])
            .or_else(|error| std::str::from_utf8(&rest[..error.valid_up_to()]));
        let letter = text.ok()?.chars().nth(1)?;
        return (rest.get(1 + letter.len_utf8()) == Some(&b'\'')).then(|| letter.len_utf8() + 2);
    }
    None
}

/// A path that the code names, groups of `use` written out, `crate`, `self` and `super` resolved where it is a `use` or an
/// expression beginning with one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The line, from 1.
    pub line: usize,
    /// `std::fs::File`, `crate::domain::id`.
    pub path: String,
}

/// All paths that a file of `src` names.
pub fn named_paths(file: &Path, text: &str) -> Vec<Named> {
    let tokens = tokens(&blank(text, Keep::Code));
    let mut scan =
        Scan { tokens: &tokens, at: 0, module: module_of(file), inline: Vec::new(), depth: 0, found: Vec::new() };
    scan.run();
    scan.found
}

/// `src/domain/plan.rs` is `[domain, plan]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

type Token = (usize, String);

fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while !rest.is_empty() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                rest.chars().next().map_or(1, char::len_utf8)
            };
            found.push((index + 1, rest[..length].to_owned()));
            rest = rest[length..].trim_start();
        }
    }
    found
}

struct Scan<'a> {
    tokens: &'a [Token],
    at: usize,
    module: Vec<String>,
    /// Names of the inline modules around, with the depth of braces at which each began.
    inline: Vec<(usize, String)>,
    depth: usize,
    found: Vec<Named>,
}

impl Scan<'_> {
    fn text(&self, offset: usize) -> &str {
        self.tokens.get(self.at + offset).map_or("", |token| token.1.as_str())
    }

    fn run(&mut self) {
        while self.at < self.tokens.len() {
            match self.text(0) {
                "mod" if self.text(2) == "{" => {
                    self.inline.push((self.depth, self.text(1).to_owned()));
                    self.at += 2;
                }
                "{" => {
                    self.depth += 1;
                    self.at += 1;
                }
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.inline.last().is_some_and(|(depth, _)| *depth == self.depth) {
                        self.inline.pop();
                    }
                    self.at += 1;
                }
                word if is_name(word) && self.text(1) == "::" => self.path(String::new()),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a path, or a tree of paths, from the present token on.
    fn path(&mut self, prefix: String) {
        let mut path = prefix;
        let line = self.tokens[self.at].0;
        loop {
            let word = self.text(0).to_owned();
            if word == "{" && !path.is_empty() {
                self.at += 1;
                while self.at < self.tokens.len() && self.text(0) != "}" {
                    match self.text(0) {
                        "," => self.at += 1,
                        _ => self.path(path.clone()),
                    }
                }
                self.at += 1;
                return;
            }
            if !is_name(&word) {
                self.at += usize::from(word == "*");
                break;
            }
            path = if path.is_empty() { word } else { format!("{path}::{word}") };
            self.at += 1;
            if self.text(0) == "as" {
                self.at += 2;
                break;
            }
            if self.text(0) != "::" {
                break;
            }
            self.at += 1;
        }
        let path = self.resolve(&path);
        self.found.push(Named { line, path });
    }

    fn resolve(&self, path: &str) -> String {
        let mut here: Vec<&str> =
            self.module.iter().map(String::as_str).chain(self.inline.iter().map(|(_, name)| name.as_str())).collect();
        let mut parts = path.split("::").peekable();
        match parts.peek() {
            Some(&"self") => {
                parts.next();
            }
            Some(&"super") => {
                while parts.next_if_eq(&"super").is_some() {
                    here.pop();
                }
            }
            _ => return path.to_owned(),
        }
        std::iter::once("crate").chain(here).chain(parts).collect::<Vec<_>>().join("::")
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether a path is the module or lies in it.
pub fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn comments_and_strings_are_blanked() {
    let text =
        "let a = \"std::fs\"; // std::net\nlet b = r#\"std::env\"#; /* tokio */ let c = '\"'; x::<'a>(\"\\\"\");";
    let code = blank(text, Keep::Code);
    for hidden in ["fs", "net", "env", "tokio"] {
        assert!(!code.contains(hidden), "{hidden} in {code}");
    }
    assert!(code.contains("let b =") && code.contains("x::<'a>("));
    assert!(blank(text, Keep::Strings).contains("std::fs"));
}

#[test]
fn paths_are_written_out_and_resolved() {
    let text = "use std::{fs::{self, File}, io as other};\nuse super::super::ports::Clock;\nmod tests { use super::*; fn f() { super::super::app::go() } }\n";
    let paths: Vec<String> =
        named_paths(Path::new("src/domain/manifest/app.rs"), text).into_iter().map(|named| named.path).collect();
    let wanted = ["std::fs::self", "std::fs::File", "std::io", "crate::domain::ports::Clock"];
    for path in wanted {
        assert!(paths.iter().any(|found| found == path), "{path} in {paths:?}");
    }
    assert!(paths.iter().any(|path| path == "crate::domain::manifest::app::go"), "{paths:?}");
    assert!(within("std::fs::File", "std::fs") && !within("std::fsx", "std::fs"));
}
