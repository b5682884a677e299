//! Secrets: handed over in each way, kept encrypted, in nobody's hands but the app's own.

use std::fs;
use std::path::Path;

use trimtab::domain::secret::{Delivery, SecretRef};
use trimtab::domain::span::Span;
use trimtab::domain::workload::{Check, Probe};
use trimtab::protocol::supervisor::{ExitHow, InstanceState, RunState};
use trimtab::secrets::value::SecretValues;

use super::bed::Bed;
use crate::support::{PATIENCE, eventually, read};

const VARIABLE: &str = "v4riable-canary";
const FILE: &str = "f1le-canary/+?";
const CREDENTIAL: &str = "cr3dential-canary";

/// Writes what it got where the test finds it, says it aloud on both streams, and stays.
const APP: &str = r#"
printf '%s|%s|%s' "$A_VARIABLE" "$(cat config/key.pem)" "$(cat "$CREDENTIALS_DIRECTORY/token")" > "$OUT/got.new"
echo "$CREDENTIALS_DIRECTORY" > "$OUT/folder"
mv "$OUT/got.new" "$OUT/got"
echo "out $A_VARIABLE $(cat config/key.pem) $(printf %s "$A_VARIABLE" | base64)"; echo "err $A_VARIABLE" >&2
exec sleep 1000
"#;

fn secrets() -> [(&'static str, Delivery, &'static str); 3] {
    [
        ("a", Delivery::Env { name: "A_VARIABLE".into() }, VARIABLE),
        ("b", Delivery::File { path: "config/key.pem".into(), mode: 0o400 }, FILE),
        ("c", Delivery::Credential { name: "token".into() }, CREDENTIAL),
    ]
}

fn references() -> std::collections::BTreeMap<String, SecretRef> {
    let reference = |deliver| SecretRef { from: "secrets/x.age".into(), digest: None, deliver };
    secrets().into_iter().map(|(name, deliver, _)| (name.to_owned(), reference(deliver))).collect()
}

fn values() -> SecretValues {
    secrets().into_iter().map(|(name, _, value)| (name.to_owned(), value.into())).collect()
}

/// Every file below a folder that holds one of the values, in clear or in base64.
fn found_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        // A run that has ended is cleared away while this looks.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return found,
        entries => entries.unwrap(),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(found_in(&path));
        } else if kind.is_symlink() {
            // It leads into memory.
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let needles = [VARIABLE, FILE, CREDENTIAL, "djRyaWFibGUtY2FuYXJ5", "ZjFsZS1jYW5hcnkv"];
            found.extend(needles.iter().filter(|needle| text.contains(**needle)).map(|n| format!("{n} in {path:?}")));
        }
    }
    found
}

#[test]
fn each_way_reaches_the_app_and_nothing_else_and_a_restart_of_the_machine_needs_no_daemon() {
    let mut bed = Bed::start();
    *bed.values.lock().unwrap() = values();
    let mut spec = bed.group(APP);
    spec.process.secrets = references();
    bed.put(&spec, 1);
    let expected = format!("{VARIABLE}|{FILE}|{CREDENTIAL}");
    let got = |bed: &Bed| {
        eventually(PATIENCE, "the app got its secrets", || match read(bed.out("got")) {
            Some(got) if got == expected => Ok(()),
            other => Err(format!("{other:?} {}", bed.log_text())),
        });
    };
    got(&bed);
    let path = format!("/v1/groups/{}/logs?tail=10", spec.key.replace('/', "%2F"));
    let logs = eventually(PATIENCE, "both streams are kept", || {
        let logs = bed.text(&path);
        if logs.contains("err [secret]") && logs.contains("out [secret]") { Ok(logs) } else { Err(logs) }
    });
    assert!(logs.contains("out [secret] [secret] [secret]"), "{logs}");
    assert_eq!(found_in(&bed.state()), Vec::<String>::new());
    // Scaling needs no values: the group has them.
    *bed.values.lock().unwrap() = SecretValues::new();
    bed.put(&spec, 1);
    // What is in memory is gone with the machine; what is kept is enough.
    let folder = read(bed.out("folder")).unwrap().trim().to_owned();
    bed.kill_everything();
    fs::remove_file(bed.out("got")).unwrap();
    bed.start_again(Some("another-boot"));
    got(&bed);
    bed.delete(&spec);
    eventually(PATIENCE, "its files are gone with it", || !Path::new(&folder).exists());
    assert_eq!(found_in(&bed.state()), Vec::<String>::new());
    assert!(!bed.log_text().contains("canary"), "{}", bed.log_text());
}

#[test]
fn a_group_without_the_values_that_it_needs_is_refused_by_name() {
    let bed = Bed::start();
    let mut spec = bed.group("exec sleep 1000");
    spec.process.secrets = references();
    let error = bed.try_put(1, &spec, 1).unwrap_err().to_string();
    assert!(error.contains("a, b, c") && error.contains("daemon"), "{error}");
    *bed.values.lock().unwrap() = values();
    let mut outside = spec.clone();
    if let Some(secret) = outside.process.secrets.get_mut("b") {
        secret.deliver = Delivery::File { path: "../../x".into(), mode: 0o400 };
    }
    let error = bed.try_put(1, &outside, 1).unwrap_err().to_string();
    assert!(error.contains("impossible place"), "{error}");
    bed.values.lock().unwrap().insert("a".into(), vec![0xff].into());
    let error = bed.try_put(1, &spec, 1).unwrap_err().to_string();
    assert!(error.contains("file or a credential") && !error.contains("canary"), "{error}");
}

#[test]
fn a_lost_key_is_told_and_starts_nothing() {
    let mut bed = Bed::start();
    *bed.values.lock().unwrap() = values();
    let mut spec = bed.group("exec sleep 1000");
    spec.process.secrets = references();
    bed.put(&spec, 1);
    bed.until_runs(&spec);
    bed.kill_everything();
    fs::write(bed.state().join("secrets.key"), "0".repeat(64)).unwrap();
    bed.start_again(Some("another-boot"));
    let instance = bed.until_first(&spec, "it says why it can't start", |instance| {
        instance.state == InstanceState::BackOff && instance.message.as_ref().is_some_and(|m| m.contains("another key"))
    });
    assert!(matches!(instance.last_exit.unwrap().how, ExitHow::NotStarted(_)));
}

#[test]
fn a_run_gets_its_secrets_and_its_output_shows_none() {
    let bed = Bed::start();
    *bed.values.lock().unwrap() = values();
    let script = r#"printf '%s|%s|%s' "$A_VARIABLE" "$(cat config/key.pem)" "$(cat "$CREDENTIALS_DIRECTORY/token")" | tee "$OUT/run""#;
    let mut spec = bed.run_spec("with-secrets", script);
    spec.secrets = references();
    bed.try_run(&spec).unwrap();
    let run = bed.run_end("with-secrets");
    assert_eq!(run.state, RunState::Ended(ExitHow::Code(0)));
    assert_eq!(run.output, "[secret]|[secret]|[secret]");
    assert_eq!(read(bed.out("run")).unwrap(), format!("{VARIABLE}|{FILE}|{CREDENTIAL}"));
    assert_eq!(found_in(&bed.state()), Vec::<String>::new());
}

#[test]
fn what_a_check_says_is_cut_off_within_no_secret() {
    let bed = Bed::start();
    let long: String = (0..60).map(|number| format!("{number:03}")).collect();
    *bed.values.lock().unwrap() = [("a".to_owned(), long.as_str().into())].into();
    // A trace of 397 bytes and then the value, of which no more than the first three bytes are read; and its base64 in lines.
    let checks = [
        r#"head -c 397 /dev/zero | tr '\0' x >&2; printf %s "$A_VARIABLE" >&2; exit 1"#,
        r#"echo "it failed with" >&2; printf %s "$A_VARIABLE" | base64 >&2; exit 1"#,
    ];
    for (number, script) in checks.into_iter().enumerate() {
        let mut spec = bed.group("exec sleep 1000");
        spec.key = format!("hello/staging/default/{number}");
        spec.process.secrets = references().into_iter().filter(|(name, _)| name == "a").collect();
        let interval = Span::from_millis(50);
        let check = Check::Exec { command: ["/bin/sh", "-c", script].map(str::to_owned).into() };
        let timeout = Span::from_secs(5);
        spec.health.readiness = Some(Probe { check, interval, timeout, healthy_after: 1, unhealthy_after: 1 });
        bed.put(&spec, 1);
        let said = bed.until_first(&spec, "it is told why", |instance| {
            instance.message.as_ref().is_some_and(|message| message.contains("exit status: 1"))
        });
        let message = said.message.unwrap();
        assert!(message.ends_with("xxx") || message.ends_with("it failed with\n[secret]"), "{message}");
    }
}
