//! The access log: a line for each request that has an answer, written by a thread of its own. A request hands its line
//! over without waiting: a disk that is slow or full costs lines, which are counted, and never a request.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::logfile::LogFile;
pub use super::logfile::Settings as AccessLog;

/// Lines that may wait to be written; a line has at most some 7 KiB, so all of them at most some 60 MiB.
const WAITING: usize = 8_192;
/// How much is gathered at most before it is written.
const BATCH: usize = 64 * 1024;
/// The longest text of a client's that a line holds, in bytes before it is escaped.
const MAX_TEXT: usize = 1_024;
/// How often is looked whether there is room again, where the last word must be handed over.
const LOOK: Duration = Duration::from_millis(5);

/// The end of the log that requests see. Nothing but a look where there is no log.
#[derive(Debug, Default)]
pub struct Access {
    sender: OnceLock<SyncSender<Word>>,
    marks: Arc<Marks>,
}

/// What both ends share.
#[derive(Debug, Default)]
struct Marks {
    reopen: AtomicBool,
    lost: AtomicU64,
}

/// What the writer is told.
#[derive(Debug)]
enum Word {
    /// A line to write.
    Line(String),
    /// Something was asked for; nothing to write.
    Look,
    /// Nothing follows that must be waited for.
    Last(SyncSender<()>),
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
    /// Begins to write. A second call changes nothing.
    ///
    /// # Errors
    /// The file can't be opened, or no thread can be started.
    pub fn open(&self, log: &AccessLog) -> io::Result<()> {
        let mut file = LogFile::open(log)?;
        let (sender, words) = sync_channel(WAITING);
        let marks = self.marks.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(&mut file, &words, &marks))?;
        // The thread of a second one ends with its sender.
        let _ = self.sender.set(sender);
        Ok(())
    }

    /// Whether lines are wanted.
    pub fn is_on(&self) -> bool {
        self.sender.get().is_some()
    }

    /// Opens the file anew before the next line: it was moved away.
    pub fn reopen(&self) {
        self.marks.reopen.store(true, Relaxed);
        if let Some(sender) = self.sender.get() {
            // Where there is no room the writer is awake, and sees the mark.
            let _ = sender.try_send(Word::Look);
        }
    }

    /// Lines that were not written.
    pub fn lost(&self) -> u64 {
        self.marks.lost.load(Relaxed)
    }

    /// Adds a line, unless too many wait.
    pub fn add(&self, line: &Line<'_>) {
        let Some(sender) = self.sender.get() else { return };
        if sender.try_send(Word::Line(text(line))).is_err() {
            self.marks.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until everything added so far is written, for at most this long. It blocks the thread.
    pub fn finish(&self, limit: Duration) {
        let Some(sender) = self.sender.get() else { return };
        let until = Instant::now() + limit;
        let (done, written) = sync_channel(1);
        let mut word = Word::Last(done);
        while let Err(TrySendError::Full(back)) = sender.try_send(word) {
            if Instant::now() >= until {
                return;
            }
            word = back;
            std::thread::sleep(LOOK);
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// A line as JSON, so that nothing a client sends can begin another.
fn text(line: &Line<'_>) -> String {
    #[derive(Serialize)]
    struct Record<'a> {
        time: jiff::Timestamp,
        client: &'a str,
        method: &'a str,
        host: &'a str,
        path: &'a str,
        protocol: &'a str,
        status: u16,
        millis: f64,
        group: Option<&'a str>,
    }
    let micros = u32::try_from(line.took.as_micros()).unwrap_or(u32::MAX);
    let record = Record {
        time: crate::clock::now(),
        client: line.client,
        method: cut(line.method),
        host: cut(line.host),
        path: cut(line.path),
        protocol: line.protocol,
        status: line.status,
        millis: f64::from(micros) / 1_000.0,
        group: line.group,
    };
    // A record of texts and numbers can always be written.
    let mut text = serde_json::to_string(&record).unwrap_or_default();
    text.push('\n');
    text
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// Writes until nobody sends any more. What has come in meanwhile is written at once, so that a busy log costs few calls.
fn write(file: &mut LogFile, words: &Receiver<Word>, marks: &Marks) {
    let mut failing = false;
    while let Ok(first) = words.recv() {
        let (mut batch, mut lines, mut last) = (String::new(), 0, None);
        let mut next = Some(first);
        while let Some(word) = next {
            match word {
                Word::Line(line) => {
                    batch.push_str(&line);
                    lines += 1;
                }
                Word::Look => {}
                Word::Last(done) => last = Some(done),
            }
            next = if batch.len() < BATCH { words.try_recv().ok() } else { None };
        }
        let reopened = if marks.reopen.swap(false, Relaxed) { file.reopen() } else { Ok(()) };
        let written = reopened.and_then(|()| if batch.is_empty() { Ok(()) } else { file.write(batch.as_bytes()) });
        if written.is_err() {
            marks.lost.fetch_add(lines, Relaxed);
        }
        failing = tell(file, &written, failing);
        if let Some(done) = last {
            // Who asked may have stopped to wait.
            let _ = done.try_send(());
        }
    }
}

/// Says once that lines are lost, and once that they are not any more.
fn tell(file: &LogFile, written: &io::Result<()>, failing: bool) -> bool {
    let path = file.path().display();
    match written {
        Err(error) if !failing => {
            tracing::error!(%error, %path, "the access log can't be written: its lines are lost until it can");
        }
        Ok(()) if failing => tracing::info!(%path, "the access log is written again"),
        _ => {}
    }
    written.is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            client: "127.0.0.1",
            method: "GET",
            host: "a\"\n",
            path,
            status: 200,
            took: Duration::from_micros(1_500),
            protocol: "HTTP/1.1",
            group: None,
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_a_client_sends() {
        let text = text(&line("/\u{7}\r\n"));
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["millis"].as_f64(), value["host"].as_str()), (Some(1.5), Some("a\"\n")));
        assert!(super::text(&line(&"é".repeat(100_000))).len() < 7 * MAX_TEXT);
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_lines_and_never_waits() {
        // Opened for reading and writing, nobody reads: it takes some, and then blocks whoever writes.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let access = Access::default();
        access.open(&AccessLog { path, size: u64::MAX }).unwrap();
        let (all, path) = (WAITING as u64 + 5_000, "x".repeat(MAX_TEXT));
        for _ in 0..all {
            access.add(&line(&path));
        }
        assert!(access.lost() > 0 && access.lost() < all, "{}", access.lost());
        access.finish(Duration::from_millis(20));
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let access = Access::default();
        access.open(&AccessLog { path: "/dev/full".into(), size: u64::MAX }).unwrap();
        (0..100).for_each(|_| access.add(&line("/")));
        access.finish(Duration::from_secs(60));
        assert_eq!(access.lost(), 100);
    }
}
