//! A log of bounded size: a file and one predecessor, each of at most half the limit.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The smallest half, so that a tiny limit does not rename a file for each line.
const SMALLEST_HALF: u64 = 4096;

/// One stream's log.
#[derive(Debug)]
pub struct RotatingLog {
    path: PathBuf,
    file: File,
    size: u64,
    half: u64,
}

impl RotatingLog {
    /// Opens the log at a path, going on where it ended.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(RotatingLog { path: path.to_owned(), file, size, half: (limit / 2).max(SMALLEST_HALF) })
    }

    /// Adds bytes, and turns the files over when they would not fit. A disk that takes no more loses them: a full
    /// disk must not stop the program.
    pub fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.half as usize) {
            if self.size + piece.len() as u64 > self.half {
                self.turn_over();
            }
            if self.file.write_all(piece).is_ok() {
                self.size += piece.len() as u64;
            }
        }
    }

    fn turn_over(&mut self) {
        if fs::rename(&self.path, predecessor(&self.path)).is_ok()
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
            self.size = 0;
        } else if self.file.set_len(0).is_ok() {
            // No name can be made (a full disk): start over in place, so that the limit holds at least.
            self.size = 0;
        }
    }
}

/// The file that holds what was written before the present one.
pub fn predecessor(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_within_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        let limit = 4 * SMALLEST_HALF;
        let mut log = RotatingLog::open(&path, limit).unwrap();
        for line in 0..5000 {
            log.write(format!("line {line:06}\n").as_bytes());
        }
        let old = fs::read_to_string(predecessor(&path)).unwrap();
        let new = fs::read_to_string(&path).unwrap();
        assert!(old.len() as u64 + new.len() as u64 <= limit);
        assert!(new.ends_with("line 004999\n"));
        assert!((old + &new).lines().count() as u64 * 12 > limit / 2, "more than half of the room is used");
    }

    #[test]
    fn goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout.log");
        RotatingLog::open(&path, 100_000).unwrap().write(b"a\n");
        RotatingLog::open(&path, 100_000).unwrap().write(b"b\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    }
}
