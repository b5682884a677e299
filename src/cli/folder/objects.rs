//! Objects of clusters as they lie in a folder on disk.

use std::fs;
use std::path::Path;

use super::{Folder, read_capped};
use crate::app::objects::{self, Files, is_looked_at};
use crate::domain::objects::native::MAX_FILE_BYTES;
use crate::domain::objects::{Found, MAX_BYTES, MAX_FILES, ObjectSource, Objects, Origins};

impl Objects for Folder {
    fn entry(&self, path: &str) -> Option<String> {
        self.tree_oid(path)
    }

    fn find(&self, source: &ObjectSource) -> Found {
        let path = source.path();
        let place = self.root.join(path);
        // A link on the way would lead to what Git does not have.
        if !fs::canonicalize(&place).is_ok_and(|real| real == place) || self.is_ignored(&place) {
            return Found::Nothing;
        }
        let mut files = Files::default();
        if place.is_dir() {
            self.object_files(&place, path, 0, &mut files);
        } else {
            self.object_file(&place, path, &mut files);
        }
        objects::read_plain(files, Origins::new())
    }
}

impl Folder {
    /// Reads the files of a folder that objects are looked for in.
    fn object_files(&self, folder: &Path, prefix: &str, depth: usize, files: &mut Files) {
        let entries = match self.entries(folder, depth) {
            Ok(entries) => entries,
            Err(error) => {
                files.refused.push((prefix.to_owned(), error.message, "make it readable"));
                return;
            }
        };
        for (name, path) in entries {
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let shown = format!("{prefix}/{name}");
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                self.object_files(&path, &shown, depth + 1, files);
            } else if is_looked_at(&shown, prefix) {
                self.object_file(&path, &shown, files);
            }
        }
    }

    fn object_file(&self, path: &Path, shown: &str, files: &mut Files) {
        let total: usize = files.files.iter().map(|(_, bytes)| bytes.len()).sum();
        if files.files.len() >= MAX_FILES || total as u64 > MAX_BYTES {
            let reason = format!("here are more than {MAX_FILES} files, or more than {MAX_BYTES} bytes of them");
            if files.refused.iter().all(|(_, told, _)| *told != reason) {
                let remedy = "name a folder that holds fewer, or split it into several Apps";
                files.refused.push((shown.to_owned(), reason, remedy));
            }
            return;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => match read_capped(path, MAX_FILE_BYTES) {
                Ok(bytes) => files.files.push((shown.to_owned(), bytes)),
                Err(error) => files.refused.push((shown.to_owned(), error.to_string(), "make it readable")),
            },
            _ => files.refused.push((shown.to_owned(), objects::LINK.to_owned(), "put the file itself here")),
        }
    }
}
