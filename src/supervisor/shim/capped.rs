//! The output of a run: of all that was written the first half and the last half of the limit are kept, in one file
//! that never grows beyond it and can be read while it is written.
//!
//! Layout: eight bytes with the count of all bytes written (little endian), then the first half as it came, then a
//! ring with the newest bytes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const HEAD: u64 = 8;

/// The writing end.
#[derive(Debug)]
pub struct CappedLog {
    file: File,
    written: u64,
    limit: u64,
}

/// Where the byte with this number lies in the file.
fn place(number: u64, limit: u64) -> u64 {
    let first = limit / 2;
    let ring = limit - first;
    HEAD + if number < first || ring == 0 { number } else { first + (number - first) % ring }
}

impl CappedLog {
    /// Makes the file anew.
    pub fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(path)?;
        file.write_all_at(&0u64.to_le_bytes(), 0)?;
        Ok(CappedLog { file, written: 0, limit: limit.max(2) })
    }

    /// Adds bytes. What the disk does not take is lost: it must not stop the program.
    pub fn write(&mut self, bytes: &[u8]) {
        let first = self.limit / 2;
        let ring = self.limit - first;
        let mut rest = bytes;
        while !rest.is_empty() {
            let until_edge =
                if self.written < first { first - self.written } else { ring - (self.written - first) % ring };
            let (piece, later) = rest.split_at(rest.len().min(until_edge as usize));
            let _ = self.file.write_all_at(piece, place(self.written, self.limit));
            self.written += piece.len() as u64;
            rest = later;
        }
        let _ = self.file.write_all_at(&self.written.to_le_bytes(), 0);
    }
}

/// Reads what was kept, with a word in the middle about what was not.
pub fn read(path: &Path, limit: u64) -> io::Result<String> {
    let limit = limit.max(2);
    let bytes = std::fs::read(path)?;
    let Some((head, data)) = bytes.split_first_chunk::<{ HEAD as usize }>() else { return Ok(String::new()) };
    let written = u64::from_le_bytes(*head);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (first, ring) = ((limit / 2) as usize, (limit - limit / 2) as usize);
    if written <= limit || data.len() < first + ring {
        return Ok(text(&data[..data.len().min(written as usize)]));
    }
    let (start, circle) = data.split_at(first);
    let seam = (written as usize - first) % ring;
    let left_out = written - limit;
    Ok(format!(
        "{}\n... {left_out} bytes left out ...\n{}{}",
        text(start),
        text(&circle[seam..ring]),
        text(&circle[..seam])
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(chunks: &[Vec<u8>], limit: u64) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output");
        let mut log = CappedLog::create(&path, limit).unwrap();
        chunks.iter().for_each(|chunk| log.write(chunk));
        assert!(std::fs::metadata(&path).unwrap().len() <= HEAD + limit.max(2));
        read(&path, limit).unwrap()
    }

    #[test]
    fn short_output_is_kept_whole() {
        assert_eq!(kept(&[b"ab".to_vec(), b"cd".to_vec()], 4), "abcd");
        assert_eq!(kept(&[], 4), "");
    }

    proptest! {
        #[test]
        fn of_long_output_both_ends_are_kept(
            chunks in proptest::collection::vec(proptest::collection::vec(b'a'..=b'z', 0..40), 0..20),
            limit in 2u64..64,
        ) {
            let all: String = chunks.iter().flatten().map(|byte| *byte as char).collect();
            let limit_bytes = limit as usize;
            let expected = if all.len() <= limit_bytes {
                all
            } else {
                let first = limit_bytes / 2;
                let last = limit_bytes - first;
                let left_out = all.len() - limit_bytes;
                format!("{}\n... {left_out} bytes left out ...\n{}", &all[..first], &all[all.len() - last..])
            };
            prop_assert_eq!(kept(&chunks, limit), expected);
        }
    }
}
