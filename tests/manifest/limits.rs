//! Input that would cost too much ends early, with a word.

use trimtab::domain::manifest::parse_file;

use super::refused;

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
    // As some editors save text.
    let text = "\u{feff}apiVersion: trimtab/v1\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [little, big] {
        let file = parse_file("x.yaml", &bytes);
        assert!(file.unreadable && file.problems[0].message.contains("not UTF-8"), "{:?}", file.problems);
    }
}
