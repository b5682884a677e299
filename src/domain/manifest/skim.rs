//! What a file's text tells without being read as YAML: most files of a repository are other tools'.

use super::document::KINDS;

/// Whether a text may hold a document that is meant for trimtab, or one that speaks of trimtab and can't be read. Never wrong where it
/// says no: see [`super::document::is_ours`] for what makes a document trimtab's.
///
/// A text of YAML stands in the file as it is read, but for escapes: of those some spell letters and the slash, and one at the end of
/// a line joins it with the next.
pub(super) fn may_hold_documents(text: &str) -> bool {
    speaks_of_trimtab(text.as_bytes()) || KINDS.iter().any(|kind| text.contains(kind)) || spells_by_escapes(text)
}

/// Whether a file has the beginning of trimtab's apiVersions in it, whatever else it is.
pub(super) fn speaks_of_trimtab(bytes: &[u8]) -> bool {
    // As editors save UTF-16.
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let letters: Vec<u8> = bytes.iter().copied().filter(u8::is_ascii_graphic).collect();
        return speaks_of_trimtab(&letters);
    }
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes
        .map(|at| &bytes[..at])
        .any(|before| before.last_chunk::<7>().is_some_and(|word| word.eq_ignore_ascii_case(b"trimtab")))
}

fn spells_by_escapes(text: &str) -> bool {
    text.split('\\').skip(1).any(|rest| rest.starts_with(['x', 'u', 'U', '/', '\n', '\r']))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::document::{self, Reading};
    use super::super::{SourceFile, yaml};
    use super::*;

    #[test]
    fn only_what_can_hold_a_document_is_read() {
        let cases = [
            ("apiVersion: trimtab/v1\n", true),
            ("apiVersion: TrimTab/v1\n", true),
            ("apiVersion: trimtb/v1\nkind: App\n", true),
            ("kind: Release\nmetadata: {}\nspec: {}\n", true),
            ("apiVersion: \"tr\\u0069mtab/v1\"\n", true),
            ("{\"apiVersion\": \"trimtab\\/v1\"}", true),
            ("apiVersion: \"trim\\\n  tab/v1\"\n", true),
            ("apiVersion: \"trim\\\r\n  tab/v1\"\n", true),
            ("apiVersion: v1\nkind: ConfigMap\ndata: { text: \"level = info\\ncache\\t= 64\" }\n", false),
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata: { labels: { app: hello } }\n", false),
            ("trimtab\n", false),
            ("/\n", false),
            ("[ not YAML", false),
            ("", false),
        ];
        for (text, expected) in cases {
            assert_eq!(may_hold_documents(text), expected, "{text:?}");
        }
    }

    const PARTS: [&str; 26] = [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        ": ",
        "trimtab/v1",
        "trim",
        "tab",
        "TRIMTAB",
        "/v1",
        "v1",
        "App",
        "Ap",
        "p",
        "\\",
        "u0070",
        "x70",
        "/",
        "\"",
        "'",
        "\n",
        "\r\n",
        "  ",
        "---\n",
        "{",
        "}",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
        #[test]
        fn what_is_passed_over_holds_no_document(parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..30)) {
            let text = parts.concat();
            if !may_hold_documents(&text) {
                let file = Arc::new(SourceFile::new("some.yaml", &text));
                let foreign = yaml::read(&file).into_iter().all(|raw| matches!(document::read(raw), Reading::Foreign));
                prop_assert!(foreign, "{text:?}");
            }
        }
    }
}
