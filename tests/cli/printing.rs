//! Colours and control characters: only where they were asked for, and never those of others.

use super::canned::{Canned, Served, serve, unit};
use crate::support::trimtab;

fn served() -> Served {
    let mut unit = unit("hello/dev/default", "1.4.1");
    unit.message = "\u{1b}[2Jcleared your screen\u{7}".into();
    unit.groups[0].version = "1.4.1\u{202e}".into();
    let mut canned = Canned::with(vec![unit]);
    canned.logs = "aaaaaaaaaaaa-0 stdout \u{1b}]0;title\u{7}hello\naaaaaaaaaaaa-0 stderr oh no\n".into();
    serve(canned)
}

fn stdout(served: &Served, args: &[&str], env: &[(&str, &str)]) -> String {
    let output = trimtab()
        .args(args)
        .arg("--socket")
        .arg(&served.socket)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const SHOWN: [&[&str]; 5] =
    [&["status"], &["status", "hello"], &["logs", "hello"], &["why", "hello"], &["rollout", "status", "hello"]];

#[test]
fn no_control_characters_where_there_is_no_terminal() {
    let served = served();
    for args in SHOWN {
        let text = stdout(&served, args, &[]);
        let odd = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(odd, None, "{args:?}: {text:?}");
    }
}

#[test]
fn colour_is_forced_and_forbidden_by_the_environment() {
    let served = served();
    for args in SHOWN {
        let forced = stdout(&served, args, &[("CLICOLOR_FORCE", "1")]);
        let sgr = forced.matches("\u{1b}[").count();
        if args[0] != "why" {
            assert!(sgr > 0, "{args:?}: {forced:?}");
        }
        // Ours select a rendition and nothing else; none is from the daemon's texts.
        let ours = forced.split("\u{1b}[").skip(1).all(|part| {
            part.split_once('m').is_some_and(|(sgr, _)| sgr.chars().all(|c| c.is_ascii_digit() || c == ';'))
        });
        assert!(ours && !forced.contains('\u{7}'), "{args:?}: {forced:?}");
        let both = stdout(&served, args, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
        assert!(!both.contains('\u{1b}'), "{args:?}: {both:?}");
    }
}

#[test]
fn times_are_absolute_for_programs() {
    let text = stdout(&served(), &["status", "-o", "json"], &[]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["units"][0]["changed"], "2026-03-01T11:56:55Z");
    assert_eq!(status["daemon"]["installation"], "default");
}
