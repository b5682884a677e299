//! Carries output from pipes to files, and remembers the last of it for the record of the exit.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use super::capped::CappedLog;
use super::logs::RotatingLog;
use super::records::Output;
use crate::secrets::redact::{self, Redactor};

const CHUNK: usize = 64 << 10;
const REMEMBERED_BYTES: usize = 2048;
const REMEMBERED_LINES: usize = 3;

enum Sink {
    Log(RotatingLog),
    Capped(CappedLog),
}

struct Stream {
    reader: Option<OwnedFd>,
    sink: Sink,
    last: VecDeque<u8>,
    /// The program's secrets are replaced before anything is kept.
    redact: redact::Stream,
}

/// The streams of one program.
pub struct Pump {
    /// stdout and stderr, or both in one.
    streams: Vec<Stream>,
    writers: Option<(OwnedFd, OwnedFd)>,
}

impl Pump {
    /// Opens pipes and files. What the redactor knows is kept nowhere.
    pub fn open(output: &Output, redactor: &Redactor) -> io::Result<Pump> {
        let sinks = match output {
            Output::Logs { dir, limit } => vec![
                Sink::Log(RotatingLog::open(&dir.join("stdout.log"), *limit)?),
                Sink::Log(RotatingLog::open(&dir.join("stderr.log"), *limit)?),
            ],
            Output::Capped { file, limit } => vec![Sink::Capped(CappedLog::create(file, *limit)?)],
        };
        let mut writers = Vec::new();
        let mut streams = Vec::new();
        for sink in sinks {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            streams.push(Stream { reader: Some(reader), sink, last: VecDeque::new(), redact: redactor.stream() });
            writers.push(writer);
        }
        let stdout = writers.remove(0);
        let stderr = match writers.pop() {
            Some(stderr) => stderr,
            None => stdout.try_clone()?,
        };
        Ok(Pump { streams, writers: Some((stdout, stderr)) })
    }

    /// The ends that the program writes to as stdout and stderr. They are handed out once; whoever asks again gets
    /// the ends of pipes that nobody reads.
    pub fn take_writers(&mut self) -> (OwnedFd, OwnedFd) {
        self.writers.take().expect("the writers are taken once, right after `open` made them")
    }

    /// Waits for output, a signal or the limit, and carries what there is.
    pub fn wait(&mut self, signals: BorrowedFd<'_>, limit: Option<Duration>) -> nix::Result<()> {
        let timeout = match limit {
            // Rounded up, so that a wait never ends just before its deadline and spins.
            Some(limit) => PollTimeout::try_from(limit.as_millis() + 1).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        let mut fds = vec![PollFd::new(signals, PollFlags::POLLIN)];
        fds.extend(
            self.streams.iter().filter_map(|s| Some(PollFd::new(s.reader.as_ref()?.as_fd(), PollFlags::POLLIN))),
        );
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        for stream in &mut self.streams {
            stream.carry();
        }
        Ok(())
    }

    /// Carries what is left in the pipes, without waiting for more.
    pub fn drain(&mut self) {
        for stream in &mut self.streams {
            while stream.carry() {}
            let rest = stream.redact.finish();
            stream.write(&rest);
        }
    }

    /// The last lines of stderr, or of stdout when stderr is empty.
    pub fn last_lines(&self) -> Vec<String> {
        self.streams.iter().rev().map(Stream::last_lines).find(|lines| !lines.is_empty()).unwrap_or_default()
    }
}

impl Stream {
    /// Carries one chunk; whether there was one.
    fn carry(&mut self) -> bool {
        let Some(reader) = &self.reader else { return false };
        let mut chunk = vec![0; CHUNK];
        match nix::unistd::read(reader, &mut chunk) {
            Ok(0) => {
                self.reader = None;
                false
            }
            Ok(count) => {
                self.keep(&chunk[..count]);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            Err(_) => {
                self.reader = None;
                false
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = self.redact.push(bytes);
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.sink {
            Sink::Log(log) => log.write(bytes),
            Sink::Capped(log) => log.write(bytes),
        }
        self.last.extend(&bytes[bytes.len().saturating_sub(REMEMBERED_BYTES)..]);
        let surplus = self.last.len().saturating_sub(REMEMBERED_BYTES);
        self.last.drain(..surplus);
    }

    fn last_lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.last.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines.iter().skip(lines.len().saturating_sub(REMEMBERED_LINES)).map(|line| (*line).to_owned()).collect()
    }
}
