//! All three units with a repository, in the middle of a canary: upgraded, killed, rebooted while Git is down, and a bad
//! version that the locked-up daemon takes back.

use trimtab::api::types::{UnitHealth, UnitStatus};

use super::client::Client;
use super::machine::Machine;
use crate::support::{PATIENCE, eventually};

const UNITS: [&str; 3] = ["trimtab-supervisor", "trimtab-router", "trimtab-daemon"];

/// Installs everything with a repository of one app, and waits until its first version is verified.
fn begin(machine: &Machine) {
    machine.write(
        "/etc/trimtab/trimtab.toml",
        "[source]\nurl = \"/srv/config.git\"\npoll = \"1s\"\n[api]\nmode = \"0660\"\n",
    );
    // What docs/operations.md says about a repository on this machine.
    machine.write(
        "/etc/systemd/system/trimtab-daemon.service.d/repository.conf",
        "[Service]\nReadWritePaths=-/srv/config.git\nRestrictSUIDSGID=no\n",
    );
    machine.write("/srv/work/environment.yaml", ENVIRONMENT);
    machine.write("/srv/work/hello/bin/hello", "#!/bin/sh\nexec trimtab demo-app \"$@\"\n");
    machine.must(
        "chgrp trimtab /etc/trimtab/trimtab.toml && chmod 0640 /etc/trimtab/trimtab.toml && chmod 0755 /srv/work/hello/bin/hello
         git init -q --bare --shared=group -b main /srv/config.git
         cd /srv/work; git init -q -b main; git config user.name me; git config user.email me@localhost
         git remote add origin /srv/config.git",
    );
    push(machine, "1", "");
    machine.must("chgrp -R trimtab /srv/config.git; systemctl daemon-reload");
    machine.must(&format!("systemctl enable --now {}", UNITS.join(" ")));
    wait(machine, "version 1 is verified", |status| version(status) == "1" && status.health == UnitHealth::InSync);
}

const ENVIRONMENT: &str = "apiVersion: trimtab/v1
kind: Environment
metadata: { name: staging }
spec: { platform: { host: {} }, listeners: { web: 127.0.0.1:80 } }
";

/// Commits and pushes a version, with other arguments for the app.
fn push(machine: &Machine, version: &str, arguments: &str) {
    let app = format!(
        "apiVersion: trimtab/v1
kind: App
metadata: {{ name: hello }}
spec:
  replicas: 2
  workload: {{ process: {{ artifact: hello, command: [bin/hello, --port, \"{{{{ port }}}}\"{arguments}] }} }}
  route: {{}}
  health: {{ http: {{ path: /healthz, interval: 200ms }}, within: 10s }}
  strategy: {{ canary: {{ steps: [ {{ weight: 10 }}, {{ pause: {{}} }}, {{ weight: 50 }}, {{ pause: {{}} }} ], scaleDownDelay: 1s }} }}
  rollback: {{ on: [unhealthy], window: 1s }}
"
    );
    machine.write("/srv/work/app.yaml", &app);
    let release =
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: { name: hello, environment: staging }\nspec: { version: ";
    machine.write("/srv/work/release.yaml", &format!("{release}'{version}' }}\n"));
    machine.must(&format!(
        "cd /srv/work; git pull -q --rebase origin main 2>/dev/null || true; git add -A; git commit -qm 'Version {version}'; git push -q origin main"
    ));
}

fn status(machine: &Machine) -> Result<UnitStatus, String> {
    let text = machine.ask("daemon", "GET", "/api/v1/units/hello/staging/default", "")?;
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

#[track_caller]
fn wait(machine: &Machine, what: &str, condition: impl Fn(&UnitStatus) -> bool) -> UnitStatus {
    eventually(PATIENCE, what, || {
        let status = status(machine).map_err(|error| format!("{error}\n{}", machine.journal()))?;
        if condition(&status) { Ok(status) } else { Err(format!("{status:#?}\n{}", machine.journal())) }
    })
}

fn version(status: &UnitStatus) -> &str {
    status.effective.as_ref().map_or("", |effective| effective.version.as_str())
}

/// What must stay as it is through everything: the phase, and each version's size and share of the traffic.
#[derive(Debug, PartialEq)]
struct Stand {
    phase: Option<String>,
    groups: Vec<(String, u32, u32, Option<f64>)>,
}

fn stand(status: &UnitStatus) -> Stand {
    let phases = status.rollout.as_ref().map(|rollout| rollout.phases.as_slice()).unwrap_or_default();
    let phase = phases.iter().find(|phase| phase.state == "current").map(|phase| phase.name.clone());
    let mut groups: Vec<_> =
        status.groups.iter().map(|group| (group.version.clone(), group.replicas, group.ready, group.share)).collect();
    groups.sort_by(|a, b| a.0.cmp(&b.0));
    Stand { phase, groups }
}

/// The process ids of all apps.
fn apps(machine: &Machine) -> String {
    machine.must("pgrep -f '^trimtab demo-app' | sort -n | tr '\\n' ' '")
}

#[track_caller]
fn stands(machine: &Machine, expected: &Stand, after: &str) {
    wait(machine, &format!("the same phase, sizes and shares after {after}: {expected:?}"), |status| {
        status.health == UnitHealth::Paused && stand(status) == *expected
    });
}

#[test]
fn a_paused_canary_stays_as_it_is_through_upgrade_kill_and_reboot() {
    let Some(machine) = Machine::take() else { return };
    begin(&machine);
    push(&machine, "2", "");
    let paused = wait(&machine, "the canary pauses", |status| status.health == UnitHealth::Paused);
    let expected = stand(&paused);
    let sizes: Vec<_> =
        expected.groups.iter().map(|(version, _, ready, share)| (version.as_str(), *ready, *share)).collect();
    assert_eq!(sizes, [("1", 2, Some(90.0)), ("2", 1, Some(10.0))], "{expected:?}");
    let before = apps(&machine);

    // Nothing of this costs a request, or touches an app.
    let client = Client::start(&machine);
    machine.upgrade();
    for act in [
        "systemctl restart trimtab-daemon",
        "systemctl kill -s KILL trimtab-daemon",
        "systemctl stop trimtab-daemon; systemctl start trimtab-daemon",
        "systemctl kill -s KILL trimtab-supervisor",
        "systemctl restart trimtab-supervisor",
        "systemctl reload trimtab-router",
        "systemctl restart trimtab-router",
    ] {
        machine.must(act);
        stands(&machine, &expected, act);
        assert_eq!(apps(&machine), before, "after {act}\n{}", machine.journal());
    }
    assert_eq!(client.failures(), "", "{}", machine.journal());

    // Git is down, everything is killed, and then the power fails. What serves comes back by itself, without the daemon.
    machine.must("mv /srv/config.git /srv/gone.git; systemctl disable trimtab-daemon");
    machine.must("systemctl kill -s KILL trimtab-daemon trimtab-router trimtab-supervisor");
    machine.power_cycle();
    machine.until("both versions serve again", "[ $(for i in $(seq 40); do curl -sf http://127.0.0.1/ -o /dev/null -D - | grep -i ^x-version; done | sort -u | wc -l) = 2 ]");
    machine.must("! systemctl is-active --quiet trimtab-daemon; systemctl enable --now trimtab-daemon");
    stands(&machine, &expected, "a reboot with Git down");
    machine.reboot();
    stands(&machine, &expected, "an orderly reboot with Git down");

    // Git is back: the rollout goes on from there.
    machine.must("mv /srv/gone.git /srv/config.git; systemctl restart trimtab-daemon");
    machine.must("trimtab rollout promote hello -e staging");
    wait(&machine, "the second pause", |status| {
        status.health == UnitHealth::Paused && stand(status).groups.iter().any(|group| group.3 == Some(50.0))
    });
    machine.must("trimtab rollout promote hello -e staging");
    wait(&machine, "version 2 is verified", |status| version(status) == "2" && status.health == UnitHealth::InSync);
}

#[test]
fn the_locked_up_daemon_takes_a_bad_version_back() {
    let Some(machine) = Machine::take() else { return };
    begin(&machine);

    // People of the group `trimtab` steer the daemon, and reach nothing else.
    machine.must("id op >/dev/null 2>&1 || useradd -G trimtab op; runuser -u op -- curl -sf --unix-socket /run/trimtab/daemon.sock http://localhost/healthz");
    for socket in ["router", "supervisor"] {
        machine.must(&format!(
            "! runuser -u op -- curl -sf --unix-socket /run/trimtab/{socket}.sock http://localhost/healthz"
        ));
    }

    let client = Client::start(&machine);
    push(&machine, "2", ", --unhealthy");
    wait(&machine, "the revert is recorded and adopted", |status| {
        let back = status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack");
        back && status.rollback.is_none() && version(status) == "1" && status.health == UnitHealth::InSync
    });
    assert_eq!(client.failures(), "", "{}", machine.journal());
    let log = machine.must("git -C /srv/config.git -c safe.directory='*' log -1 --format=%B main");
    for trailer in ["Rollback-Id: ", "Reverts: ", "App: hello", "Environment: staging"] {
        assert!(log.contains(trailer), "{trailer} in {log}");
    }
    assert_eq!(machine.must("git -C /srv/config.git -c safe.directory='*' rev-list --count main"), "3", "one commit");
}
