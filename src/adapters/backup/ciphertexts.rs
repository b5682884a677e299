//! The kept ciphertexts of secrets in a backup: an archive of their files, so that the manifest names one sum for all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::archive::append;
use crate::secrets::MAX_FILE_BYTES;

/// What the files' names end with. An index names a content, so that contents are read after it.
const SUFFIXES: [&str; 2] = [".json", ".sealed"];

/// Adds the files of a vault, which a daemon may be writing, to those in a folder.
///
/// Nothing that is needed at some moment is missing where this was called before and after that moment: a vault has what a
/// journal's record names before the record is written, and loses it after nothing names it any more.
///
/// # Errors
///
/// They can't be read or written.
pub fn collect(vault: &Path, folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for suffix in SUFFIXES {
        for name in names(vault)?.iter().filter(|name| name.ends_with(suffix)) {
            let to = folder.join(name);
            match fs::copy(vault.join(name), &to) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => drop(copied?),
            }
        }
    }
    Ok(())
}

/// Packs the files of a folder into an archive; how many contents there are.
///
/// # Errors
///
/// They can't be read, or it can't be written.
pub fn pack(folder: &Path, to: &Path) -> io::Result<usize> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut archive = tar::Builder::new(file);
    let names = names(folder)?;
    for name in &names {
        let mut from = File::open(folder.join(name))?;
        let size = from.metadata()?.len();
        append(&mut archive, name, size, &mut from)?;
    }
    archive.into_inner()?.sync_all()?;
    Ok(names.iter().filter(|name| name.ends_with(SUFFIXES[1])).count())
}

/// Puts the files of an archive into a vault, beside what is there; how many contents are new.
///
/// # Errors
///
/// It is no such archive, or they can't be written.
pub fn unpack(from: &Path, vault: &Path) -> io::Result<usize> {
    DirBuilder::new().recursive(true).mode(0o700).create(vault)?;
    let mut archive = tar::Archive::new(File::open(from)?);
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let sound = is_name(&name) && entry.header().entry_type().is_file() && entry.size() <= MAX_FILE_BYTES as u64;
        if !sound {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("{name:?} is no ciphertext")));
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(vault.join(&name));
        let mut file = match made {
            // What is here is as new or newer.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        io::copy(&mut entry, &mut file)?;
        file.sync_all()?;
        count += usize::from(name.ends_with(SUFFIXES[1]));
    }
    File::open(vault)?.sync_all()?;
    Ok(count)
}

/// The names of a vault's files, in order.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_name(name)));
    }
    names.sort_unstable();
    Ok(names)
}

fn is_name(name: &str) -> bool {
    let stem = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    stem.is_some_and(|stem| !stem.is_empty() && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertexts_come_back_beside_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("vault")).unwrap();
        for (name, text) in [("s1-a.json", "index"), ("0a.sealed", "sealed"), ("0a.new-7", "half"), ("notes", "x")] {
            fs::write(path("vault").join(name), text).unwrap();
        }
        collect(&path("nowhere"), &path("copy")).unwrap();
        collect(&path("vault"), &path("copy")).unwrap();
        fs::remove_file(path("vault/0a.sealed")).unwrap();
        collect(&path("vault"), &path("copy")).unwrap();
        assert_eq!(pack(&path("copy"), &path("tar")).unwrap(), 1);
        fs::write(path("vault/s1-a.json"), "newer").unwrap();
        assert_eq!(unpack(&path("tar"), &path("vault")).unwrap(), 1);
        assert_eq!(fs::read_to_string(path("vault/s1-a.json")).unwrap(), "newer");
        assert_eq!(fs::read_to_string(path("vault/0a.sealed")).unwrap(), "sealed");
        assert_eq!(names(&path("copy")).unwrap(), ["0a.sealed", "s1-a.json"]);
    }

    #[test]
    fn nothing_is_written_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["../evil.json", "/evil.json", "a/b.json", ".json", "evil"] {
            let mut archive = tar::Builder::new(File::create(path("tar")).unwrap());
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(1);
            header.set_mode(0o600);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            archive.append(&header, &b"x"[..]).unwrap();
            archive.finish().unwrap();
            let error = unpack(&path("tar"), &path("vault")).unwrap_err();
            assert!(error.to_string().contains("no ciphertext"), "{name}: {error}");
        }
        assert_eq!(fs::read_dir(path("vault")).unwrap().count(), 0);
        assert!(!path("evil.json").exists());
    }
}
