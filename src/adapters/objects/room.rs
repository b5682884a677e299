//! Room in folders of what was fetched or made once: what was needed longest ago goes.

use std::fs;
use std::io;
use std::path::Path;

/// Leaves at most so many files in a folder, those that were changed last.
///
/// # Errors
///
/// It can't be read, or a file not be removed.
pub(super) fn make_room(folder: &Path, most: usize) -> io::Result<()> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Others write here meanwhile: what is being written has another name the next moment.
        if let Some(metadata) = there(entry.metadata())? {
            all.push((metadata.modified()?, entry.path()));
        }
    }
    let beyond = all.len().saturating_sub(most);
    all.sort();
    all.into_iter().take(beyond).try_for_each(|(_, path)| there(fs::remove_file(path)).map(drop))
}

/// None where it is not there any more.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_was_changed_last_stays() {
        let dir = tempfile::tempdir().unwrap();
        for (name, at) in [("old", 20), ("new", 30), ("older", 10), ("newer", 40)] {
            fs::write(dir.path().join(name), "").unwrap();
            let file = fs::File::open(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).unwrap();
        }
        make_room(dir.path(), 4).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
        make_room(dir.path(), 2).unwrap();
        let left = ["old", "new", "older", "newer"].map(|name| dir.path().join(name).exists());
        assert_eq!(left, [false, true, false, true]);
        assert!(make_room(&dir.path().join("none"), 1).is_err());
    }
}
