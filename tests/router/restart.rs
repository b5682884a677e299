//! The end of a router and the next one.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trimtab::load::{Load, Plan};

use super::bench::{Bench, read_until, send};
use super::traffic::{answers, assert_whole};
use super::upstream::{Ledger, Upstream};
use crate::support::{PATIENCE, alive, eventually, eventually_async};

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

#[tokio::test]
async fn what_was_confirmed_last_is_served_after_a_restart_and_after_a_kill() {
    let mut bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let route = bench.route(&[("v1", 3, &[&upstream])]);
    bench.put_at(9, &route).await.unwrap();
    let mut start = bench.hello().await.unwrap().start;
    for how in [Signal::SIGTERM, Signal::SIGKILL] {
        signal(bench.process.pid(), how);
        let status = bench.process.0.wait().unwrap();
        assert_eq!(status.success(), how == Signal::SIGTERM, "{status}");
        assert!(std::net::TcpStream::connect(bench.listen).is_err());
        bench.start_again().await;
        assert_eq!(bench.get("/").await.status, 200, "served without being told again");
        assert_eq!(bench.status().await.route, route);
        let hello = bench.hello().await.unwrap();
        assert_eq!(hello.epoch.0, 9);
        assert_ne!(hello.start, start, "counters began anew, and this says so");
        start = hello.start;
    }
}

#[tokio::test]
async fn told_to_stop_it_ends_what_is_in_flight() {
    let mut bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let mut idle = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    read_until(&mut idle, "hello\n");
    let mut stream = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\n\r\n");
    upstream.watch.go.notify_one();
    read_until(&mut stream, "part 0\n");
    signal(bench.process.pid(), Signal::SIGTERM);
    eventually(PATIENCE, "it accepts no more", || std::net::TcpStream::connect(bench.listen).is_err());
    for part in ["part 1\n", "part 2\n"] {
        upstream.watch.go.notify_one();
        read_until(&mut stream, part);
    }
    read_until(&mut stream, "0\r\n\r\n");
    assert!(bench.process.0.wait().unwrap().success());
}

#[tokio::test]
async fn what_does_not_end_is_cut_after_the_limit() {
    let mut bench = Bench::start_with(&["--drain", "100ms"]).await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let _hanging = send(bench.listen, b"GET /hang HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually_async(PATIENCE, "it hangs", || async { upstream.serving() == 1 }).await;
    signal(bench.process.pid(), Signal::SIGTERM);
    assert!(bench.process.0.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_takes_over_under_load_and_nothing_is_lost() {
    let ledger = Ledger::default();
    let mut bench = Bench::start().await;
    let upstream = Upstream::with_ledger("v1", &ledger);
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let mut slow = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    upstream.watch.go.notify_one();
    read_until(&mut slow, "part 0\n");
    let load = Load::start(Plan::new(bench.listen, "test", 300.0));
    answers(&load, 100).await;
    for round in 0..3 {
        let mut before = bench.start_again().await;
        answers(&load, 150).await;
        if round == 0 {
            assert!(before.0.try_wait().unwrap().is_none(), "it still has the slow body");
            for part in ["part 1\n", "part 2\n"] {
                upstream.watch.go.notify_one();
                read_until(&mut slow, part);
            }
            read_until(&mut slow, "0\r\n\r\n");
        }
        eventually(PATIENCE, "the old one leaves", || before.0.try_wait().unwrap());
    }
    // The one in charge takes changes.
    bench.put_at(2, &bench.route(&[("v1", 2, &[&upstream])])).await.unwrap();
    assert_whole(&load.stop().await, &ledger);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_replaces_the_process_under_load() {
    let ledger = Ledger::default();
    let mut bench = Bench::start().await;
    let upstream = Upstream::with_ledger("v1", &ledger);
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let load = Load::start(Plan::new(bench.listen, "test", 200.0));
    answers(&load, 50).await;
    let before = bench.process.pid();
    signal(before, Signal::SIGHUP);
    let successor = || async {
        let pid = bench.hello().await.map_err(|error| error.to_string())?.pid;
        if pid == before { Err("the old one answers".to_owned()) } else { Ok(pid) }
    };
    let successor = eventually_async(PATIENCE, "a successor answers", successor).await;
    answers(&load, 100).await;
    eventually(PATIENCE, "the old one leaves", || bench.process.0.try_wait().unwrap());
    assert_whole(&load.stop().await, &ledger);
    signal(successor, Signal::SIGTERM);
    eventually(PATIENCE, "the successor leaves", || !alive(successor));
}

#[tokio::test]
async fn a_successor_that_can_not_start_leaves_the_old_one_in_charge() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    // It gets the sockets, and dies of the state.
    let good = std::fs::read(bench.state_file()).unwrap();
    std::fs::write(bench.state_file(), b"damaged").unwrap();
    let failed = bench.command().status().unwrap();
    assert!(!failed.success());
    std::fs::write(bench.state_file(), good).unwrap();
    assert_eq!(bench.get("/").await.status, 200);
    assert_eq!(bench.hello().await.unwrap().pid, bench.process.pid());
    bench.put_at(2, &bench.route(&[("v1", 2, &[&upstream])])).await.expect("it still takes changes");
    let log = std::fs::read_to_string(bench.dir.path().join("log")).unwrap();
    assert!(log.contains("is damaged") && log.contains("this router goes on"), "{log}");
}

#[tokio::test]
async fn an_address_that_is_taken_at_the_start_is_served_once_it_is_free() {
    let mut bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    bench.process.kill();
    let squatter = std::net::TcpListener::bind(bench.listen).unwrap();
    bench.start_again().await;
    let limitations = bench.hello().await.unwrap().limitations;
    assert!(limitations.iter().any(|text| text.contains(&bench.listen.to_string())), "{limitations:?}");
    drop(squatter);
    eventually_async(PATIENCE, "it is served", || async {
        std::net::TcpStream::connect(bench.listen).map(drop).map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(bench.get("/").await.status, 200);
    assert!(bench.hello().await.unwrap().limitations.is_empty());
}
