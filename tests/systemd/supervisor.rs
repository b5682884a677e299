//! The supervisor under systemd: whatever becomes of its unit, shims and apps go on, and they inherit nothing of it.

use std::collections::BTreeMap;

use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::domain::span::Span;
use trimtab::domain::workload::{Check, Health, Limits, Probe, ProcessSpec, Stop};
use trimtab::protocol::supervisor::{GroupSpec, GroupStatus, InstanceState, PutGroup};
use trimtab::protocol::{Markers, VERSION};

use super::machine::Machine;
use crate::support::{PATIENCE, eventually};

const KEY: &str = "/v1/groups/hello%2Fstaging%2Fdefault%2Fg1";

fn group() -> PutGroup {
    let command = "/opt/trimtab/trimtab demo-app --port {{port}}";
    let probe = Probe {
        check: Check::Http { path: "/healthz".into() },
        interval: Span::from_millis(200),
        timeout: Span::from_secs(2),
        healthy_after: 1,
        unhealthy_after: 3,
    };
    let spec = GroupSpec {
        key: "hello/staging/default/g1".into(),
        group: "g1".into(),
        markers: Markers {
            installation: "default".into(),
            unit: "hello/staging/default".parse().unwrap(),
            rendered: Digest::of("r1", &"bed"),
            version: "1".into(),
        },
        process: ProcessSpec {
            secrets: Default::default(),
            artifact: None,
            command: command.split(' ').map(str::to_owned).collect(),
            env: BTreeMap::new(),
            user: None,
            limits: Limits { memory: Some(256 << 20), cpu_millis: None, pids: Some(100) },
            stop: Stop::default(),
            port: true,
            log_limit: None,
        },
        artifact_dir: None,
        health: Health { readiness: Some(probe), liveness: None, within: Span::from_secs(60), min_ready: Span::ZERO },
    };
    PutGroup { version: VERSION, epoch: Epoch(1), spec, replicas: 2, secrets: Default::default() }
}

/// The processes of the two instances, once both are ready.
fn ready(machine: &Machine) -> Vec<u32> {
    eventually(PATIENCE, "two instances are ready", || {
        let text = machine.ask("supervisor", "GET", KEY, "")?;
        let status: GroupStatus = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let ready = status.instances.iter().filter(|one| one.ready && one.state == InstanceState::Running);
        let pids: Vec<u32> = ready.filter_map(|one| one.pid).collect();
        if pids.len() == 2 { Ok(pids) } else { Err(format!("{text}\n{}", machine.journal())) }
    })
}

#[test]
fn apps_outlive_every_end_of_the_unit_and_come_back_after_a_reboot() {
    let Some(machine) = Machine::take() else { return };
    machine.must("systemctl enable --now trimtab-supervisor");
    machine.ask("supervisor", "PUT", KEY, &serde_json::to_string(&group()).unwrap()).unwrap();
    let pids = ready(&machine);

    for end in [
        "systemctl restart trimtab-supervisor",
        "systemctl stop trimtab-supervisor; systemctl start trimtab-supervisor",
        "systemctl kill -s KILL trimtab-supervisor",
        "/opt/trimtab/install /opt/trimtab/trimtab; systemctl restart trimtab-supervisor",
    ] {
        let before = machine.main_pid("trimtab-supervisor");
        machine.must(end);
        machine
            .until("another supervisor", &format!("[ $(systemctl show -P MainPID trimtab-supervisor) != {before} ]"));
        assert_eq!(ready(&machine), pids, "after {end}\n{}", machine.journal());
    }

    inherit_nothing(&machine, pids[0]);

    for cycle in [Machine::power_cycle, Machine::reboot] {
        cycle(&machine);
        ready(&machine);
    }
    machine.ask("supervisor", "DELETE", &format!("{KEY}?epoch=1"), "").unwrap();
    machine.until("both have ended", "! pgrep -f '[d]emo-app'");
}

/// An app runs in the machine's own namespaces, as a user without privileges, without the unit's environment.
fn inherit_nothing(machine: &Machine, pid: u32) {
    for space in ["mnt", "net", "user", "pid"] {
        let same = format!("[ $(readlink /proc/{pid}/ns/{space}) = $(readlink /proc/1/ns/{space}) ]");
        machine.must(&same);
    }
    assert_eq!(machine.must(&format!("stat -c %U /proc/{pid}")), "trimtab-app");
    let status = machine.must(&format!("cat /proc/{pid}/status"));
    for line in ["Seccomp:\t0", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let environment = machine.must(&format!("tr '\\0' '\\n' < /proc/{pid}/environ"));
    assert!(environment.contains("TRIMTAB_UNIT=hello/staging/default"), "{environment}");
    for name in ["NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDS"] {
        assert!(!environment.contains(name), "{environment}");
    }
}
