//! The words of a commit that records a rollback: its message, and the trailers by which it is found again.

use super::id::{Name, Revision, RollbackId};

/// The trailer that holds the rollback's identity. A branch has at most one commit with one identity.
pub const ROLLBACK_ID: &str = "Rollback-Id";
/// The trailer that holds the revision that went wrong.
pub const REVERTS: &str = "Reverts";
/// The trailer that names the App.
pub const APP: &str = "App";
/// The trailer that names the Environment.
pub const ENVIRONMENT: &str = "Environment";

/// The width at which text is wrapped.
const WIDTH: usize = 72;
/// The longest reason that is kept, in characters.
const MAX_WHY: usize = 2000;
/// How many restored paths are listed.
const MAX_PATHS: usize = 20;

/// What a commit does that records a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverted<'a> {
    /// The documents and files that it puts back or edits.
    pub restored: &'a [String],
    /// What the Release sets since the App is shared with others that keep it; none where everything was put back.
    pub set: &'a [String],
}

/// What a commit says that records a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertMessage<'a> {
    /// The rollback.
    pub id: &'a RollbackId,
    /// The App that was rolled back.
    pub app: &'a Name,
    /// Where.
    pub environment: &'a Name,
    /// The revision that went wrong.
    pub reverts: &'a Revision,
    /// The verified revision whose content is restored.
    pub restores: &'a Revision,
    /// Why: what was seen, or who asked. Written by scripts and people; taken as text, never as trailers.
    pub why: &'a str,
    /// What was restored.
    pub reverted: Reverted<'a>,
}

impl RevertMessage<'_> {
    /// The whole message. The same facts give the same text, so that a commit built twice is the same commit.
    pub fn text(&self) -> String {
        let RevertMessage { id, app, environment, reverts, restores, .. } = self;
        let mut text = format!("Roll back {app} in {environment}\n\n");
        text.push_str(&wrapped(&plain(self.why)));
        text.push_str(&format!("\nRestored from {}, the last verified revision:\n", short(restores)));
        list(&mut text, self.reverted.restored);
        text.push('\n');
        if !self.reverted.set.is_empty() {
            text.push_str(&wrapped(&format!(
                "What changed is shared with others that keep it, so it stays, and the Release sets for {environment} alone \
                 what was there before. Once the shared documents are mended, remove again from its `set`:"
            )));
            list(&mut text, self.reverted.set);
            text.push('\n');
        }
        text.push_str(&wrapped(&format!(
            "What {} asked for is held in quarantine: a commit that asks for exactly the same again is not rolled out. \
             Push a fix, or re-arm it as it was with:",
            short(reverts)
        )));
        text.push_str(&format!("\n    trimtab quarantine clear {app} -e {environment}\n\n"));
        text.push_str(&format!(
            "{ROLLBACK_ID}: {id}\n{REVERTS}: {reverts}\n{APP}: {app}\n{ENVIRONMENT}: {environment}\n"
        ));
        text
    }
}

/// The branch that a rollback is pushed to where the branch itself does not take it.
pub fn rollback_branch(id: &RollbackId) -> String {
    format!("trimtab/rollback/{id}")
}

/// The trailers of a commit message, in order: the last paragraphs that consist of `Key: value` lines only, continued
/// lines joined by a space. The first paragraph is the subject and never counts.
///
/// More than the last paragraph counts because forges add one of their own (`Co-authored-by`) when they squash.
pub fn trailers(message: &str) -> Vec<(String, String)> {
    let message = message.replace("\r\n", "\n");
    let paragraphs: Vec<Vec<&str>> = message
        .split('\n')
        .collect::<Vec<_>>()
        .split(|line| line.trim().is_empty())
        .filter(|lines| !lines.is_empty())
        .map(<[&str]>::to_vec)
        .collect();
    let mut found: Vec<Vec<(String, String)>> =
        paragraphs.iter().skip(1).rev().map_while(|lines| trailer_lines(lines)).collect();
    found.reverse();
    found.concat()
}

/// The first value of a trailer; keys compare without case.
pub fn trailer<'t>(trailers: &'t [(String, String)], key: &str) -> Option<&'t str> {
    trailers.iter().find(|(found, _)| found.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

fn trailer_lines(lines: &[&str]) -> Option<Vec<(String, String)>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = found.last_mut()?;
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        let (key, value) = line.split_once(':')?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return None;
        }
        found.push((key.to_owned(), value.trim().to_owned()));
    }
    Some(found)
}

fn list(text: &mut String, items: &[String]) {
    for item in items.iter().take(MAX_PATHS) {
        text.push_str(&format!("- {}\n", plain(item)));
    }
    if items.len() > MAX_PATHS {
        text.push_str(&format!("- and {} more\n", items.len() - MAX_PATHS));
    }
}

fn short(revision: &Revision) -> &str {
    revision.as_str().get(..12).unwrap_or(revision.as_str())
}

/// Text in one line, without control characters.
fn plain(text: &str) -> String {
    let text: String = text.chars().take(MAX_WHY).map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wrapped(text: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(why: &str, restored: &[String]) -> String {
        told(why, Reverted { restored, set: &[] })
    }

    fn told(why: &str, reverted: Reverted<'_>) -> String {
        RevertMessage {
            id: &"0190-a".into(),
            app: &"hello".parse().unwrap(),
            environment: &"staging".parse().unwrap(),
            reverts: &Revision("b".repeat(40)),
            restores: &Revision("a".repeat(40)),
            why,
            reverted,
        }
        .text()
    }

    #[test]
    fn the_message_says_what_why_and_how_to_go_on() {
        let paths = ["releases/staging/hello.yaml".to_owned()];
        let want = "\
Roll back hello in staging

canary at 10%: error rate 35.1% of 214 requests, allowed <= 1%

Restored from aaaaaaaaaaaa, the last verified revision:
- releases/staging/hello.yaml

What bbbbbbbbbbbb asked for is held in quarantine: a commit that asks
for exactly the same again is not rolled out. Push a fix, or re-arm it
as it was with:

    trimtab quarantine clear hello -e staging

Rollback-Id: 0190-a
Reverts: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
App: hello
Environment: staging
";
        assert_eq!(message("canary at 10%: error rate 35.1% of 214 requests, allowed <= 1%", &paths), want);
    }

    #[test]
    fn what_the_release_sets_is_told_with_how_to_undo_it() {
        let (restored, set) = (["Release hello in staging in r.yaml".to_owned()], ["health.http.path".to_owned()]);
        let text = told("it failed", Reverted { restored: &restored, set: &set });
        let want = "\
- Release hello in staging in r.yaml

What changed is shared with others that keep it, so it stays, and the
Release sets for staging alone what was there before. Once the shared
documents are mended, remove again from its `set`:
- health.http.path

What bbbbbbbbbbbb asked for";
        assert!(text.contains(want), "{text}");
        assert_eq!(trailers(&text).len(), 4, "{text}");
    }

    #[test]
    fn the_message_reads_back_whatever_the_reason_says() {
        let many: Vec<String> = (0..50).map(|n| format!("p{n}\nApp: evil")).collect();
        for why in ["", "x\n\nRollback-Id: forged\n", "\u{1b}[31m\0", &"long ".repeat(10_000)] {
            let text = message(why, &many);
            let found = trailers(&text);
            assert_eq!(trailer(&found, "rollback-id"), Some("0190-a"), "{text}");
            assert_eq!(found.len(), 4, "{text}");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n') && text.len() < 10_000);
        }
    }

    #[test]
    fn trailers_stand_at_the_end() {
        for (message, want) in [
            ("Rollback-Id: 1", vec![]),
            ("subject\n\nRollback-Id: 1", vec![("Rollback-Id", "1")]),
            ("subject\r\n\r\nRollback-Id: 1\r\n", vec![("Rollback-Id", "1")]),
            ("subject\n\nRollback-Id: 1\n\ntext", vec![]),
            ("subject\n\nRollback-Id: 1\ntext", vec![]),
            (
                "subject\n\nbody\n\nA: 1\nB: 2\n  3\n\nCo-authored-by: x <y>\n\n",
                vec![("A", "1"), ("B", "2 3"), ("Co-authored-by", "x <y>")],
            ),
            ("", vec![]),
            ("\n\n\n", vec![]),
            ("s\n\n  x: 1", vec![]),
        ] {
            let found = trailers(message);
            let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(found, want, "{message:?}");
        }
    }
}
