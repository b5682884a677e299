//! A document that cannot be read is not one that was deleted, and stalls only what it is about.

use super::{HELLO, STAGING, documents, release, rendered};

const BROKEN: &str = "apiVersion: trimtab/v1\nkind: App\nmetadata: { name: [\n";

#[test]
fn a_syntax_error_forbids_conclusions_and_spares_other_documents() {
    let text = format!("{HELLO}---\n{BROKEN}---\n{STAGING}---\n{}", release("{ version: 1 }"));
    let set = documents(&[("all.yaml", &text)]);
    assert_eq!(set.unreadable(), ["all.yaml"]);
    assert_eq!(set.problems().len(), 1);
    let units = rendered(&[("all.yaml", &text)]);
    assert!(units.len() == 1 && units[0].outcome.is_ok(), "{units:?}");
}

#[test]
fn a_wrong_document_is_known_and_stalls_its_app_only() {
    let other = HELLO.replace("name: hello", "name: other").replace("hello.localhost", "other.localhost");
    let release_text = release("{ version: 1 }");
    let wrong = HELLO.replace("host: hello.localhost", "hots: x");
    let set = [
        ("env.yaml", STAGING),
        ("a.yaml", &wrong),
        ("ar.yaml", &release_text),
        ("b.yaml", &other),
        ("br.yaml", &release_text.replace("name: hello", "name: other")),
    ];
    assert!(documents(&set).unreadable().is_empty());
    let outcomes: Vec<(String, bool)> =
        rendered(&set).iter().map(|unit| (unit.app.to_string(), unit.outcome.is_ok())).collect();
    assert_eq!(outcomes, [("hello".to_owned(), false), ("other".to_owned(), true)]);
}

#[test]
fn a_wrong_environment_stalls_all_of_it() {
    let env = STAGING.replace("platform: host", "platform: vm");
    let units = rendered(&[("env.yaml", &env), ("a.yaml", HELLO), ("r.yaml", &release("{ version: 1 }"))]);
    assert!(units.len() == 1 && units[0].target.is_none() && units[0].outcome.is_err());
}

#[test]
fn what_may_be_in_an_unreadable_file_is_said_to_be() {
    let units = rendered(&[("app.yaml", BROKEN), ("env.yaml", STAGING), ("r.yaml", &release("{ version: 1 }"))]);
    let problems = units[0].outcome.as_ref().unwrap_err();
    assert!(problems[0].remedy.contains("app.yaml"), "{problems:?}");
}

#[test]
fn native_files_are_none_of_our_business() {
    for text in [
        "",
        "# nothing\n",
        "apiVersion: v1\nkind: Service\nmetadata: { name: x }\nunknown: [ok]\n",
        "{{- if .Values.enabled }}\nkind: Deployment\n  broken: [\n{{- end }}\n",
        "just a text",
        "- a\n- list\n",
        "services: { web: { image: x, image: y } }\n",
        "kind: App\nname: of somebody else\n",
        "a: *unknown\n---\nb: !tag [1]\n",
    ] {
        let set = documents(&[("native.yaml", text)]);
        assert!(set.problems().is_empty() && set.unreadable().is_empty(), "{text:?}: {:?}", set.problems());
    }
}
