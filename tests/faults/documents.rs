//! Documents that mean harm, by their form alone.

use trimtab::domain::manifest::{MAX_FILE_BYTES, parse_file};

use crate::manifest::{problems, refused};
use crate::support::trimtab;

const HEAD: &str = "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec:\n";

#[test]
fn fault_19_aliases_that_multiply_exceed_a_budget() {
    let mut text = format!("{HEAD}  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..20 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("  a{level}: &a{level} [{aliases}]\n"));
    }
    refused(&text, "parts");
}

#[test]
fn fault_19_an_alias_of_what_it_is_in() {
    let file = parse_file("x.yaml", format!("{HEAD}  run: &a [x, *a]\n").as_bytes());
    assert!(file.documents[0].problems.iter().any(|problem| problem.message.contains("itself")));
}

#[test]
fn fault_19_depth_10_000_overflows_no_stack() {
    // On a small stack: the limit is counted, not found out.
    let deep = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        refused(&format!("{HEAD}  run: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)), "not YAML");
        refused(&format!("{HEAD}  run: {}x{}\n", "{ a: ".repeat(10_000), " }".repeat(10_000)), "not YAML");
        refused(&format!("{HEAD}  run:\n    {}x\n", "- ".repeat(10_000)), "not YAML");
        let lines: String = (0..1_300).map(|n| format!("{}a:\n", " ".repeat(n + 4))).collect();
        refused(&format!("{HEAD}  run:\n{lines}"), "not YAML");
    });
    deep.unwrap().join().unwrap();
}

#[test]
fn fault_21_a_key_given_twice_is_told_with_line_and_column() {
    let text = format!("{HEAD}  run: x\n  run: y\n");
    let found = problems(&[("x.yaml", &text)]);
    let twice = found.iter().find(|problem| problem.message.contains("`run` is given twice")).unwrap();
    assert_eq!((twice.file.as_str(), twice.line, twice.column), ("x.yaml", 6, 3), "{twice}");
    assert!(twice.to_string().contains("x.yaml:6:3"), "{twice}");
}

#[test]
fn fault_21_keys_given_twice_are_found_among_many() {
    let keys: String = (0..20_000).map(|n| format!("  k{n}: 1\n")).collect();
    let file = parse_file("x.yaml", format!("{HEAD}{keys}  k77: 2\n").as_bytes());
    let problems = &file.documents[0].problems;
    assert!(problems.iter().any(|problem| problem.message.starts_with("`k77` is given twice")));
    // Each of the 20,000 is an unknown field too, and nobody wants to read that.
    assert!(problems.len() < 500, "{}", problems.len());
}

#[test]
fn fault_22_what_looks_like_something_else_is_no_name_and_is_shown_as_what_it_is() {
    let bidi =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    for name in [
        "h\u{435}llo",
        "hel\u{200b}lo",
        "hel\u{200d}lo",
        "\u{202e}olleh",
        "he\u{2066}llo",
        "\u{feff}hello",
        "ＨＥＬＬＯ",
    ] {
        for text in [
            format!("apiVersion: trimtab/v1\nkind: Script\nmetadata: {{ name: \"{name}\" }}\nspec: {{ run: x }}\n"),
            format!(
                "apiVersion: trimtab/v1\nkind: Script\nmetadata: {{ name: a }}\nspec: {{ run: x, \"{name}\": 1 }}\n"
            ),
        ] {
            let found = problems(&[("x.yaml", &text)]);
            assert!(!found.is_empty(), "{name:?} was taken");
            assert!(!found.iter().any(|problem| problem.to_string().contains(bidi)), "{found:?}");
        }
    }
    let run = "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: \"rm \u{202e}x\" }\n";
    let found = problems(&[("x.yaml", run)]);
    assert!(!found.is_empty() && !found.iter().any(|problem| problem.to_string().contains(bidi)), "{found:?}");
}

#[test]
fn fault_23_a_file_of_100_mb_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    std::fs::write(&path, HEAD).unwrap();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().set_len(100 << 20).unwrap();
    let output = trimtab().arg("validate").arg(folder.path()).env("NO_COLOR", "1").output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|code| code > 0), "{told}");
    assert!(told.contains("large.yaml") && told.contains(&MAX_FILE_BYTES.to_string()), "{told}");
}

#[test]
fn fault_23_the_limit_is_for_trimtabs_own_documents() {
    let large = format!("{HEAD}  run: {}\n", "x".repeat(MAX_FILE_BYTES));
    refused(&large, "bytes");
    let foreign = "x".repeat(MAX_FILE_BYTES + 1);
    let file = parse_file("x.yaml", foreign.as_bytes());
    assert!(file.problems.is_empty() && !file.unreadable);
}

#[tokio::test]
async fn fault_23_of_100_mb_in_the_repository_only_the_size_is_read() {
    let bed = crate::git::bed::Bed::new();
    let mut content = HEAD.as_bytes().to_vec();
    content.resize(100 << 20, b'#');
    let large = bed.blob(&content);
    let foreign = bed.blob(&vec![b'#'; 2 << 20]);
    let small = bed.blob(b"apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: x }\n");
    let head = bed.publish(&bed.raw_tree(&[
        ("100644", b"foreign.yaml", &foreign),
        ("100644", b"large.yaml", &large),
        ("100644", b"small.yaml", &small),
    ]));
    let source = std::sync::Arc::new(bed.source().await);
    trimtab::ports::source::Source::fetch(source.as_ref()).await.unwrap();
    let nowhere = std::env::temp_dir().join("no-ciphertexts-are-kept-here");
    let secrets = trimtab::adapters::secrets::AgeSecrets::new(Default::default(), Vec::new(), nowhere);
    let secrets = std::sync::Arc::new(secrets);
    let snapshot = trimtab::app::catalog::Catalog::new(source, secrets, trimtab::wiring::offline_object_tools())
        .load(&head, None)
        .await
        .unwrap();
    assert!(!snapshot.complete, "nothing may be concluded to be deleted");
    let errors = snapshot.errors().join("\n");
    assert!(
        errors.contains("large.yaml") && !errors.contains("small.yaml") && !errors.contains("foreign.yaml"),
        "{errors}"
    );
}
