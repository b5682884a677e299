//! Input that would cost too much ends early, with a word.

use trimtab::domain::manifest::{ParsedFile, parse_file};

#[track_caller]
fn refused(text: &str, word: &str) -> ParsedFile {
    let file = parse_file("x.yaml", text.as_bytes());
    let messages: Vec<&str> = file.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains(word)), "{messages:?} do not speak of {word}");
    assert!(file.unreadable);
    file
}

#[test]
fn documents() {
    let file = refused(&"apiVersion: trimtab/v1\n---\n".repeat(3_000), "2000 documents");
    assert!(file.problems.len() < 5_000);
}

#[test]
fn what_is_no_text() {
    let file = parse_file("x.yaml", b"apiVersion: trimtab/v1\n\xff\xfe");
    assert!(file.unreadable && file.problems[0].message.contains("byte 23"), "{:?}", file.problems);
    let file = parse_file("x.yaml", b"\xff\xfe\x00");
    assert!(!file.unreadable && file.problems.is_empty());
}
