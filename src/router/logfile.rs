//! A log file of bounded size that others may move away, and that the process before and after this one writes, too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many full files are kept beside the one that is written.
const KEPT: u32 = 3;

/// Where a log is written, and how large each of its files may be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; full ones are renamed to it with `.1` to `.3`, `.1` being the newest.
    pub path: PathBuf,
    /// The largest size of one file, in bytes.
    pub size: u64,
}

/// A file that is turned over when it is full.
#[derive(Debug)]
pub struct LogFile {
    settings: Settings,
    file: File,
    size: u64,
    /// The last write may have ended within a line.
    torn: bool,
}

impl LogFile {
    /// Goes on where the file ended.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&settings.path)?;
        let size = file.metadata()?.len();
        Ok(LogFile { settings: settings.clone(), file, size, torn: false })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.settings.path
    }

    /// Opens what lies under the name now. When that fails, the file is the one before.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn reopen(&mut self) -> io::Result<()> {
        *self = LogFile::open(&self.settings)?;
        Ok(())
    }

    /// Adds whole lines, and turns the files over before that where they would not fit.
    ///
    /// # Errors
    /// They were not written, or not all of them. The next ones begin a line of their own.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        // Twice, where somebody else has turned over already and filled the next one since.
        for _ in 0..2 {
            if self.size > 0 && self.size.saturating_add(lines.len() as u64) > self.settings.size {
                self.turn_over()?;
            }
        }
        if self.torn {
            self.add(b"\n")?;
        }
        self.torn = true;
        self.add(lines)?;
        self.torn = false;
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// The oldest goes, the others move on by one. What lies under the name but is not what is written here was put there by
    /// somebody who turned over already.
    fn turn_over(&mut self) -> io::Result<()> {
        if self.is_in_place()? {
            for number in (1..KEPT).rev() {
                move_if_there(&self.numbered(number), &self.numbered(number + 1))?;
            }
            move_if_there(self.path(), &self.numbered(1))?;
        }
        self.reopen()
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        match fs::metadata(self.path()) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path().as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    }
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

    fn settings(dir: &tempfile::TempDir) -> Settings {
        Settings { path: dir.path().join("access.log"), size: 100 }
    }

    #[test]
    fn the_files_stay_within_their_bound_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(&settings(&dir)).unwrap();
        for number in 0..100 {
            file.write(format!("line {number:02} of forty bytes, more or less\n").as_bytes()).unwrap();
        }
        let sizes: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 4);
        assert!(sizes.iter().all(|size| (1..=100).contains(size)), "{sizes:?}");
        assert!(fs::read_to_string(file.path()).unwrap().contains("line 99"));
        assert!(fs::read_to_string(file.numbered(3)).unwrap().starts_with("line 92"));
    }

    #[test]
    fn what_others_moved_away_is_left_to_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(&settings(&dir)).unwrap();
        let mut other = LogFile::open(&settings(&dir)).unwrap();
        other.write(&[b'x'; 60]).unwrap();
        file.size = 60;
        file.write(&[b'x'; 45]).unwrap();
        // This one has turned over; the other sees that when its own is full, and does not do it again.
        let sizes = || {
            [0, 1, 2].map(|number| {
                let path = if number == 0 { file.path().to_owned() } else { file.numbered(number) };
                fs::metadata(path).map_or(0, |metadata| metadata.len())
            })
        };
        other.write(&[b'x'; 50]).unwrap();
        assert_eq!(sizes(), [95, 60, 0]);
        // Unless what it finds is full, too.
        (other.size, other.file) = (100, File::open(file.numbered(1)).unwrap());
        other.write(&[b'x'; 50]).unwrap();
        assert_eq!(sizes(), [50, 95, 60]);
        fs::rename(file.path(), dir.path().join("away")).unwrap();
        file.reopen().unwrap();
        file.write(b"anew\n").unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "anew\n");
    }

    #[test]
    fn a_folder_that_takes_no_file_costs_none_of_those_that_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(&settings(&dir)).unwrap();
        for text in ["first", "second"] {
            file.write(&[text.as_bytes(), &[b'.'; 60], b"\n"].concat()).unwrap();
        }
        // The name is taken by what can't be written: each further line fails, and nothing is moved on.
        fs::remove_file(file.path()).unwrap();
        fs::create_dir(file.path()).unwrap();
        for _ in 0..5 {
            assert!(file.write(&[b'y'; 60]).is_err());
        }
        assert!(fs::read_to_string(file.numbered(1)).unwrap().starts_with("first"));
    }
}
