//! What a Release sets, and what placeholders become.

use trimtab::domain::strategy::{Amount, Strategy};
use trimtab::domain::workload::Workload;

use super::{STAGING, app, release, unit};

const SPEC: &str = "  workload:
    process:
      artifact: hello
      command: [bin/hello, --verbose]
      env: { A: one, B: two }
      limits: { memory: 256Mi }
      replicas: 3
  route: { host: hello.localhost }
  strategy: { rolling: { maxSurge: 1 } }
";

fn process(set: &str) -> serde_json::Value {
    let unit = unit_of(set);
    let Workload::Process(process) = unit.workload else { panic!("it is a process") };
    serde_json::to_value(process).unwrap()
}

fn unit_of(set: &str) -> trimtab::domain::desired::DesiredUnit {
    let release = release(&format!("{{ version: 1.10, set: {set} }}"));
    unit(&[("env.yaml", STAGING), ("app.yaml", &app(SPEC)), ("r.yaml", &release)])
}

#[test]
fn maps_are_merged_lists_replaced_and_null_removes() {
    let cases = [
        ("{}", "/env", r#"{"A":"one","B":"two","LOG_LEVEL":"info","REPLICAS":"4"}"#),
        (
            "{ workload: { process: { env: { B: zwei, C: three } } } }",
            "/env",
            r#"{"A":"one","B":"zwei","C":"three","LOG_LEVEL":"info","REPLICAS":"4"}"#,
        ),
        ("{ workload: { process: { env: { A: null } } } }", "/env", r#"{"B":"two","LOG_LEVEL":"info","REPLICAS":"4"}"#),
        ("{ workload: { process: { env: null } } }", "/env", r#"{"LOG_LEVEL":"info","REPLICAS":"4"}"#),
        ("{ workload: { process: { env: { LOG_LEVEL: debug } } } }", "/env/LOG_LEVEL", r#""debug""#),
        ("{ workload: { process: { command: [bin/other] } } }", "/command", r#"["bin/other"]"#),
        ("{ workload: { process: { limits: { pids: 5 } } } }", "/limits", r#"{"memory":268435456,"pids":5}"#),
        ("{ workload: { process: { limits: null } } }", "/limits", "null"),
        ("{ workload: { process: { stop: { grace: 3s } } } }", "/stop", r#"{"signal":"TERM","grace":"3s"}"#),
    ];
    for (set, pointer, expected) in cases {
        let process = process(set);
        let found = process.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, serde_json::from_str::<serde_json::Value>(expected).unwrap(), "{set}");
    }
}

#[test]
fn replicas_of_the_release_win() {
    assert_eq!(unit_of("{}").replicas, 3);
    assert_eq!(unit_of("{ replicas: 2 }").replicas, 2);
    assert_eq!(unit_of("{ workload: { process: { replicas: 5 } } }").replicas, 5);
    assert_eq!(unit_of("{ replicas: '{{ config.REPLICAS }}' }").replicas, 4);
}

#[test]
fn a_choice_is_changed_as_a_whole() {
    assert!(matches!(unit_of("{ strategy: recreate }").strategy, Strategy::Recreate(_)));
    assert!(matches!(unit_of("{ strategy: { rolling: null, recreate: {} } }").strategy, Strategy::Recreate(_)));
    let Strategy::Rolling(rolling) = unit_of("{ strategy: { rolling: { maxUnavailable: 0 } } }").strategy else {
        panic!("rolling is left")
    };
    assert_eq!((rolling.max_surge, rolling.max_unavailable), (Amount::Count(1), Amount::Count(0)));
}

#[test]
fn placeholders_are_filled_in_once_and_only_as_text() {
    let env = "{ V: '{{ version }}', W: '{{version}}-{{ app }}@{{ environment }}/{{ target }}', L: '{{ config.LOG_LEVEL }}', \
               P: 'x{{port}}y', I: '{{ instance }}', S: \"{{ slot }}\", B: '{{ \"{{\" }} version }}', N: 010, T: true, E: '' }";
    let process = process(&format!("{{ workload: {{ process: {{ env: {env} }} }} }}"));
    let expected = [
        ("V", "1.10"),
        ("W", "1.10-hello@staging/default"),
        ("L", "info"),
        ("P", "x{{ port }}y"),
        ("I", "{{ instance }}"),
        ("S", "{{ slot }}"),
        ("B", "{{ version }}"),
        ("N", "010"),
        ("T", "true"),
        ("E", ""),
    ];
    for (name, value) in expected {
        assert_eq!(process["env"][name], value, "{name}");
    }
}

#[test]
fn yaml_shorthands_are_read_as_written_out() {
    let spec = "  workload:
    process:
      command: [a]
      env: &base { A: 1, B: 2 }
  analyses:
    one: &probe { http: https://x/, interval: 3s }
    two: *probe
    three: { <<: *probe, interval: 4s }
";
    let unit = unit(&[("e.yaml", STAGING), ("a.yaml", &app(spec)), ("r.yaml", &release("{ version: 1 }"))]);
    let spans: Vec<String> = unit.analyses.values().map(|analysis| analysis.interval.to_string()).collect();
    assert_eq!(spans, ["3s", "4s", "3s"]);
}
