//! What documents say about each other: the dependency layer, golden.

use super::{HELLO, STAGING, app, problems, release, rendered};

fn other(text: &str) -> String {
    text.replace("name: hello", "name: other").replace("hello.localhost", "other.localhost")
}

fn tell(files: &[(&str, &str)]) -> String {
    let problems = problems(files);
    assert!(!problems.is_empty());
    problems.iter().map(|problem| format!("{problem}\n\n")).collect()
}

#[test]
fn missing_documents() {
    let release_text = release("{ version: 1 }");
    let mut out = tell(&[("r.yaml", &release_text)]);
    out += &tell(&[
        ("env.yaml", STAGING),
        ("hello.yaml", &HELLO.replace("name: hello", "name: helo")),
        ("r.yaml", &release_text),
    ]);
    let app = format!(
        "{HELLO}  hooks: {{ before: [{{ script: migrat, onRollback: {{ script: undo }} }}] }}\n  analyses: {{ a: {{ script: check }} }}\n"
    );
    let script = "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: migrate }\nspec: { run: x }\n";
    out += &tell(&[("env.yaml", STAGING), ("hello.yaml", &app), ("r.yaml", &release_text), ("s.yaml", script)]);
    let away = HELLO.replace("artifact: hello", "artifact: bye");
    out += &tell(&[("env.yaml", STAGING), ("apps/hello.yaml", &away), ("r.yaml", &release_text)]);
    insta::assert_snapshot!(out);
}

#[test]
fn listeners() {
    let release_text = release("{ version: 1 }");
    let named = HELLO.replace("route: {", "route: { listener: wbe,");
    let mut out = tell(&[("env.yaml", STAGING), ("hello.yaml", &named), ("r.yaml", &release_text)]);
    let none = STAGING.replace("listeners: { web: 127.0.0.1:8080 }", "listeners: {}");
    out += &tell(&[("env.yaml", &none), ("hello.yaml", HELLO), ("r.yaml", &release_text)]);
    let several = STAGING.replace("8080 }", "8080, admin: 127.0.0.1:8081 }");
    out += &tell(&[("env.yaml", &several), ("hello.yaml", HELLO), ("r.yaml", &release_text)]);
    insta::assert_snapshot!(out);
}

#[test]
fn one_identity_twice() {
    let again = format!("\n\n{HELLO}");
    let out = tell(&[("a.yaml", HELLO), ("b/c.yaml", &again)]);
    insta::assert_snapshot!(out);
}

#[test]
fn moved_from_what_still_exists() {
    let moved = other(HELLO).replace("{ name: other }", "{ name: other, moved: { from: hello } }");
    let out = tell(&[("a.yaml", HELLO), ("b.yaml", &moved)]);
    insta::assert_snapshot!(out);
}

#[test]
fn a_unit_tells_what_it_was_before() {
    let env = STAGING.replace("{ name: staging }", "{ name: stage, moved: { from: staging } }");
    let app = other(HELLO).replace("{ name: other }", "{ name: other, moved: { from: hello } }");
    let release = other(&release("{ version: 1 }")).replace("environment: staging", "environment: stage");
    let units = rendered(&[("env.yaml", &env), ("app.yaml", &app), ("r.yaml", &release)]);
    assert_eq!(names(&units[0]), ["other/staging/default", "hello/stage/default", "hello/staging/default"]);
    assert_eq!(units[0].outcome.as_ref().unwrap().unit.to_string(), "other/stage/default");
}

fn names(rendered: &trimtab::domain::render::Rendered) -> Vec<String> {
    rendered.moved_from.iter().map(ToString::to_string).collect()
}

#[test]
fn former_names_are_listed_the_newest_first_and_targets_have_them_too() {
    let env = STAGING.replace("platform: host", "targets: [{ name: eu, moved: { from: default }, platform: host }]");
    let app = other(HELLO).replace("{ name: other }", "{ name: other, moved: { from: [middle, hello] } }");
    let units = rendered(&[("env.yaml", &env), ("app.yaml", &app), ("r.yaml", &other(&release("{ version: 1 }")))]);
    let expected = ["other/staging/default", "middle/staging/eu", "middle/staging/default", "hello/staging/eu"];
    assert_eq!(names(&units[0])[..4], expected);
}

#[test]
fn one_state_is_claimed_once() {
    let moved = |name: &str| HELLO.replace("{ name: hello }", &format!("{{ name: {name}, moved: {{ from: hello }} }}"));
    let release = |name: &str| release("{ version: 1 }").replace("name: hello", &format!("name: {name}"));
    let out = tell(&[
        ("env.yaml", STAGING),
        ("a.yaml", &moved("a")),
        ("ar.yaml", &release("a")),
        ("b.yaml", &moved("b")),
        ("br.yaml", &release("b")),
    ]);
    insta::assert_snapshot!(out);
}

#[test]
fn dependencies() {
    let needs = |name: &str| app(&format!("  workload: {{ process: {{ command: [a] }} }}\n  dependsOn: [{name}]\n"));
    let release_text = release("{ version: 1 }");
    let other_release = other(&release_text);
    let mut out = tell(&[
        ("env.yaml", STAGING),
        ("hello.yaml", &needs("othr")),
        ("r.yaml", &release_text),
        ("o.yaml", &other(HELLO)),
        ("or.yaml", &other_release),
    ]);
    let hello = needs("other");
    let back = other(&needs("third"));
    let third = needs("hello").replace("name: hello", "name: third");
    let third_release = release_text.replace("name: hello", "name: third");
    out += &tell(&[
        ("env.yaml", STAGING),
        ("a.yaml", &hello),
        ("ar.yaml", &release_text),
        ("b.yaml", &back),
        ("br.yaml", &other_release),
        ("c.yaml", &third),
        ("cr.yaml", &third_release),
    ]);
    let own = needs("hello");
    out += &tell(&[("env.yaml", STAGING), ("hello.yaml", &own), ("r.yaml", &release_text)]);
    insta::assert_snapshot!(out);
}

#[test]
fn routes_that_collide() {
    let release_text = release("{ version: 1 }");
    let twin = HELLO.replace("name: hello", "name: other");
    let mut out = tell(&[
        ("env.yaml", STAGING),
        ("a.yaml", HELLO),
        ("ar.yaml", &release_text),
        ("b.yaml", &twin),
        ("br.yaml", &other(&release_text)),
    ]);
    let targets = "targets: [{ name: one, platform: host }, { name: two, platform: host }]";
    let two = STAGING.replace("platform: host", targets);
    out += &tell(&[("env.yaml", &two), ("a.yaml", HELLO), ("ar.yaml", &release_text)]);
    let wide = STAGING.replace("name: staging", "name: wide").replace("127.0.0.1", "0.0.0.0");
    let wide_release = release_text.replace("environment: staging", "environment: wide");
    out += &tell(&[
        ("env.yaml", STAGING),
        ("wide.yaml", &wide),
        ("a.yaml", HELLO),
        ("ar.yaml", &release_text),
        ("br.yaml", &wide_release),
    ]);
    insta::assert_snapshot!(out);
}

#[test]
fn targets_differ_by_listeners_and_config() {
    let env = "\
apiVersion: trimtab/v1
kind: Environment
metadata: { name: staging }
spec:
  config: { A: shared, B: shared }
  targets:
    - { name: two, wave: 2, platform: host, listeners: { web: '127.0.0.1:2' }, config: { B: own } }
    - { name: one, wave: 1, platform: host, listeners: { web: '127.0.0.1:1' } }
";
    let app = HELLO.replace("[bin/hello]", "[bin/hello, '{{ target }}', '{{ config.B }}']");
    let units = rendered(&[("env.yaml", env), ("a.yaml", &app), ("r.yaml", &release("{ version: 1 }"))]);
    let shown: Vec<String> = units
        .iter()
        .map(|unit| {
            let unit = unit.outcome.as_ref().unwrap();
            let trimtab::domain::workload::Workload::Process(process) = &unit.workload else {
                panic!("it is a process")
            };
            format!(
                "{} {} {} {:?} {:?}",
                unit.unit,
                unit.wave,
                unit.route.as_ref().unwrap().listen,
                process.command,
                process.env
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"hello/staging/one 1 127.0.0.1:1 ["bin/hello", "one", "shared"] {"A": "shared", "B": "shared"}"#,
            r#"hello/staging/two 2 127.0.0.1:2 ["bin/hello", "two", "own"] {"A": "shared", "B": "own"}"#,
        ]
    );
}
