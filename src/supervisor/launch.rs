//! One start of one program, seen from the supervisor: begun, found again after a restart, waited for, and concluded.
//!
//! Flow: the launch is written, the shim started; the shim records itself, the program, and the program's end. A
//! supervisor that finds the folder later decides by the lock: held means that the shim lives, free means that it is
//! gone for good. In the second case the holder of the lock writes the exit record if there is none, after which a
//! shim that comes late does not start anything any more.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::libc;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::cgroup::hierarchy::Hierarchies;
use super::secrets::deliver::Handed;
use super::shim::records::{AppRecord, ExitRecord, LOCK, Launch, ShimRecord, StopRequest};
use super::store::{self, Lock, StoreError};
use super::sys::{self, Preparation};
use super::{process, remains};
use crate::clock;
use crate::domain::span::Span;
use crate::protocol::supervisor::ExitHow;

/// What the shim itself had to say.
const SHIM_WORDS: &str = "shim.err";
/// Between looks at a shim that cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A start whose shim lives, or lived a moment ago.
#[derive(Debug)]
pub struct Attempt {
    dir: PathBuf,
    /// The shim, when this supervisor started it.
    child: Option<Child>,
}

impl Attempt {
    /// Writes the launch and starts its shim, which gets what is in no file through a pipe. Returns when the program has begun, or when it is clear that it will not.
    pub async fn begin(
        dir: &Path,
        launch: &Launch,
        handed: &Handed,
        hierarchies: &Hierarchies,
    ) -> Result<Attempt, StoreError> {
        let (folder, record) = (dir.to_owned(), launch.clone());
        let words = blocking(move || {
            store::create_dir(&folder)?;
            store::write(&folder, &record)?;
            let words = folder.join(SHIM_WORDS);
            File::create(&words).map_err(StoreError::io(&words, "written"))
        })
        .await?;
        // The very file that runs now, even when another version has been installed in its place.
        let mut plain = std::process::Command::new("/proc/self/exe");
        std::os::unix::process::CommandExt::arg0(&mut plain, "trimtab");
        plain.arg("shim").arg(dir).env_clear().current_dir("/");
        let stdin = if launch.secrets { Stdio::piped() } else { Stdio::null() };
        plain.stdin(stdin).stdout(Stdio::piped()).stderr(words);
        let shelter = hierarchies.shelter().filter_map(|file| CString::new(file.into_os_string().into_vec()).ok());
        sys::before_exec(&mut plain, Preparation { join: shelter.collect(), ..Preparation::default() });
        let mut child = Command::from(plain).spawn().map_err(StoreError::io(dir, "given a shim"))?;
        if let Some(mut stdin) = child.stdin.take() {
            let text = serde_json::to_vec(handed).map(Zeroizing::new);
            let text = text.map_err(|error| StoreError::io(dir, "given its secrets")(error.into()))?;
            // A shim that leaves before it has read says why by itself.
            let _ = stdin.write_all(&text).await;
        }
        if let Some(mut stdout) = child.stdout.take() {
            // The shim closes it when the program has begun, or when it leaves.
            let _ = stdout.read_to_end(&mut Vec::new()).await;
        }
        Ok(Attempt { dir: dir.to_owned(), child: Some(child) })
    }

    /// Finds a start of an earlier supervisor; `None` when its shim is gone, so that it is to be concluded.
    pub fn find(dir: &Path) -> Result<Option<Attempt>, StoreError> {
        if !dir.exists() || Lock::take(&dir.join(LOCK))?.is_some() {
            return Ok(None);
        }
        Ok(Some(Attempt { dir: dir.to_owned(), child: None }))
    }

    /// The program, once it is recorded.
    pub fn app(&self) -> Option<AppRecord> {
        store::read(&self.dir).ok().flatten()
    }

    /// What was to be started.
    pub fn launch(&self) -> Result<Option<Launch>, StoreError> {
        store::read(&self.dir)
    }

    /// The stop that was asked for, if one was.
    pub fn stopping(&self) -> Option<StopRequest> {
        store::read(&self.dir).ok().flatten()
    }

    /// Asks the shim to stop its program. It goes on with that whatever becomes of the supervisor.
    pub fn stop(&self, request: &StopRequest) -> Result<(), StoreError> {
        store::write(&self.dir, request)?;
        self.remind()
    }

    /// Makes the shim read the stop that was asked for. Repeating it is harmless: a supervisor that finds a stop on
    /// record can't know whether the earlier one lived to send the signal.
    pub fn remind(&self) -> Result<(), StoreError> {
        // Without a record of the shim it has not looked for a stop yet, and will.
        if let Some(shim) = store::read::<ShimRecord>(&self.dir)? {
            process::signal(shim.process, libc::SIGUSR1);
        }
        Ok(())
    }

    /// Waits until the shim is gone. May be dropped and called again.
    pub async fn gone(&mut self) {
        if let Some(child) = &mut self.child
            && child.wait().await.is_ok()
        {
            return;
        }
        while let Ok(Some(_)) = Attempt::find(&self.dir) {
            match self.pidfd() {
                Some(pidfd) => drop(pidfd.readable().await),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn pidfd(&self) -> Option<AsyncFd<std::os::fd::OwnedFd>> {
        let shim = store::read::<ShimRecord>(&self.dir).ok().flatten()?;
        sys::awaitable(process::pidfd(shim.process).ok()?).ok()
    }
}

/// Finds out how a start ended whose shim is gone, makes that final, and kills what a killed shim left behind.
pub fn conclude(dir: &Path, boot: &str) -> Result<ExitRecord, StoreError> {
    store::create_dir(dir)?;
    let Some(_lock) = Lock::take_soon(&dir.join(LOCK))? else {
        return Err(StoreError::Io {
            path: dir.join(LOCK),
            what: "locked",
            source: io::Error::new(io::ErrorKind::WouldBlock, "a shim that should be gone holds it"),
        });
    };
    if let Some(exit) = store::read::<ExitRecord>(dir)? {
        return Ok(exit);
    }
    let exit = match (store::read::<Launch>(dir)?, store::read::<AppRecord>(dir)?) {
        (Some(launch), Some(app)) => ended_unseen(dir, &launch, &app, boot),
        (launch, _) => {
            // Its shim may have made them before it was gone.
            launch.iter().for_each(|launch| launch.cgroup.remove());
            never_begun(dir)
        }
    };
    store::write(dir, &exit)?;
    Ok(exit)
}

fn ended_unseen(dir: &Path, launch: &Launch, app: &AppRecord, boot: &str) -> ExitRecord {
    let rebooted = launch.boot != boot;
    let reason = if rebooted {
        "the machine restarted while it ran".to_owned()
    } else if remains::kill(launch, app) {
        format!("its shim was killed, and so was what it left behind{}", words(dir))
    } else {
        format!("its shim was killed, and a part of what it left behind withstands SIGKILL{}", words(dir))
    };
    let ran = Span::from_millis(u64::try_from(clock::now().duration_since(app.started).as_millis()).unwrap_or(0));
    ExitRecord { ran, blameless: rebooted, ..ExitRecord::ended(ExitHow::Unknown(reason)) }
}

fn never_begun(dir: &Path) -> ExitRecord {
    let words = words(dir);
    let exit = ExitRecord::not_started(format!("its shim left before it began{words}"));
    ExitRecord { blameless: words.is_empty(), ..exit }
}

fn words(dir: &Path) -> String {
    let words = fs::read_to_string(dir.join(SHIM_WORDS)).unwrap_or_default();
    let words: String = words.trim().chars().take(400).collect();
    if words.is_empty() { words } else { format!(" ({words})") }
}

/// Runs what touches the disk where it holds nobody up.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The work panicked, which has been reported; or the runtime is shutting down, and nobody waits any more.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await,
    }
}
