//! A shared App changes, and one environment goes back: its Release is edited, and nothing else changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use trimtab::domain::digest::Digest;
use trimtab::domain::documents;
use trimtab::domain::manifest::DocumentSet;
use trimtab::domain::render::pinned::{PinError, pinned};
use trimtab::domain::render::render;

const ENVIRONMENTS: &str = "apiVersion: trimtab/v1
kind: Environment
metadata: { name: dev }
spec: { platform: { host: {} }, listeners: { web: { address: \"127.0.0.1:8080\" } } }
---
apiVersion: trimtab/v1
kind: Environment
metadata: { name: staging }
spec:
  targets:
    - { name: one, platform: { host: {} }, listeners: { web: { address: \"127.0.0.1:8081\" } } }
    - { name: two, wave: 1, platform: { host: {} }, listeners: { web: { address: \"127.0.0.1:8082\" } } }
  config: { LEVEL: info }
";

/// What every unit renders to, if all of them do. A folder is known by its path alone.
fn digests(files: &[(String, String)]) -> Option<BTreeMap<String, Digest>> {
    let documents = DocumentSet::from(files.to_vec());
    let folder = |path: &str| Some(hex::encode(Sha256::digest(path))[..40].to_owned());
    let units = render(&documents, &folder).into_iter().map(|unit| {
        let desired = unit.outcome.ok()?;
        Some((desired.unit.to_string(), desired.digest()))
    });
    units.collect()
}

/// Some of these members, as lines of a mapping.
fn members(choices: Vec<Vec<&'static str>>) -> impl Strategy<Value = Vec<&'static str>> {
    let some: Vec<_> = choices.into_iter().map(|texts| prop::option::of(prop::sample::select(texts))).collect();
    some.prop_map(|chosen| chosen.into_iter().flatten().collect())
}

fn process() -> impl Strategy<Value = Vec<&'static str>> {
    members(vec![
        vec![
            "artifact: bin",
            "artifact: { path: ./other }",
            "artifact: { path: /bin } # here",
            "artifact:\n  path: bin/x",
        ],
        vec![
            "env: { A: one, B: two }",
            "env:\n  A: \"1\" # a number\n  C: |\n    two\n    lines",
            "env: { D: \"{{ version }}\" }",
            "env: {}",
        ],
        vec!["limits: { memory: 64Mi }", "limits: { memory: 64Mi, pids: 20 }", "limits:\n  cpu: 500m"],
        vec!["stop: { grace: 3s }", "stop: { signal: INT, grace: 4s }"],
    ])
}

fn spec() -> impl Strategy<Value = Vec<&'static str>> {
    members(vec![
        vec!["replicas: 2", "replicas: 3 # more"],
        vec![
            "route: { host: a.localhost }",
            "route:\n  host: \"{{ environment }}.localhost\" # each its own\n  drain: 3s",
        ],
        vec![
            "health: { http: { path: /a } }",
            "health:\n  tcp: {}\n  within: 20s",
            "health: { http: { path: /b, interval: 2s } }",
        ],
        vec![
            "strategy: recreate",
            "strategy: { rolling: { maxSurge: 1 } }",
            "strategy:\n  blueGreen: { scaleDownDelay: 5s }",
        ],
        vec!["rollback: { window: 5s }", "rollback:\n  on: [unhealthy] # only\n  window: 6s"],
        vec!["prune: false"],
    ])
}

fn indented(lines: &[&str], indent: usize) -> String {
    let lines = lines.iter().flat_map(|text| text.lines());
    lines.map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}

fn app(spec: &[&str], process: &[&str], command: &str) -> String {
    let (spec, process) = (indented(spec, 2), indented(process, 6));
    format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: web }}\nspec:\n{spec}  workload:\n    process:\n      \
         command: {command}\n{process}"
    )
}

/// The set of a Release in block style, in flow style, or none.
fn release(environment: &str, version: &str, set: &Option<(Vec<&str>, Vec<&str>)>) -> String {
    let head = format!(
        "# {environment}\napiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: web, environment: {environment} }} # where\n"
    );
    match set {
        None => format!("{head}spec: {{ version: {version} }} # short\n"),
        Some((spec, process)) if spec.is_empty() && process.is_empty() => {
            format!("{head}spec: {{ version: {version}, set: {{}} }} # nothing\n")
        }
        Some((spec, process)) => {
            let spec_lines = indented(spec, 4);
            let inner = match process.is_empty() {
                true => String::new(),
                false => format!("    workload:\n      process: # ours\n{}", indented(process, 8)),
            };
            format!(
                "{head}spec:\n  version: {version} # which\n  set:\n{spec_lines}{inner}# the end of {environment}\n"
            )
        }
    }
}

fn command() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "[bin/app]",
        "[bin/app, --port, \"{{ port }}\"]",
        "\n      - bin/app\n      - \"a: b # c\"",
    ])
}

fn set() -> impl Strategy<Value = Option<(Vec<&'static str>, Vec<&'static str>)>> {
    prop::option::of((spec(), process()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn one_environment_goes_back_and_nothing_else_changes(
        good in (spec(), process(), command()),
        bad in (spec(), process(), command()),
        (ours_then, ours_now, theirs) in (set(), set(), set()),
        same_set in any::<bool>(),
        versions in (prop::sample::select(vec!["1.10", "2"]), prop::sample::select(vec!["1.10", "1.11"])),
        folders in (prop::sample::select(vec!["", "apps/web/"]), prop::sample::select(vec!["", "apps/web/"])),
        together in any::<bool>(),
    ) {
        let ours_now = if same_set { ours_then.clone() } else { ours_now };
        let files = |app_text: String, folder: &str, version: &str, ours: &Option<_>| {
            let dev = release("dev", "3", &theirs);
            let staging = release("staging", version, ours);
            let mut files = vec![("env.yaml".to_owned(), ENVIRONMENTS.to_owned()), (format!("{folder}app.yaml"), app_text)];
            match together {
                true => files.push(("releases/web.yaml".into(), format!("{dev}--- # next\n{staging}"))),
                false => files.extend([("releases/web.yaml".into(), staging), ("dev.yaml".into(), dev)]),
            }
            files
        };
        let then = files(app(&good.0, &good.1, good.2), folders.0, versions.0, &ours_then);
        let now = files(app(&bad.0, &bad.1, bad.2), folders.1, versions.1, &ours_now);
        // Two sets may name two strategies: what never rendered is not gone back to.
        let (was, is) = (digests(&then), digests(&now));
        prop_assume!(was.is_some() && is.is_some());
        let (was, is) = (was.unwrap(), is.unwrap());
        let text = now.iter().find(|(path, _)| path == "releases/web.yaml").unwrap().1.clone();
        let (app, staging) = ("web".parse().unwrap(), "staging".parse().unwrap());
        let (documents_then, documents_now) = (DocumentSet::from(then), DocumentSet::from(now.clone()));
        match pinned((&app, &staging), &documents_then, &documents_now, "releases/web.yaml", &text) {
            Err(error) => {
                prop_assert_eq!(error, PinError::NothingToSet);
                // The other environment may well be changed: that is not what is gone back from.
                let staging = |(unit, _): &(&String, &_)| unit.contains("/staging/");
                prop_assert!(was.iter().filter(staging).eq(is.iter().filter(staging)));
            }
            Ok(next) => {
                let mut after = now.clone();
                after.iter_mut().find(|(path, _)| path == "releases/web.yaml").unwrap().1.clone_from(&next.text);
                for (unit, digest) in digests(&after).expect(&next.text) {
                    let expected = if unit.contains("/staging/") { &was[&unit] } else { &is[&unit] };
                    prop_assert_eq!(&digest, expected, "{}: {}", unit, next.text);
                }
                let (before, after) = (documents::texts(&text), documents::texts(&next.text));
                for (id, other) in before.iter().filter(|(id, _)| id.environment.as_deref() != Some("staging")) {
                    prop_assert_eq!(other, &after[id]);
                }
                let comments = |text: &str| -> Vec<String> {
                    text.lines().filter_map(|line| Some(line.rsplit_once(" # ")?.1.to_owned())).collect()
                };
                let kept = comments(&next.text);
                for comment in ["where", "which", "short", "nothing", "ours", "next"] {
                    let count = |all: &[String]| all.iter().filter(|other| *other == comment).count();
                    prop_assert!(count(&kept) >= count(&comments(&text)), "{}: {}", comment, next.text);
                }
            }
        }
    }
}
