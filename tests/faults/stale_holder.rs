//! A daemon that stands still between the record of an effect and the effect, while another takes over and goes on to something
//! newer: when it wakes up, nothing of it is done any more.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use trimtab::api::client::Api;
use trimtab::net::client::Client;

use super::proxy::Proxy;
use crate::e2e::bed::{Bed, git};
use crate::e2e::documents::{BROKEN, UNIT, app, environment, release, web};
use crate::support::{PATIENCE, Running, eventually, eventually_async, trimtab};

/// A bed whose first daemon reaches supervisor and router through proxies; the second goes straight.
struct Two {
    bed: Bed,
    supervisor: Proxy,
    router: Proxy,
    first: Running,
}

impl Two {
    async fn new() -> Two {
        let files = [
            ("env.yaml", environment("dev")),
            ("app.yaml", app("web", "rolling")),
            ("release.yaml", release("web", "dev", "1.0.0", "")),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let mut bed = Bed::new(&files);
        bed.start_supervisor();
        bed.start_router();
        let supervisor = Proxy::new(&bed.path("s.sock"), bed.path("supervisor.sock"));
        let router = Proxy::new(&bed.path("r.sock"), bed.path("router.sock"));
        let config = std::fs::read_to_string(bed.config()).unwrap();
        let config = config.replace("daemon.sock", "first.sock").replace("'router.sock", "'r.sock");
        std::fs::write(bed.path("first.toml"), config.replace("'supervisor.sock", "'s.sock")).unwrap();
        let first = daemon(&bed, "first.toml", &[]);
        let two = Two { bed, supervisor, router, first };
        verified(&Api::new(&two.bed.path("first.sock")), "1.0.0").await;
        two
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.first.pid()).unwrap()), signal).unwrap();
    }

    /// The first daemon stands still, but not in the middle of a transaction: with the lock of one it would keep its successor from recording
    /// anything.
    fn stop_first(&self) {
        let databases = ["journal.db", "audit.db"].map(|name| self.bed.path("state/daemon").join(name));
        eventually(PATIENCE, "the first daemon stands still and holds no database", || {
            self.signal(Signal::SIGSTOP);
            eventually(PATIENCE, "all its threads stand still", || is_stopped(self.first.pid()));
            let free = databases.iter().all(|database| is_free(database));
            if !free {
                self.signal(Signal::SIGCONT);
            }
            free
        });
    }

    /// What supervisor and router hold, without what changes by itself.
    async fn outside(&self) -> (Value, Value) {
        let groups: Value = Client::new(self.bed.path("supervisor.sock")).get("/v1/groups").await.unwrap();
        let routes: Value = Client::new(self.bed.path("router.sock")).get("/v1/routes").await.unwrap();
        let groups = groups["groups"].as_array().unwrap().iter().map(|group| {
            let of = |key: &str| group["instances"].as_array().unwrap().iter().map(|one| one[key].clone()).collect();
            [group["markers"].clone(), group["replicas"].clone(), Value::Array(of("id")), Value::Array(of("pid"))]
        });
        let configs = routes.as_array().unwrap().iter().map(|route| route["route"].clone());
        (groups.flatten().collect(), configs.collect())
    }

    /// The second takes over and finishes something newer; then the first wakes up, is refused and leaves.
    async fn take_over_and_wake(&mut self, commits: usize, request: impl Fn(&Two)) {
        self.stop_first();
        let _second = daemon(&self.bed, "trimtab.toml", &["--take-over"]);
        let api = self.bed.api();
        eventually_async(PATIENCE, "the second daemon answers", async || api.daemon().await).await;
        eventually(PATIENCE, "it has pushed what it has to", || self.bed.log().len() == commits);
        self.bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
        self.bed.verified(UNIT, "1.2.0").await;
        let before = self.outside().await;
        let log = self.bed.log();

        request(self);
        self.signal(Signal::SIGCONT);
        let status = eventually(PATIENCE, "the first daemon leaves", || self.first.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(5), "it leaves because it was taken over");
        assert_eq!(self.outside().await, before, "nothing that it had begun was done");
        assert_eq!(self.bed.log(), log);
        let status = self.bed.verified(UNIT, "1.2.0").await;
        assert!(status.rollback.is_none());
    }
}

fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut states = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    // The state follows the name, which stands in parentheses.
    states.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
}

fn is_free(database: &Path) -> bool {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
}

fn daemon(bed: &Bed, config: &str, more: &[&str]) -> Running {
    let mut command = trimtab();
    command.args(["daemon", "--config"]).arg(bed.path(config)).args(more).stdin(Stdio::null());
    let log = std::fs::File::create(bed.path(&format!("{config}.log"))).unwrap();
    Running::spawn(command.stdout(log.try_clone().unwrap()).stderr(log))
}

async fn verified(api: &Api, version: &str) {
    let unit = UNIT.parse().unwrap();
    eventually_async(PATIENCE, &format!("{version} is verified"), async || {
        let status = api.unit(&unit).await.map_err(|error| error.to_string())?;
        let there = status.last_verified.as_ref().is_some_and(|verified| verified.version == version);
        if there { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_35_a_stale_change_of_a_group_is_refused() {
    let mut two = Two::new().await;
    two.supervisor.catch("PUT /v1/groups/");
    two.bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    two.supervisor.caught().await;
    two.take_over_and_wake(2, |two| two.supervisor.release()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_35_a_stale_change_of_a_route_is_refused() {
    let mut two = Two::new().await;
    two.router.catch("PUT /v1/routes/");
    two.bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    two.router.caught().await;
    two.take_over_and_wake(2, |two| two.router.release()).await;
}

/// The remote keeps the first push waiting: when it goes on, the branch is elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_35_a_stale_revert_is_not_pushed() {
    let mut two = Two::new().await;
    let hook = two.bed.repo().join("hooks/pre-receive");
    let (held, go) = (two.bed.path("held"), two.bed.path("go"));
    let script = format!(
        "#!/bin/sh\nread old new ref\ngit log -1 --format=%an $new | grep -q trimtab || exit 0\n\
         mkdir {held} 2>/dev/null || exit 0\nwhile [ ! -e {go} ]; do sleep 0.05; done\n",
        held = held.display(),
        go = go.display()
    );
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    two.bed.push("second", &[("release.yaml", &web("2.0.0", BROKEN))]);
    eventually(PATIENCE, "the revert is being pushed", || held.exists());
    let go = go.clone();
    two.take_over_and_wake(3, |_| std::fs::write(&go, "").unwrap()).await;
    let subjects = git(&two.bed.repo(), &["log", "--format=%s", "main"]);
    let reverts = subjects.lines().filter(|subject| subject.starts_with("Roll back")).count();
    assert_eq!(reverts, 1, "{subjects}");
    assert!(subjects.starts_with("third"), "{subjects}");
}
