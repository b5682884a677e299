//! What becomes of the journal, and of a daemon whose journal fails.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;
use trimtab::api::types::{UnitCommand, UnitHealth};
use trimtab::domain::id::UnitId;
use trimtab::ports::journal::{Journal, JournalError};

use crate::e2e::bed::Bed;
use crate::e2e::documents::{UNIT, app, bed, environment, web};
use crate::journal::damage::{fill, flip};
use crate::journal::{append, at, event, open};
use crate::support::{PATIENCE, eventually, eventually_async, read};

#[tokio::test]
async fn fault_04_a_flipped_bit_is_named_and_stops_all_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    fill(&path).await;
    flip(&path, "needle-2");

    let journal = open(&path);
    for error in [
        journal.claim("two").await.map(|_| ()).unwrap_err(),
        journal.read("hurt", 0).await.map(|_| ()).unwrap_err(),
        journal.since(0, 100).await.map(|_| ()).unwrap_err(),
        journal.verify().await.map(|_| ()).unwrap_err(),
        append(&journal, "sound", 4, trimtab::domain::id::Epoch(1)).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("restore a backup"), "{error}");
        match error {
            JournalError::Damaged { path: told, stream, seq } => {
                assert_eq!((told, stream.as_str(), seq), (path.display().to_string(), "hurt", 3));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(journal.read("sound", 0).await.unwrap().len(), 4, "what is sound stays readable");
    assert_eq!(journal.read("hurt", 3).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_04_a_daemon_does_not_act_on_a_damaged_journal_and_apps_go_on() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.kill_daemon();
    let journal = bed.path("state/daemon/journal.db");
    let connection = rusqlite::Connection::open(&journal).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    flip(&journal, "effectiveSet");
    let config = bed.config();
    let told = bed.told(&["check", "--config", config.to_str().unwrap()]);
    assert!(told.contains("restore a backup"), "{told}");
    bed.start_daemon();
    eventually(PATIENCE, "the daemon refuses and says why", || {
        let log = read(bed.path("daemon.log")).unwrap_or_default();
        if log.contains("restore a backup") { Ok(()) } else { Err(log) }
    });
    eventually(PATIENCE, "it has ended", || !crate::support::alive(bed.daemon_pid()));
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
}

/// A small file system of its own.
struct Disk {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl Disk {
    /// `None`, with the reason printed, where this machine does not let us mount one.
    fn mount(path: &Path, size: &str) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "trimtab-test"];
        let status = Command::new("mount").args(options).arg(path).status();
        if status.is_ok_and(|status| status.success()) {
            return Some(Disk { path: path.to_owned(), _folder: None });
        }
        eprintln!("skipped: no file system can be mounted here");
        None
    }

    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::mount(folder.path(), size)?;
        Some(Disk { _folder: Some(folder), path: disk.forget() })
    }

    fn forget(self) -> PathBuf {
        std::mem::ManuallyDrop::new(self).path.clone()
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Takes all room but so much; what does not fit in whole is cut short by the kernel.
    fn fill_but(&self, left: usize) {
        let stat = statvfs(&self.path).unwrap();
        let free = (stat.blocks_available() as usize).saturating_mul(stat.fragment_size() as usize);
        let more = if left == 0 { free + (1 << 20) } else { free.saturating_sub(left) };
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        let _ = file.write_all(&vec![1; more]);
    }

    fn clear(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[tokio::test]
async fn fault_05_a_full_disk_refuses_writes_and_is_forgotten_once_there_is_room() {
    let Some(disk) = Disk::new("600k") else { return };
    let journal = open(&disk.path.join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    append(&journal, "a", 0, epoch).await.unwrap();
    disk.fill_but(0);

    let mut count = 1;
    let error = loop {
        match journal.append("a", count, epoch, at(0), &vec![event(1); 50]).await {
            Ok(now) => count = now,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, JournalError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("make room"), "{error}");
    assert_eq!(journal.read("a", 0).await.unwrap().len() as u64, count, "what was acknowledged is there, and no more");

    disk.clear();
    assert_eq!(append(&journal, "a", count, epoch).await.unwrap(), count + 1);
    assert_eq!(journal.verify().await.unwrap(), count + 1);
}

/// The answer of `/healthz`: its first line and its body.
fn healthz(bed: &Bed) -> String {
    let mut stream = UnixStream::connect(bed.path("daemon.sock")).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_05_nothing_is_begun_on_a_full_disk_and_everything_goes_on_when_there_is_room() {
    let (environment, app) = (environment("dev"), app("web", "rolling"));
    let bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]);
    std::fs::create_dir_all(bed.path("state/daemon")).unwrap();
    let Some(disk) = Disk::mount(&bed.path("state/daemon"), "48m") else { return };
    let mut bed = bed.start();
    bed.verified(UNIT, "1.0.0").await;
    assert!(healthz(&bed).starts_with("HTTP/1.1 200"));

    // Nearly full: what was begun could still end, so nothing new is begun.
    disk.fill_but(6 << 20);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    let status = bed.wait(UNIT, "it is told", |status| status.health == UnitHealth::Degraded).await;
    assert!(status.message.contains("make room"), "{}", status.message);
    assert!(status.groups.iter().all(|group| group.version == "1.0.0"));
    let health = healthz(&bed);
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("make room"), "{health}");
    assert!(bed.told(&["status"]).contains("make room"));
    assert!(bed.told(&["check"]).contains("make room"));
    disk.clear();
    bed.verified(UNIT, "1.1.0").await;
    disk.fill_but(6 << 20);
    bed.kill_router();
    std::fs::remove_dir_all(bed.path("state/router")).unwrap();
    bed.start_router();
    eventually_async(PATIENCE, "what is lost is healed on the last of the room", async || {
        bed.get("web.dev.localhost").await
    })
    .await;
    disk.clear();
    bed.verified(UNIT, "1.1.0").await;

    // Full to the last byte: nothing that can't be written down is done.
    disk.fill_but(0);
    let unit: UnitId = UNIT.parse().unwrap();
    let mut error = None;
    for turn in 0..20_000 {
        let command = if turn % 2 == 0 { UnitCommand::Suspend {} } else { UnitCommand::Unsuspend {} };
        if let Err(refused) = bed.api().command(&unit, &command).await {
            error = Some(refused.to_string());
            break;
        }
    }
    let error = error.expect("everything was written to a full disk");
    assert!(error.contains("make room"), "{error}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
    disk.clear();
    if bed.unit(UNIT).await.unwrap().suspended {
        bed.api().command(&unit, &UnitCommand::Unsuspend {}).await.unwrap();
    }
    bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
    let check = bed.told(&["check"]);
    assert!(check.contains("records match their checksums") && !check.contains("make room"), "{check}");
}
