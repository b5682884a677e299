//! Bad input never panics, and what is told about it always has a place in the file.

use proptest::prelude::*;
use trimtab::domain::manifest::{DocumentSet, parse_file};
use trimtab::domain::render::render;

use super::example::files;

/// Renders whatever the files are, and checks every problem's place.
fn survive(files: Vec<(String, String)>) {
    let lines: Vec<(String, usize)> =
        files.iter().map(|(path, text)| (path.clone(), text.lines().count().max(1) + 1)).collect();
    let documents = DocumentSet::from(files);
    let mut problems = documents.problems();
    for unit in render(&documents, &|_| Some("a".repeat(40))) {
        match unit.outcome {
            Ok(unit) => drop(unit.digest()),
            Err(found) => {
                assert!(!found.is_empty(), "a unit failed without a reason");
                problems.extend(found);
            }
        }
    }
    for problem in problems {
        let (_, count) = lines.iter().find(|(path, _)| *path == problem.file).unwrap();
        assert!(problem.line >= 1 && problem.line as usize <= *count, "{problem}");
        assert!(!problem.to_string().chars().any(|c| c.is_control() && c != '\n'), "{problem:?}");
    }
}

/// A change of a text: a stretch of it is replaced.
#[derive(Clone, Debug)]
struct Edit {
    at: prop::sample::Index,
    length: usize,
    text: String,
}

fn edit() -> impl Strategy<Value = Edit> {
    let text = prop_oneof![
        Just(String::new()),
        "[ \\-\\[\\]{}:,#&*!|>'\"%@`\n\t]{1,4}",
        Just("null".to_owned()),
        Just("{{ version }}".to_owned()),
        Just("{{".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("-1".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("\n---\n".to_owned()),
        "\\PC{0,8}",
    ];
    (any::<prop::sample::Index>(), 0usize..40, text).prop_map(|(at, length, text)| Edit { at, length, text })
}

fn apply(text: &str, edit: &Edit) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = edit.at.index(chars.len().max(1)).min(chars.len());
    let end = (at + edit.length).min(chars.len());
    chars[..at].iter().collect::<String>() + &edit.text + &chars[end..].iter().collect::<String>()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        drop(parse_file("x.yaml", &bytes));
    }

    #[test]
    fn arbitrary_text(text in "\\PC{0,300}|(apiVersion: trimtab/v1\nkind: App\n)[a-z:{}\\[\\]\" \n&*!-]{0,300}") {
        survive(vec![("x.yaml".into(), text)]);
    }

    #[test]
    fn mutated_repositories(
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..6)
    ) {
        let mut files = files();
        for (which, edit) in &edits {
            let index = which.index(files.len());
            files[index].1 = apply(&files[index].1, edit);
        }
        survive(files);
    }
}
