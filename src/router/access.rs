//! The access log: a line for each request that has an answer, written by a thread of its own. A disk that is slow or full
//! costs lines, which are counted, and never a request.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Lines that may wait to be written.
const WAITING: usize = 8_192;
/// How many full files are kept beside the one that is written.
const KEPT: u32 = 3;
/// The longest text of a client's that a line holds.
const MAX_TEXT: usize = 1_024;

/// Where the access log is written, and how large each of its files may be.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The file; full ones are renamed to it with `.1` to `.3`.
    pub path: PathBuf,
    /// The largest size of one file, in bytes.
    pub size: u64,
}

/// The end of the log that requests see. Cheap where there is none.
#[derive(Debug, Default)]
pub struct Access {
    sender: RwLock<Option<SyncSender<String>>>,
    reopen: Arc<AtomicBool>,
    on: AtomicBool,
    lost: AtomicU64,
}

/// What a line tells.
#[derive(Debug)]
pub struct Line<'a> {
    /// Who asked.
    pub client: &'a str,
    /// How.
    pub method: &'a str,
    /// Which host.
    pub host: &'a str,
    /// What, without the query, which may hold secrets.
    pub path: &'a str,
    /// The answer's status.
    pub status: u16,
    /// How long it took until the answer's head.
    pub took: Duration,
    /// The protocol.
    pub protocol: &'a str,
    /// The group that answered; none where the router did.
    pub group: Option<&'a str>,
}

impl Access {
    /// Begins to write.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn open(&self, log: &AccessLog) -> io::Result<()> {
        let mut file = LogFile::open(log)?;
        let (sender, lines) = sync_channel(WAITING);
        let reopen = self.reopen.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&mut file, &lines, &reopen))?;
        *self.sender.write().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.on.store(true, Relaxed);
        Ok(())
    }

    /// Whether lines are wanted.
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Opens the file anew before the next line: it was moved away.
    pub fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// Lines that were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Adds a line, unless too many wait.
    pub fn add(&self, line: &Line<'_>) {
        let sender = self.sender.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return };
        if sender.try_send(text(line)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// A line as JSON, so that nothing a client sends can begin another.
fn text(line: &Line<'_>) -> String {
    let cut = |text: &str| text.chars().take(MAX_TEXT).collect::<String>();
    let micros = u64::try_from(line.took.as_micros()).unwrap_or(u64::MAX);
    let value = serde_json::json!({
        "time": crate::clock::now().to_string(),
        "client": line.client,
        "method": cut(line.method),
        "host": cut(line.host),
        "path": cut(line.path),
        "protocol": line.protocol,
        "status": line.status,
        "millis": micros as f64 / 1_000.0,
        "group": line.group,
    });
    format!("{value}\n")
}

fn write(file: &mut LogFile, lines: &Receiver<String>, reopen: &AtomicBool) {
    while let Ok(line) = lines.recv() {
        if reopen.swap(false, Relaxed)
            && let Err(error) = file.reopen()
        {
            tracing::error!(%error, path = %file.log.path.display(), "the access log can't be opened anew");
        }
        // A disk that takes no more loses them; the next may fit again.
        let _ = file.write(line.as_bytes());
    }
}

/// A file that is turned over when it is full.
#[derive(Debug)]
struct LogFile {
    log: AccessLog,
    file: File,
    size: u64,
}

impl LogFile {
    fn open(log: &AccessLog) -> io::Result<Self> {
        let file = append(&log.path)?;
        let size = file.metadata()?.len();
        Ok(LogFile { log: log.clone(), file, size })
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = LogFile::open(&self.log)?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.size > 0 && self.size + bytes.len() as u64 > self.log.size {
            self.turn_over()?;
        }
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// The oldest goes, the others move on by one.
    fn turn_over(&mut self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            move_if_there(&numbered(&self.log.path, number), &numbered(&self.log.path, number + 1))?;
        }
        move_if_there(&self.log.path, &numbered(&self.log.path, 1))?;
        self.reopen()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_stay_within_their_bound_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = AccessLog { path: dir.path().join("access.log"), size: 100 };
        let mut file = LogFile::open(&log).unwrap();
        for number in 0..100 {
            file.write(format!("line {number:02} of forty bytes, more or less\n").as_bytes()).unwrap();
        }
        let mut sizes: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        sizes.sort_unstable();
        assert_eq!(sizes.len(), 4);
        assert!(sizes.iter().all(|size| (1..=100).contains(size)), "{sizes:?}");
        assert!(fs::read_to_string(&log.path).unwrap().contains("line 99"));
        // What was moved away by others is left to them.
        fs::rename(&log.path, dir.path().join("away")).unwrap();
        file.reopen().unwrap();
        file.write(b"anew\n").unwrap();
        assert_eq!(fs::read_to_string(&log.path).unwrap(), "anew\n");
    }

    #[test]
    fn a_line_is_one_line_whatever_a_client_sends() {
        let line = Line {
            client: "127.0.0.1",
            method: "GET",
            host: "a\"\n",
            path: "/\u{7}\r\n",
            status: 200,
            took: Duration::from_micros(1_500),
            protocol: "HTTP/1.1",
            group: None,
        };
        let text = text(&line);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["millis"].as_f64(), value["host"].as_str()), (Some(1.5), Some("a\"\n")));
    }
}
