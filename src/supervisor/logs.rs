//! Reading the logs of a group: the last lines, and then those that come, as `instance stream line`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::shim::predecessor;

/// No more than this is read of a file for its last lines.
const MOST_READ: u64 = 4 << 20;
/// A longer line is handed out in parts.
const LONGEST_LINE: usize = 16 << 10;
/// No more than this is handed out of one file at a time.
const CHUNK: u64 = 256 << 10;

const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// Follows the two streams of one instance.
#[derive(Debug)]
pub struct Follower {
    instance: String,
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    name: &'static str,
    path: PathBuf,
    /// The file that is read, and how far.
    place: Option<Place>,
    /// A line whose end has not come yet.
    partial: Vec<u8>,
}

impl Follower {
    /// Begins with the last lines of each stream of the instance in a folder; returns them, too.
    pub fn begin(instance: &str, dir: &Path, tail: usize) -> (Follower, String) {
        let mut text = String::new();
        let mut streams = Vec::new();
        for name in STREAMS {
            let path = dir.join(format!("{name}.log"));
            let mut stream = Stream { name, path, place: None, partial: Vec::new() };
            for line in stream.tail(tail) {
                push_line(&mut text, instance, name, &line);
            }
            streams.push(stream);
        }
        (Follower { instance: instance.to_owned(), streams }, text)
    }

    /// The lines that came since the last call. At the `end` a line without an end is handed out as well.
    pub fn more(&mut self, end: bool) -> String {
        let mut text = String::new();
        for stream in &mut self.streams {
            let mut bytes = stream.more();
            while end && !bytes.is_empty() {
                stream.partial.append(&mut bytes);
                bytes = stream.more();
            }
            stream.partial.extend(bytes);
            while let Some(length) = line_length(&stream.partial) {
                let line: Vec<u8> = stream.partial.drain(..length).collect();
                push_line(&mut text, &self.instance, stream.name, &line);
            }
            if end && !stream.partial.is_empty() {
                push_line(&mut text, &self.instance, stream.name, &std::mem::take(&mut stream.partial));
            }
        }
        text
    }
}

/// How long the first line is, with its end; `None` when it is not all there.
fn line_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n').map(|end| end + 1);
    end.or_else(|| (bytes.len() >= LONGEST_LINE).then_some(LONGEST_LINE))
}

fn push_line(text: &mut String, instance: &str, stream: &str, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    text.push_str(&format!("{instance} {stream} {}\n", line.trim_end_matches(['\n', '\r'])));
}

impl Stream {
    /// The last lines of the file and its predecessor. What comes after them is `more`.
    fn tail(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut bytes = read_end(&predecessor(&self.path)).map(|(bytes, _)| bytes).unwrap_or_default();
        if let Ok((newest, place)) = read_end(&self.path) {
            bytes.extend(newest);
            self.place = Some(place);
        }
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.partial = bytes.split_off(complete);
        let mut last: VecDeque<Vec<u8>> = VecDeque::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if last.len() == count {
                last.pop_front();
            }
            if count > 0 {
                last.push_back(line.to_vec());
            }
        }
        last.into()
    }

    /// What came since the last time, at most [`CHUNK`] or what is left of a file that was turned over.
    fn more(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(place) = &mut self.place {
            bytes.extend(place.read(CHUNK));
            let behind = bytes.len() as u64 >= CHUNK;
            let current = std::fs::metadata(&self.path).ok().map(|metadata| metadata.ino());
            if behind || current.is_none_or(|current| current == place.inode) {
                return bytes;
            }
            // The file was turned over: nothing is added to the old one any more.
            bytes.extend(place.read(MOST_READ));
            self.place = None;
        }
        if let Ok(mut place) = Place::open(&self.path) {
            bytes.extend(place.read(CHUNK));
            self.place = Some(place);
        }
        bytes
    }
}

/// A place in a file that stays open: it can be read on when it was renamed or removed.
#[derive(Debug)]
struct Place {
    file: File,
    inode: u64,
    at: u64,
}

impl Place {
    /// The beginning of a file.
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Place { file, inode, at: 0 })
    }

    /// What follows, at most so many bytes. A file that became shorter is read anew; one that can't be read has nothing more.
    fn read(&mut self, most: u64) -> Vec<u8> {
        let size = self.file.metadata().map_or(0, |metadata| metadata.len());
        if size < self.at {
            self.at = 0;
        }
        let mut bytes = Vec::new();
        let read =
            self.file.seek(SeekFrom::Start(self.at)).and_then(|_| (&self.file).take(most).read_to_end(&mut bytes));
        if read.is_err() {
            bytes.clear();
        }
        self.at += bytes.len() as u64;
        bytes
    }
}

/// The end of a file, and the place after it.
fn read_end(path: &Path) -> io::Result<(Vec<u8>, Place)> {
    let mut place = Place::open(path)?;
    place.at = place.file.metadata()?.len().saturating_sub(MOST_READ);
    let bytes = place.read(MOST_READ);
    Ok((bytes, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::shim::RotatingLog;

    #[test]
    fn the_tail_spans_both_files_and_more_goes_on_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        std::fs::write(predecessor(&path), "1\n2\n3\n").unwrap();
        std::fs::write(&path, "4\n5\npart").unwrap();
        std::fs::write(dir.path().join("stderr.log"), "e\n").unwrap();
        let (mut follower, text) = Follower::begin("g-0", dir.path(), 3);
        assert_eq!(text, "g-0 stdout 3\ng-0 stdout 4\ng-0 stdout 5\ng-0 stderr e\n");
        assert_eq!(follower.more(false), "");
        std::fs::write(&path, "4\n5\npartial\n6").unwrap();
        assert_eq!(follower.more(false), "g-0 stdout partial\n");
        assert_eq!(follower.more(true), "g-0 stdout 6\n");
    }

    #[test]
    fn no_line_is_lost_when_the_file_turns_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = RotatingLog::open(&dir.path().join("stdout.log"), 8192).unwrap();
        let (mut follower, _) = Follower::begin("i", dir.path(), 0);
        let mut seen = String::new();
        for number in 0..3000 {
            log.write(format!("{number}\n").as_bytes());
            if number % 100 == 0 {
                seen += &follower.more(false);
            }
        }
        seen += &follower.more(false);
        let expected: String = (0..3000).map(|number| format!("i stdout {number}\n")).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_was_removed_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        std::fs::write(&path, "1\n").unwrap();
        let (mut follower, _) = Follower::begin("i", dir.path(), 0);
        let rest: String = (0..100_000).map(|number| format!("{number}\n")).collect();
        std::fs::write(&path, format!("1\n{rest}")).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(follower.more(true).lines().count(), 100_000);
    }

    #[test]
    fn a_tail_of_nothing_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("stdout.log"), "1\n").unwrap();
        assert_eq!(Follower::begin("i", dir.path(), 0).1, "");
        assert_eq!(Follower::begin("i", &dir.path().join("none"), 5).1, "");
    }
}
