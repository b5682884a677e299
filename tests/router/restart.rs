//! The end of a router and the next one.

use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use trimtab::domain::span::Span;
use trimtab::load::{Load, Plan};
use trimtab::protocol::router::Hold;

use super::bench::{Answer, Bench, read_until, send};
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
async fn told_to_stop_it_tells_those_who_wait_to_come_again() {
    let mut bench = Bench::start().await;
    let mut route = bench.route(&[]);
    route.hold = Some(Hold { timeout: Span::from_secs(3_600), max: 10 });
    bench.put(&route).await;
    let waiting = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    bench.until("it waits", |status| status.held == 1).await;
    // Also one that waits at a router that was taken over.
    let _before = bench.start_again().await;
    let second = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    bench.until("both wait", |status| status.held == 2).await;
    signal(bench.process.pid(), Signal::SIGTERM);
    for stream in [waiting, second] {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    assert!(bench.process.0.wait().unwrap().success());
}

#[tokio::test]
async fn a_router_that_was_taken_over_follows_its_successor() {
    let mut bench = Bench::start().await;
    let [one, two] = ["v1", "v2"].map(Upstream::start);
    let mut route = bench.route(&[("v1", 1, &[&one])]);
    bench.put(&route).await;
    // Three kinds of business that the first router keeps: a slow answer, an idle connection, a request that waits.
    let mut slow = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    one.watch.go.notify_one();
    read_until(&mut slow, "part 0\n");
    let mut idle = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    read_until(&mut idle, "hello\n");
    route.hold = Some(Hold { timeout: Span::from_secs(3_600), max: 10 });
    bench.put(&route).await;
    let mut waiting = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    bench.until("it waits", |status| status.held == 1).await;

    // Two successors, so that the word has to be passed on.
    let mut first = bench.start_again().await;
    let mut second = bench.start_again().await;
    let status = bench.status().await;
    assert_eq!((status.held, status.endpoints[0].in_flight), (1, 1), "what the first one has is known");
    let status = bench.put(&bench.route(&[("v2", 1, &[&two])])).await;
    assert_eq!(status.held, 0, "released there, too");
    assert!(read_until(&mut waiting, "hello\n").to_lowercase().contains("x-version: v2"));
    let drains = status.endpoints.iter().any(|endpoint| endpoint.draining && endpoint.in_flight == 1);
    assert!(drains, "v1 is not drained before the slow answer has ended: {:?}", status.endpoints);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let answer = read_until(&mut idle, "hello\n").to_lowercase();
    assert!(answer.contains("x-version: v2") && answer.contains("connection: close"), "{answer}");
    assert!(first.0.try_wait().unwrap().is_none() && second.0.try_wait().unwrap().is_none(), "both are needed");
    for part in ["part 1\n", "part 2\n"] {
        one.watch.go.notify_one();
        read_until(&mut slow, part);
    }
    bench.until("v1 is drained", |status| status.endpoints.len() == 1).await;
    for before in [&mut first, &mut second] {
        eventually(PATIENCE, "it leaves", || before.0.try_wait().unwrap());
    }
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
