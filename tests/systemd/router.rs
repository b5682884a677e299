//! The router under systemd: reloaded, restarted, killed and rebooted without the daemon.

use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::domain::span::Span;
use trimtab::protocol::router::{Backend, Endpoint, PutRoute, RouteConfig, RouteStatus};
use trimtab::protocol::{Markers, VERSION};

use super::client::Client;
use super::machine::Machine;
use crate::support::{PATIENCE, eventually};

const KEY: &str = "/v1/routes/hello%2Fstaging%2Fdefault";

fn route() -> PutRoute {
    let backend = |group: &str, weight, port: u16| Backend {
        group: group.into(),
        weight,
        endpoints: vec![Endpoint { id: format!("{group}-0"), address: ([127, 0, 0, 1], port).into() }],
        testers: false,
    };
    let route = RouteConfig {
        key: "hello/staging/default".into(),
        markers: Markers {
            installation: "default".into(),
            unit: "hello/staging/default".parse().unwrap(),
            rendered: Digest::of("r1", &"bed"),
            version: "2".into(),
        },
        // A port below 1024: the one capability that the unit grants.
        listen: ([127, 0, 0, 1], 80).into(),
        host: None,
        path: "/".into(),
        backends: vec![backend("old", 90, 9001), backend("new", 10, 9002)],
        hold: None,
        sticky: None,
        probe: None,
        drain: Span::from_secs(5),
        timeout: Span::from_secs(5),
        tls: None,
        upstream: Default::default(),
        testers: Vec::new(),
    };
    PutRoute { version: VERSION, epoch: Epoch(3), route }
}

/// Two versions, each kept by a unit of its own.
fn start_apps(machine: &Machine) {
    for (version, port) in [(1, 9001), (2, 9002)] {
        machine.must(&format!(
            "systemd-run --quiet --unit tt-app{version} /opt/trimtab/trimtab demo-app --port {port} --version {version}"
        ));
        machine.until("the app listens", &format!("curl -sf -o /dev/null http://127.0.0.1:{port}/"));
    }
}

fn weights(machine: &Machine) -> Vec<u32> {
    let text = eventually(PATIENCE, "the router answers", || machine.ask("router", "GET", KEY, ""));
    let status: RouteStatus = serde_json::from_str(&text).unwrap();
    status.route.backends.iter().map(|backend| backend.weight).collect()
}

#[test]
fn serves_on_through_reload_restart_kill_and_reboot() {
    let Some(machine) = Machine::take() else { return };
    machine.must("systemctl enable --now trimtab-router");
    start_apps(&machine);
    let body = serde_json::to_string(&route()).unwrap();
    machine.ask("router", "PUT", KEY, &body).unwrap();
    assert_eq!(weights(&machine), [90, 10]);

    // A reload replaces the binary, a restart waits for what is in flight: neither costs a request.
    for verb in ["reload", "restart"] {
        let client = Client::start(&machine);
        let before = machine.main_pid("trimtab-router");
        machine.upgrade();
        machine.must(&format!("systemctl {verb} trimtab-router"));
        machine
            .until("another process serves", &format!("[ $(systemctl show -P MainPID trimtab-router) != {before} ]"));
        assert_eq!(weights(&machine), [90, 10]);
        assert_eq!(client.failures(), "", "after {verb}\n{}", machine.journal());
    }

    // A kill cuts what is in flight, at most one request of this client; nothing is refused.
    let client = Client::start(&machine);
    let before = machine.main_pid("trimtab-router");
    machine.must("systemctl kill -s KILL trimtab-router");
    machine.until("another process serves", &format!("[ $(systemctl show -P MainPID trimtab-router) != {before} ]"));
    assert_eq!(weights(&machine), [90, 10]);
    let lost = client.failures();
    assert!(lost.lines().count() <= 1 && !lost.contains("refused"), "{lost}\n{}", machine.journal());

    // Stopped is stopped, for as long as somebody wants it so; started again it is as it was.
    machine.must(
        "systemctl stop trimtab-router; ! curl -s -o /dev/null http://127.0.0.1/; systemctl start trimtab-router",
    );
    assert_eq!(weights(&machine), [90, 10]);

    machine.power_cycle();
    machine.must("systemctl is-active --quiet trimtab-router");
    assert_eq!(weights(&machine), [90, 10]);
    start_apps(&machine);
    machine.until("it serves after the reboot", "curl -sf -o /dev/null http://127.0.0.1/");

    let stale = PutRoute { epoch: Epoch(2), ..route() };
    let refused = machine.ask("router", "PUT", KEY, &serde_json::to_string(&stale).unwrap());
    assert!(refused.unwrap_err().contains("staleEpoch"), "the highest epoch outlives a reboot");
}
