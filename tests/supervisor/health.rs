//! Readiness decides over traffic, liveness over a restart.

use std::fs;

use trimtab::domain::span::Span;
use trimtab::domain::workload::{Check, Probe};
use trimtab::protocol::supervisor::{ExitHow, InstanceState};

use super::bed::{Bed, pids_in, until_gone};
use crate::support::{PATIENCE, alive, eventually};

fn probe(check: Check) -> Option<Probe> {
    let interval = Span::from_millis(50);
    Some(Probe { check, interval, timeout: Span::from_secs(5), healthy_after: 2, unhealthy_after: 2 })
}

fn http() -> Check {
    Check::Http { path: "/healthz".into() }
}

fn exec(script: &str) -> Check {
    Check::Exec { command: ["/bin/sh", "-c", script].map(str::to_owned).into() }
}

#[test]
fn an_http_check_makes_ready() {
    let bed = Bed::start();
    let mut spec = bed.demo_app(&["--start-delay", "300ms"]);
    spec.health.readiness = probe(http());
    bed.put(&spec, 1);
    let running = bed.until_runs(&spec);
    assert!(!running.ready || running.message.is_none());
    bed.until_first(&spec, "it is ready", |instance| instance.ready && instance.message.is_none());
}

#[test]
fn an_unready_instance_is_told_and_never_restarted() {
    let bed = Bed::start();
    let mut spec = bed.demo_app(&["--unhealthy"]);
    spec.health.readiness = probe(http());
    bed.put(&spec, 1);
    let says_why =
        |message: &Option<String>| message.as_ref().is_some_and(|text| text.contains("503 Service Unavailable"));
    let instance = bed.until_first(&spec, "it is told why", |instance| says_why(&instance.message));
    assert_eq!((instance.state, instance.ready, instance.restarts), (InstanceState::Running, false, 0));
    assert!(bed.text("/metrics").contains(r#"check_failures_total{probe="readiness"}"#));
}

#[test]
fn an_instance_that_turns_bad_is_taken_out_of_service() {
    let bed = Bed::start();
    let mut spec = bed.group("sleep 1000");
    fs::write(bed.out("well"), "").unwrap();
    spec.health.readiness = probe(exec(r#"test -e "$OUT/well" || { echo "not well" >&2; exit 4; }"#));
    bed.put(&spec, 1);
    let first = bed.until_first(&spec, "it is ready", |instance| instance.ready);
    fs::remove_file(bed.out("well")).unwrap();
    let bad = bed.until_first(&spec, "it is not ready", |instance| !instance.ready);
    let message = bad.message.unwrap();
    assert!(message.contains("exit status: 4") && message.ends_with("not well"), "{message}");
    fs::write(bed.out("well"), "").unwrap();
    let again = bed.until_first(&spec, "it is ready again", |instance| instance.ready);
    assert_eq!((again.pid, again.restarts), (first.pid, 0));
}

#[test]
fn a_tcp_check_makes_ready() {
    let bed = Bed::start();
    let mut spec = bed.demo_app(&["--unhealthy"]);
    spec.health.readiness = probe(Check::Tcp {});
    bed.put(&spec, 1);
    bed.until_first(&spec, "it is ready", |instance| instance.ready);
    // The script of this one listens nowhere.
    let mut deaf = bed.group("sleep 1000");
    deaf.key = "hello/staging/default/deaf".into();
    deaf.process.port = true;
    deaf.health.readiness = probe(Check::Tcp {});
    bed.put(&deaf, 1);
    bed.until_first(&deaf, "it is told why", |i| !i.ready && i.message.as_ref().is_some_and(|m| m.contains("refused")));
}

#[test]
fn a_failing_liveness_check_restarts_and_says_so() {
    let bed = Bed::start();
    let mut spec = bed.demo_app(&["--unhealthy-after", "500ms"]);
    spec.health.liveness = probe(http());
    bed.put(&spec, 1);
    let again = bed.until_first(&spec, "it was restarted", |instance| instance.restarts > 0);
    assert_eq!(again.last_exit.unwrap().how, ExitHow::Code(0), "it was asked to leave, and did");
    let metrics = bed.text("/metrics");
    assert!(metrics.contains(r#"check_failures_total{probe="liveness"}"#), "{metrics}");
    assert!(bed.log_text().contains("not alive"), "{}", bed.log_text());
}

#[test]
fn liveness_waits_for_a_slow_starter() {
    let bed = Bed::start();
    let mut spec = bed.demo_app(&["--start-delay", "1s"]);
    spec.health.liveness = probe(http());
    spec.health.readiness = probe(http());
    bed.put(&spec, 1);
    let instance = bed.until_first(&spec, "it is ready", |instance| instance.ready);
    assert_eq!(instance.restarts, 0, "it never answered before, so nothing was held against it");
}

#[test]
fn a_check_that_hangs_is_killed_with_all_that_it_started() {
    let bed = Bed::start();
    let mut spec = bed.group("sleep 1000");
    spec.health.readiness = probe(exec(r#"sh -c 'echo $$ >> "$OUT/pids"; sleep 1000' & echo $$ >> "$OUT/pids"; wait"#));
    if let Some(probe) = &mut spec.health.readiness {
        probe.timeout = Span::from_millis(300);
    }
    bed.put(&spec, 1);
    let pids = pids_in(&bed.out("pids"), 2);
    until_gone(&pids[..2]);
    let instance =
        bed.until_first(&spec, "it is told why", |i| i.message.as_ref().is_some_and(|m| m.contains("longer than")));
    assert!(alive(instance.pid.unwrap()));
}

#[test]
fn an_instance_counts_once_it_was_ready_long_enough() {
    let bed = Bed::start();
    let mut spec = bed.demo_app(&[]);
    spec.health.readiness = probe(http());
    spec.health.min_ready = Span::from_secs(3600);
    bed.put(&spec, 1);
    bed.until_first(&spec, "it answers", |i| {
        i.port.is_some_and(|port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    });
    let seq = bed.groups().seq;
    assert!(!bed.status(&spec).instances[0].ready);
    let mut short = bed.demo_app(&[]);
    short.key = "hello/staging/default/short".into();
    short.health.readiness = probe(http());
    short.health.min_ready = Span::from_millis(200);
    bed.put(&short, 1);
    bed.until_first(&short, "it is ready", |instance| instance.ready);
    eventually(PATIENCE, "changes are counted", || bed.groups().seq > seq);
    assert!(!bed.status(&spec).instances[0].ready, "an hour has not passed");
}
