//! How much room is left for the journal.

use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};

/// With less than this nothing new is begun: it is kept for ending what goes on, for healing, for rollbacks and for the audit.
const RESERVE: u64 = 16 << 20;

/// Why the file system under a file has too little room, and what to do; `None`: it has enough, or can't be asked.
pub(super) fn short(path: &Path) -> Option<String> {
    let folder = path.parent().unwrap_or(path);
    let stat = statvfs(folder).ok()?;
    if stat.flags().contains(FsFlags::ST_RDONLY) {
        return Some(format!("{} can't be written: its file system is read-only; mount it writable", folder.display()));
    }
    let left = stat.blocks_available().saturating_mul(stat.fragment_size());
    (left < RESERVE).then(|| {
        format!(
            "{} has {} KiB of room left, and nothing new is begun with less than {} MiB: make room",
            folder.display(),
            left >> 10,
            RESERVE >> 20
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_room_is_not_told_about() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(short(&folder.path().join("journal.db")), None);
        assert_eq!(short(Path::new("/nowhere/at/all/journal.db")), None, "what can't be asked decides nothing");
    }
}
