//! Every kind of problem, as a person reads it: layer, place, lines, remedy. The texts are golden.

use super::{HELLO, STAGING, app, problems, release};

/// Appends the problems of a case to the golden text.
fn tell(out: &mut String, title: &str, files: &[(&str, &str)]) {
    let problems = problems(files);
    assert!(!problems.is_empty(), "{title}: nothing was found");
    out.push_str(&format!("## {title}\n\n"));
    for problem in problems {
        out.push_str(&format!("{problem}\n\n"));
    }
}

/// The problems of Apps, by spec.
fn tell_apps(cases: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (title, spec) in cases {
        let app = app(spec);
        tell(
            &mut out,
            title,
            &[("staging.yaml", STAGING), ("hello.yaml", &app), ("r.yaml", &release("{ version: 1 }"))],
        );
    }
    out
}

#[test]
fn documents() {
    let mut out = String::new();
    for (title, text) in [
        ("syntax", "apiVersion: trimtab/v1\nkind: App\nspec: [a, b\nmetadata: {}\n"),
        ("tab", "apiVersion: trimtab/v1\nkind: App\nspec:\n\tworkload: x\n"),
        ("version", "apiVersion: trimtab/v2\nkind: App\nmetadata: { name: a }\nspec: {}\n"),
        ("version, nearly", "apiVersion: trimtb/v1\nkind: App\nmetadata: { name: a }\nspec: {}\n"),
        ("version forgotten", "kind: App\nmetadata: { name: a }\nspec: {}\n"),
        ("kind", "apiVersion: trimtab/v1\nkind: Relaese\nmetadata: { name: a }\nspec: {}\n"),
        ("no kind", "apiVersion: trimtab/v1\nmetadata: { name: a }\nspec: {}\n"),
        ("no metadata", "apiVersion: trimtab/v1\nkind: App\nspec: {}\n"),
        ("no environment", "apiVersion: trimtab/v1\nkind: Release\nmetadata: { name: a }\nspec: { version: 1 }\n"),
        ("name", "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: Migrate_DB }\nspec: { run: x }\n"),
        (
            "name that looks like another",
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: h\u{435}llo }\nspec: { run: x }\n",
        ),
        (
            "invisible name",
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: \"hel\u{200b}lo\" }\nspec: { run: x }\n",
        ),
        (
            "unknown fields",
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a, label: x }\nspec: { run: x, timeuot: 3s }\nstatus: {}\n",
        ),
        ("no spec", "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\n"),
        (
            "twice the same key",
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: x, run: y }\n",
        ),
        (
            "key of no text",
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: x, env: { {{ app }}: y } }\n",
        ),
        ("unknown alias", "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: *nowhere }\n"),
        ("tag", "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: !secret x }\n"),
        (
            "direction of writing",
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: \"rm \u{202e}x\" }\n",
        ),
        (
            "moved from itself",
            "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: a, moved: { from: a } }\nspec: { platform: host }\n",
        ),
    ] {
        tell(&mut out, title, &[("doc.yaml", text)]);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn environments() {
    let mut out = String::new();
    for (title, spec) in [
        ("nothing", "{}"),
        ("platform of another build", "{ platform: { ecs: { context: x } } }"),
        ("platform with a slip", "{ platform: hots }"),
        ("settings of the host", "{ platform: { host: { user: x } } }"),
        ("both forms", "{ platform: host, targets: [] }"),
        ("no targets", "{ targets: [] }"),
        ("target without platform", "{ targets: [ { name: a } ] }"),
        ("target twice", "{ targets: [ { name: a, platform: host }, { name: a, platform: host } ] }"),
        ("wave", "{ targets: [ { name: a, wave: -1, platform: host } ] }"),
        ("listener", "{ platform: host, listeners: { web: localhost } }"),
        ("listener without a fixed port", "{ platform: host, listeners: { web: { address: '127.0.0.1:0' } } }"),
        ("listener's name", "{ platform: host, listeners: { Web: '127.0.0.1:80' } }"),
        ("config of structure", "{ platform: host, config: { A: [1] } }"),
        ("config without value", "{ platform: host, config: { A: } }"),
        ("config's name", "{ platform: host, config: { 1A-B: x } }"),
        ("config that would be filled in", "{ platform: host, config: { A: '{{ version }}' } }"),
        ("config that trimtab sets", "{ platform: host, config: { TRIMTAB_UNIT: x } }"),
        ("not there yet", "{ platform: host, protection: { approvals: 2 } }"),
    ] {
        let text = format!("apiVersion: trimtab/v1\nkind: Environment\nmetadata: {{ name: staging }}\nspec: {spec}\n");
        tell(&mut out, title, &[("env.yaml", &text)]);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn workloads() {
    let out = tell_apps(&[
        ("nothing", "  {}"),
        ("slip in a field", "  workload: { process: { comand: [a] } }\n  replica: 3"),
        ("field of nowhere", "  workload: { process: { command: [a], volumes: [] } }"),
        ("workload of another build", "  workload: { compose: { file: x } }"),
        ("command as text", "  workload: { process: { command: bin/hello --port 1 } }"),
        ("empty command", "  workload: { process: { command: [] } }"),
        ("command of structure", "  workload: { process: { command: [a, { b: c }] } }"),
        ("unquoted placeholder", "  workload: { process: { command: [a, {{ port }}] } }"),
        ("placeholder for structure", "  workload: { process: { command: '{{ config.COMMAND }}' } }"),
        ("artifact without either", "  workload: { process: { command: [a], artifact: {} } }"),
        (
            "artifact of both",
            "  workload: { process: { command: [a], artifact: { path: hello, url: 'https://x/y' } } }",
        ),
        (
            "sum of a path",
            &format!(
                "  workload: {{ process: {{ command: [a], artifact: {{ path: hello, sha256: {} }} }} }}",
                "a".repeat(64)
            ),
        ),
        ("replicas", "  workload: { process: { command: [a] } }\n  replicas: 2000"),
        ("replicas as text", "  workload: { process: { command: [a] } }\n  replicas: \"3\""),
        ("replicas in octal", "  workload: { process: { command: [a] } }\n  replicas: 010"),
        ("memory", "  workload: { process: { command: [a], limits: { memory: 256MB } } }"),
        ("memory out of range", "  workload: { process: { command: [a], limits: { memory: 10 } } }"),
        ("cpu", "  workload: { process: { command: [a], limits: { cpu: 0.0001 } } }"),
        ("signal", "  workload: { process: { command: [a], stop: { signal: KILL } } }"),
        ("grace without unit", "  workload: { process: { command: [a], stop: { grace: 30 } } }"),
        ("boolean", "  workload: { process: { command: [a], port: yes } }"),
        ("env of structure", "  workload: { process: { command: [a], env: { A: { b: c } } } }"),
        ("env's name", "  workload: { process: { command: [a], env: { 'A B': c } } }"),
        ("env without value", "  workload: { process: { command: [a], env: { A: } } }"),
        ("unknown placeholder", "  workload: { process: { command: [a, '{{ verson }}'] } }"),
        ("placeholder of nobody", "  workload: { process: { command: [a, '{{ .Names }}'] } }"),
        ("open placeholder", "  workload: { process: { command: [a, '{{ version'] } }"),
        ("unknown config", "  workload: { process: { command: [a, '{{ config.LOGLEVEL }}'] } }"),
        ("placeholder known too late", "  workload: { process: { command: [a] } }\n  route: { host: 'h{{ port }}.x' }"),
        ("placeholder in a key", "  workload: { process: { command: [a], env: { '{{ app }}': c } } }"),
    ]);
    insta::assert_snapshot!(out);
}

#[test]
fn the_rest_of_apps() {
    let with = |rest: &str| format!("  workload: {{ process: {{ command: [a] }} }}\n  {rest}");
    let cases = [
        ("route's path", "route: { path: hello }"),
        ("sticky", "route: { sticky: true }"),
        ("health of two kinds", "health: { http: /, tcp: {} }"),
        ("health said twice", "health: { http: { path: /, interval: 1s }, interval: 2s }"),
        ("health without path", "health: { http: { interval: 1s } }"),
        ("thresholds", "health: { http: /, healthyAfter: 0 }"),
        ("liveness without check", "health: { liveness: { interval: 1s } }"),
        ("unknown strategy", "strategy: rollling"),
        ("two strategies", "strategy: { canary: { steps: [ { weight: 1 } ] }, rolling: {} }"),
        ("rolling that can't move", "strategy: { rolling: { maxSurge: 0, maxUnavailable: 0% } }"),
        ("amount", "strategy: { rolling: { maxSurge: 125% } }"),
        ("canary without steps", "strategy: canary"),
        (
            "canary's steps",
            "route: {}\n  strategy: { canary: { steps: [ { weigth: 10 }, { weight: 110 }, { pause: soon }, weight, { pause: { duration: 3s } } ] } }",
        ),
        ("promotion", "strategy: { blueGreen: { promote: later } }"),
        (
            "unknown analysis",
            "route: {}\n  strategy: { canary: { steps: [ { analysis: error } ], gate: latency } }\n  analyses: { errors: { router: { errorRate: '<= 1%' } } }",
        ),
        ("analysis of nothing", "analyses: { errors: {} }"),
        ("analysis of two", "analyses: { errors: { http: 'https://x/', script: a } }"),
        ("analysis without bound", "route: {}\n  analyses: { errors: { router: { atLeast: 3 } } }"),
        (
            "bounds",
            "route: {}\n  analyses: { errors: { router: { errorRate: '> 1%', latencyP99: '<= 250', latencyP95: '<= x * stable' } } }",
        ),
        ("hook twice", "hooks: { before: [ a, a ] }"),
        ("hook without script", "hooks: { before: [ { idempotent: true } ] }"),
        ("hook's rollback", "hooks: { before: [ { script: a, onRollback: never } ] }"),
        ("trigger", "rollback: { on: [ unhealty ] }"),
        ("depends", "dependsOn: { a: b }"),
    ];
    let specs: Vec<(&str, String)> = cases.iter().map(|(title, rest)| (*title, with(rest))).collect();
    let specs: Vec<(&str, &str)> = specs.iter().map(|(title, spec)| (*title, spec.as_str())).collect();
    let out = tell_apps(&specs);
    insta::assert_snapshot!(out);
}

#[test]
fn security() {
    let out = tell_apps(&[
        ("path that leaves the tree", "  workload: { process: { command: [a], artifact: ../secrets } }"),
        ("path into .git", "  workload: { process: { command: [a], artifact: /hello/.GIT/x } }"),
        ("the whole repository", "  workload: { process: { command: [a], artifact: . } }"),
        ("backslash", "  workload: { process: { command: [a], artifact: 'a\\b' } }"),
        ("url without sum", "  workload: { process: { command: [a], artifact: { url: 'https://x/y.tar.gz' } } }"),
        (
            "wrong sum",
            "  workload: { process: { command: [a], artifact: { url: 'https://x/y.tar.gz', sha256: abc } } }",
        ),
        (
            "plain http",
            &format!(
                "  workload: {{ process: {{ command: [a], artifact: {{ url: 'http://x/y', sha256: {} }} }} }}",
                "a".repeat(64)
            ),
        ),
        (
            "password in a url",
            &format!(
                "  workload: {{ process: {{ command: [a], artifact: {{ url: 'https://u:p@x/y', sha256: {} }} }} }}",
                "a".repeat(64)
            ),
        ),
        (
            "other schemes",
            "  workload: { process: { command: [a] } }\n  analyses: { a: { http: 'ftp://x/y' }, b: { http: 'file:///etc/passwd' } }",
        ),
        ("superuser", "  workload: { process: { command: [a], user: root } }"),
        ("superuser by number", "  workload: { process: { command: [a], user: 00 } }"),
        ("user", "  workload: { process: { command: [a], user: '-x' } }"),
        ("host with port", "  workload: { process: { command: [a] } }\n  route: { host: 'hello.localhost:8080' }"),
        ("host in capitals", "  workload: { process: { command: [a] } }\n  route: { host: Hello.localhost }"),
        ("host for all", "  workload: { process: { command: [a] } }\n  route: { host: '*.localhost' }"),
        ("path upwards", "  workload: { process: { command: [a] } }\n  route: { path: /a/../b }"),
        ("env that trimtab sets", "  workload: { process: { command: [a], env: { TRIMTAB_RUN: x } } }"),
    ]);
    insta::assert_snapshot!(out);
}

#[test]
fn compatibility() {
    let out = tell_apps(&[
        ("route without port", "  workload: { process: { command: [a], port: false } }\n  route: {}"),
        ("check without port", "  workload: { process: { command: [a], port: false } }\n  health: { http: /x }"),
        ("placeholder without port", "  workload: { process: { command: [a, '{{ port }}'], port: false } }"),
        ("hold without route", "  workload: { process: { command: [a] } }\n  strategy: { recreate: { hold: 3s } }"),
        (
            "preview without route",
            "  workload: { process: { command: [a] } }\n  strategy: { blueGreen: { previewHost: p.localhost } }",
        ),
        (
            "preview in place of the route",
            "  workload: { process: { command: [a] } }\n  route: { host: a.localhost }\n  strategy: { blueGreen: { previewHost: a.localhost } }",
        ),
        (
            "measures without route",
            "  workload: { process: { command: [a] } }\n  analyses: { errors: { router: { errorRate: '<= 1%' } } }",
        ),
    ]);
    insta::assert_snapshot!(out);
}

#[test]
fn releases() {
    let mut out = String::new();
    for (title, spec) in [
        ("no version", "{}"),
        ("version", "{ version: 'a b' }"),
        ("set of a list", "{ version: 1, set: [] }"),
        ("set of something unknown", "{ version: 1, set: { replcas: 2 } }"),
        ("set of a wrong type", "{ version: 1, set: { replicas: many } }"),
        ("set of a second strategy", "{ version: 1, set: { strategy: { rolling: {}, recreate: {} } } }"),
        ("set that removes what is needed", "{ version: 1, set: { workload: null } }"),
    ] {
        tell(&mut out, title, &[("env.yaml", STAGING), ("app.yaml", HELLO), ("r.yaml", &release(spec))]);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn all_problems_are_told_at_once_each_at_its_place() {
    let text = "\
apiVersion: v1
kind: ConfigMap
data: { a: b }
---
# a comment
apiVersion: trimtab/v1
kind: Script
metadata: { name: one }
spec:
  run: x
  timeot: 3s
---
apiVersion: trimtab/v1
kind: Script
metadata: { name: two }
spec:
  run: [x]
  outputLimit: 1XB
";
    let places: Vec<(u32, u32)> =
        problems(&[("all.yaml", text)]).iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(11, 3), (17, 8), (18, 16)]);
}
