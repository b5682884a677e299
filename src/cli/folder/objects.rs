//! Objects of clusters as they lie in a folder on disk.

use std::fs;
use std::path::Path;

use super::{Folder, read_capped};
use crate::app::objects::{LINK, Making, Steps};
use crate::domain::objects::native::MAX_FILE_BYTES;
use crate::domain::objects::{Files, Found, MAX_BYTES, MAX_FILES, ObjectSource, Objects, Origins};
use crate::ports::secrets::Secrets;

/// The objects in a folder, with what reads those that are encrypted.
pub(super) struct ObjectsAt<'a> {
    pub(super) folder: &'a Folder,
    pub(super) secrets: &'a dyn Secrets,
}

impl Objects for ObjectsAt<'_> {
    fn entry(&self, path: &str) -> Option<String> {
        self.folder.tree_oid(path)
    }

    fn find(&self, source: &ObjectSource) -> Found {
        let mut steps = Steps::new(source.clone());
        while let Some(path) = steps.wants() {
            steps.give(self.folder.files_at(&path));
        }
        // That there is something is all that is asked of an origin here.
        let known = |path: String| (path.clone(), self.folder.place(&path).is_some().then_some(String::new()));
        let origins = steps.paths().into_iter().map(known).collect();
        finish(steps, Making { tools: self.folder.tools.as_ref(), secrets: self.secrets }, origins)
    }
}

/// Runs the tools, wherever this thread stands: on a runtime or not.
fn finish(steps: Steps, making: Making<'_>, origins: Origins) -> Found {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| crate::cli::block_on(steps.finish(making, origins)));
        work.join().expect("reading objects never panics: that is its contract, proven over arbitrary bytes")
    })
}

impl Folder {
    /// Where a path is on disk. A link on the way would lead to what Git does not have.
    fn place(&self, path: &str) -> Option<std::path::PathBuf> {
        let place = self.root.join(path);
        let real = fs::canonicalize(&place).is_ok_and(|real| real == place);
        (real && !self.is_ignored(&place)).then_some(place)
    }

    fn files_at(&self, path: &str) -> Files {
        let mut files = Files::default();
        match self.place(path) {
            Some(place) if place.is_dir() => self.object_files(&place, path, 0, &mut files),
            Some(place) => object_file(&place, path, &mut files),
            None => {}
        }
        files
    }

    /// Reads the files of a folder.
    fn object_files(&self, folder: &Path, prefix: &str, depth: usize, files: &mut Files) {
        let entries = match self.entries(folder, depth) {
            Ok(entries) => entries,
            Err(error) => {
                files.refused.push((prefix.to_owned(), error.message, "make it readable"));
                return;
            }
        };
        for (name, path) in entries {
            let Some(name) = name.to_str() else { continue };
            let shown = format!("{prefix}/{name}");
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                self.object_files(&path, &shown, depth + 1, files);
            } else {
                object_file(&path, &shown, files);
            }
        }
    }
}

fn object_file(path: &Path, shown: &str, files: &mut Files) {
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
        _ => files.refused.push((shown.to_owned(), LINK.to_owned(), "put the file itself here")),
    }
}
