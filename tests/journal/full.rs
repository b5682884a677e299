//! A disk that is full.

use std::process::Command;

use trimtab::ports::journal::{Journal, JournalError};

use super::{append, at, event, open};

struct Mounted(tempfile::TempDir);

impl Mounted {
    /// A small file system of its own; `None` where this machine does not let us mount one.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=600k", "trimtab-test"];
        let status = Command::new("mount").args(options).arg(folder.path()).status();
        status.is_ok_and(|status| status.success()).then_some(Mounted(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_is_forgotten_once_there_is_room() {
    let Some(disk) = Mounted::new() else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let journal = open(&disk.0.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let ballast = disk.0.path().join("ballast");
    append(&journal, "a", 0, epoch).await.unwrap();
    // The last bytes go too: a write that does not fit in whole is cut short by the kernel.
    let _ = std::fs::write(&ballast, vec![1; 1 << 20]);

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

    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(append(&journal, "a", count, epoch).await.unwrap(), count + 1);
    assert_eq!(journal.verify().await.unwrap(), count + 1);
}
