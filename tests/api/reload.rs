//! The configuration read again.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::bed::{READER, daemon};
use crate::support::{PATIENCE, eventually_async, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_takes_new_tokens_and_a_bad_file_changes_nothing() {
    let served = daemon("").await;
    let hangup = || kill(Pid::from_raw(served.bed.daemon_pid() as i32), Signal::SIGHUP).unwrap();
    let status =
        async |token: &str| served.get("/api/v1/daemon").bearer_auth(token).send().await.unwrap().status().as_u16();
    assert_eq!(status(READER).await, 200);
    let other = "another-token-0123456789";
    std::fs::write(served.bed.path("reader"), other).unwrap();
    hangup();
    eventually_async(PATIENCE, "the new token is good", async || status(other).await == 200).await;
    assert_eq!(status(READER).await, 401, "and the old one is not");

    let good = read(served.bed.config()).unwrap();
    std::fs::write(served.bed.config(), format!("{good}\n[source\n")).unwrap();
    hangup();
    let error = async || served.bed.api().daemon().await.ok()?.config_error;
    let told = eventually_async(PATIENCE, "the bad file is told", error).await;
    assert!(told.contains("stays in force"), "{told}");
    assert_eq!(status(other).await, 200);

    std::fs::write(served.bed.config(), good.replace("installation = 'e2e'", "installation = 'other'")).unwrap();
    hangup();
    eventually_async(PATIENCE, "what takes a restart is told", async || {
        error().await.is_some_and(|told| told.contains("installation changed"))
    })
    .await;
    // One part that can't be taken keeps all others from being taken.
    std::fs::remove_file(served.bed.path("reader")).unwrap();
    std::fs::write(served.bed.config(), format!("{good}\n[log]\nlevel = 'trimtab=debug'\n")).unwrap();
    hangup();
    eventually_async(PATIENCE, "the missing token is told", async || {
        error().await.is_some_and(|told| told.contains("reader"))
    })
    .await;
    assert_eq!(status(other).await, 200, "the token is known still");
    std::fs::write(served.bed.path("reader"), other).unwrap();
    hangup();
    eventually_async(PATIENCE, "the level of the log is taken", async || {
        let log = read(served.bed.path("daemon.log")).unwrap();
        log.lines().any(|line| line.contains("read again") && line.contains("[log] level"))
    })
    .await;
    std::fs::write(served.bed.config(), good).unwrap();
    hangup();
    eventually_async(PATIENCE, "all is well again", async || error().await.is_none()).await;
    assert_eq!(status(other).await, 200);
}
