//! What is refused before anything is done: requests beyond the limits, and those that can't be carried out.

use std::collections::BTreeMap;

use serde_json::Value;

use super::context::file_name;
use super::{environment, signal};
use crate::domain::secret::{Delivery, SecretRef};
use crate::domain::span::Span;
use crate::domain::workload::{Check, Health, Probe};
use crate::protocol::VERSION;
use crate::protocol::supervisor::{GroupSpec, PutGroup, PutRun};
use crate::secrets::value::SecretValues;

const MOST_REPLICAS: u32 = 1000;
const LONGEST_NAME: usize = 200;
const MOST_WORDS: usize = 1000;
const LARGEST_TEXT: usize = 128 << 10;
const SHORTEST_INTERVAL: Span = Span::from_millis(10);
const LARGEST_OUTPUT: u64 = 8 << 20;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is newer than this build.
    #[error(
        "the message has version {0}, and this supervisor understands up to {VERSION}: upgrade the supervisor first"
    )]
    Version(u32),
    /// It can't be carried out as it is written.
    #[error("{0}")]
    Invalid(String),
}

type Checked = Result<(), Refusal>;

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Refusal::Invalid(otherwise())) }
}

/// Checks a request for a group.
pub fn group(key: &str, put: &PutGroup) -> Checked {
    version(put.version)?;
    let spec = &put.spec;
    require(key == spec.key, || format!("the path names {key:?} and the body {:?}: send one key", spec.key))?;
    name("key", key)?;
    require(put.replicas <= MOST_REPLICAS, || format!("{} replicas are more than {MOST_REPLICAS}", put.replicas))?;
    let process = &spec.process;
    command("process.command", &process.command)?;
    environment_of(process.env.iter())?;
    secrets(&process.secrets, &put.secrets)?;
    let stop = &process.stop.signal;
    require(signal::number(stop).is_some(), || {
        format!("process.stop.signal is {stop:?}: use TERM, INT, QUIT, HUP, USR1 or USR2")
    })?;
    let asks = |text: &String| environment::asks_for_port(text);
    let port_asked = process.command.iter().chain(process.env.values()).any(asks);
    require(process.port || !port_asked, || {
        "process.port is false, but the command or the environment asks for {{ port }}: set port: true, or leave it out"
            .into()
    })?;
    let probes = [("health.readiness", &spec.health.readiness), ("health.liveness", &spec.health.liveness)];
    for (place, probe) in probes {
        probe.as_ref().map_or(Ok(()), |probe| check_probe(place, probe, process.port))?;
    }
    Ok(())
}

/// Checks a request for a run.
pub fn run(id: &str, put: &PutRun) -> Checked {
    version(put.version)?;
    let spec = &put.spec;
    require(id == spec.id.as_str(), || {
        format!("the path names {id:?} and the body {:?}: send one id", spec.id.as_str())
    })?;
    name("id", id)?;
    command("command", &spec.command)?;
    environment_of(spec.env.iter())?;
    secrets(&spec.secrets, &put.secrets)?;
    require(spec.timeout > Span::ZERO, || "timeout is zero: say how long the run may take".into())?;
    require((1..=LARGEST_OUTPUT).contains(&spec.output_limit), || {
        format!("outputLimit is {}: choose 1 to {LARGEST_OUTPUT} bytes", spec.output_limit)
    })
}

/// The supervisor writes files for secrets, often as root: their places are checked again here.
fn secrets(secrets: &BTreeMap<String, SecretRef>, values: &SecretValues) -> Checked {
    require(secrets.len() <= MOST_WORDS, || format!("{} secrets are more than {MOST_WORDS}", secrets.len()))?;
    for (name, secret) in secrets {
        let part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\0']);
        let fine = match &secret.deliver {
            Delivery::Env { name } => !name.is_empty() && !name.contains(['=', '\0']),
            Delivery::Credential { name } => part(name) && name.len() <= LONGEST_NAME,
            Delivery::Object {} => false,
            Delivery::File { path, mode } => path.len() <= 1024 && path.split('/').all(part) && mode & !0o777 == 0,
        };
        require(fine, || format!("the secret {name:?} is to be handed over at an impossible place"))?;
        let variable = matches!(secret.deliver, Delivery::Env { .. });
        let text = values.get(name).is_none_or(|value| value.as_variable().is_some());
        require(!variable || text, || {
            format!(
                "the secret {name:?} is no text without NUL, and so no variable: hand it over as a file or a credential"
            )
        })?;
    }
    let total: usize = values.values().map(|value| value.expose().len()).sum();
    require(total <= 32 * LARGEST_TEXT, || "the secrets are longer than any program takes".into())
}

fn version(version: u32) -> Checked {
    if version > VERSION { Err(Refusal::Version(version)) } else { Ok(()) }
}

fn name(what: &str, text: &str) -> Checked {
    require(!text.is_empty() && file_name(text).len() <= LONGEST_NAME, || {
        format!("the {what} must have 1 to {LONGEST_NAME} characters, counted with percent-encoding")
    })
}

fn command(place: &str, command: &[String]) -> Checked {
    let program = command.first().map_or("", String::as_str);
    require(!program.is_empty(), || format!("{place} is empty: name a program"))?;
    let total: usize = command.iter().map(String::len).sum();
    require(command.len() <= MOST_WORDS && total <= LARGEST_TEXT, || {
        format!("{place} is longer than any program takes")
    })?;
    require(!command.iter().any(|part| part.contains('\0')), || format!("{place} holds a NUL"))
}

fn environment_of<'a>(env: impl Iterator<Item = (&'a String, &'a String)>) -> Checked {
    let mut total = 0;
    for (name, value) in env {
        total += name.len() + value.len();
        let plain = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        // The value is not shown: it may be a secret.
        require(plain, || format!("the environment variable {name:?} has an impossible name, or a NUL in its value"))?;
    }
    require(total <= 8 * LARGEST_TEXT, || "the environment is longer than any program takes".into())
}

fn check_probe(place: &str, probe: &Probe, has_port: bool) -> Checked {
    require(probe.interval >= SHORTEST_INTERVAL, || format!("{place}.interval is shorter than {SHORTEST_INTERVAL}"))?;
    require(probe.timeout > Span::ZERO, || format!("{place}.timeout is zero"))?;
    let port = || format!("{place} checks the port, but process.port is false: set port: true, or check with exec");
    match &probe.check {
        Check::Http { path } => {
            require(has_port, port)?;
            let fits = path.starts_with('/') && path.len() <= 2000 && path.parse::<http::Uri>().is_ok();
            require(fits, || format!("{place}.http.path is {path:?}: write a path that begins with `/`"))
        }
        Check::Tcp {} => require(has_port, port),
        Check::Exec { command: words } => command(&format!("{place}.exec.command"), words),
    }
}

/// Compares what never changes in a group, and names what differs. Where the artifact lies is no part of what it is,
/// if it is named by content.
pub fn same(old: &GroupSpec, new: &GroupSpec) -> Checked {
    let parts = |spec: &GroupSpec| {
        let unnamed = spec.artifact_dir.as_ref().filter(|_| spec.process.artifact.is_none());
        // How long a start may take says nothing about what runs: the daemon counts a change of it to the same group.
        let health = Health { within: Span::ZERO, ..spec.health.clone() };
        serde_json::json!({ "process": spec.process.without_places(), "health": health, "artifactDir": unnamed, "group": spec.group })
    };
    let mut differences = Vec::new();
    compare("", &parts(old), &parts(new), &mut differences);
    require(differences.is_empty(), || {
        format!(
            "the group {} is there with another {}: a group's spec never changes; make another group",
            old.key,
            differences.join(", ")
        )
    })
}

/// Collects the paths at which two values differ. Values are not shown: they may be secrets.
fn compare(path: &str, old: &Value, new: &Value, differences: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(
                    &inner,
                    old.get(key).unwrap_or(&Value::Null),
                    new.get(key).unwrap_or(&Value::Null),
                    differences,
                );
            }
        }
        _ if old == new => {}
        _ => differences.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put() -> PutGroup {
        serde_json::from_value(serde_json::json!({
            "version": 1, "epoch": 1, "replicas": 1,
            "spec": {
                "key": "a/b/c/g", "group": "g",
                "markers": { "installation": "i", "unit": "a/b/c", "rendered": "r1:0", "version": "1" },
                "process": { "command": ["x", "{{ port }}"], "env": { "A": "secret" } },
                "health": {
                    "within": "1m",
                    "readiness": {
                        "check": { "http": { "path": "/healthz" } }, "interval": "1s", "timeout": "1s",
                        "healthyAfter": 1, "unhealthyAfter": 1
                    }
                }
            }
        }))
        .unwrap()
    }

    #[test]
    fn a_sound_request_passes() {
        assert_eq!(group("a/b/c/g", &put()), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Spoil = fn(&mut PutGroup);
        let cases: [(Spoil, &str); 9] = [
            (|put| put.spec.key = "other".into(), "send one key"),
            (|put| put.replicas = 1001, "1001 replicas"),
            (|put| put.spec.process.command.clear(), "process.command is empty"),
            (|put| put.spec.process.command.push("\0".into()), "holds a NUL"),
            (|put| put.spec.process.port = false, "asks for {{ port }}"),
            (|put| put.spec.process.stop.signal = "KILL".into(), "use TERM"),
            (|put| drop(put.spec.process.env.insert("A=B".into(), "hidden".into())), "\"A=B\""),
            (|put| put.spec.health.readiness.as_mut().unwrap().interval = Span::ZERO, "readiness.interval"),
            (
                |put| put.spec.health.readiness.as_mut().unwrap().check = Check::Http { path: "x".into() },
                "begins with `/`",
            ),
        ];
        for (spoil, words) in cases {
            let mut put = put();
            spoil(&mut put);
            let message = group("a/b/c/g", &put).unwrap_err().to_string();
            assert!(message.contains(words) && !message.contains("hidden"), "{message}");
        }
        assert_eq!(group("a/b/c/g", &PutGroup { version: 2, ..put() }), Err(Refusal::Version(2)));
    }

    #[test]
    fn a_difference_is_named_and_values_are_not_shown() {
        let old = put().spec;
        let mut new = old.clone();
        new.markers.version = "2".into();
        new.health.within = Span::from_secs(5);
        assert_eq!(same(&old, &new), Ok(()));
        new.process.env.insert("A".into(), "changed".into());
        new.health.min_ready = Span::from_secs(5);
        let message = same(&old, &new).unwrap_err().to_string();
        assert!(message.contains("another health.minReady, process.env.A:"), "{message}");
        assert!(!message.contains("changed") && !message.contains("secret"), "{message}");
    }
}
