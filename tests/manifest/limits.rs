//! Input that would cost too much ends early, with a word.

use trimtab::domain::manifest::{MAX_FILE_BYTES, ParsedFile, parse_file};

const HEAD: &str = "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec:\n";

#[track_caller]
fn refused(text: &str, word: &str) -> ParsedFile {
    let file = parse_file("x.yaml", text.as_bytes());
    let messages: Vec<&str> = file.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(messages.iter().any(|message| message.contains(word)), "{messages:?} do not speak of {word}");
    assert!(file.unreadable);
    file
}

#[test]
fn aliases_that_multiply() {
    let mut text = format!("{HEAD}  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }
    refused(&text, "parts");
}

#[test]
fn an_alias_of_what_it_is_in() {
    let file = parse_file("x.yaml", format!("{HEAD}  run: &a [x, *a]\n").as_bytes());
    assert!(file.documents[0].problems.iter().any(|problem| problem.message.contains("itself")));
}

#[test]
fn depth() {
    refused(&format!("{HEAD}  run: {}{}\n", "[".repeat(5_000), "]".repeat(5_000)), "not YAML");
    refused(
        &format!("{HEAD}  run:\n{}", (0..300).map(|n| format!("{}a:\n", " ".repeat(n + 4))).collect::<String>()),
        "not YAML",
    );
}

#[test]
fn size() {
    let large = format!("{HEAD}  run: {}\n", "x".repeat(MAX_FILE_BYTES));
    refused(&large, "bytes");
    let foreign = "x".repeat(MAX_FILE_BYTES + 1);
    let file = parse_file("x.yaml", foreign.as_bytes());
    assert!(file.problems.is_empty() && !file.unreadable);
}

#[test]
fn documents() {
    let file = refused(&"apiVersion: trimtab/v1\n---\n".repeat(3_000), "2000 documents");
    assert!(file.problems.len() < 5_000);
}

#[test]
fn keys_given_twice_are_found_among_many() {
    let keys: String = (0..20_000).map(|n| format!("  k{n}: 1\n")).collect();
    let file = parse_file("x.yaml", format!("{HEAD}{keys}  k77: 2\n").as_bytes());
    let problems = &file.documents[0].problems;
    assert!(problems.iter().any(|problem| problem.message.starts_with("`k77` is given twice")));
    // Each of the 20,000 is an unknown field too, and nobody wants to read that.
    assert!(problems.len() < 500, "{}", problems.len());
}

#[test]
fn what_is_no_text() {
    let file = parse_file("x.yaml", b"apiVersion: trimtab/v1\n\xff\xfe");
    assert!(file.unreadable && file.problems[0].message.contains("byte 23"), "{:?}", file.problems);
    let file = parse_file("x.yaml", b"\xff\xfe\x00");
    assert!(!file.unreadable && file.problems.is_empty());
}
