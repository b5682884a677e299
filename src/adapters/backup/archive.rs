//! The archive inside a backup: `manifest.json`, `manifest.sha256`, `journal.db`, then what else the manifest names, in this order and
//! nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{BackupError, Manifest, Part, copy_and_sum};

/// The form that this build writes.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const SUM: &str = "manifest.sha256";
/// The journal in a backup.
pub const JOURNAL: &str = "journal.db";
/// The kept ciphertexts in a backup.
pub const CIPHERTEXTS: &str = "secrets.tar";
/// What may be in a backup beside the journal.
pub const PARTS: [&str; 3] = ["audit.head", "audit.db", CIPHERTEXTS];

/// The most bytes that the manifest may have.
const MAX_MANIFEST: u64 = 1 << 20;
/// What files in an archive are padded to, and what its end is made of, in bytes.
const BLOCK: u64 = 512;

/// What is wrong with an archive.
pub(super) enum Unsound {
    /// This.
    Is(String),
    /// It is of a later form.
    Newer { found: u32, made_by: String },
}

impl From<io::Error> for Unsound {
    fn from(error: io::Error) -> Self {
        Unsound::Is(error.to_string())
    }
}

impl Unsound {
    pub fn told(self, path: &Path) -> BackupError {
        match self {
            Unsound::Is(reason) => BackupError::Unsound { path: path.to_owned(), reason },
            Unsound::Newer { found, made_by } => BackupError::Newer { path: path.to_owned(), found, made_by },
        }
    }
}

pub(super) fn write(out: &mut impl Write, manifest: &Manifest, folder: &Path) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(manifest)?;
    let sum = hex::encode(Sha256::digest(&text));
    let mut archive = tar::Builder::new(out);
    append(&mut archive, MANIFEST, text.len() as u64, &mut text.as_slice())?;
    append(&mut archive, SUM, sum.len() as u64, &mut sum.as_bytes())?;
    for name in [JOURNAL].into_iter().chain(manifest.parts.iter().map(|part| part.name.as_str())) {
        let mut file = File::open(folder.join(name))?;
        let size = file.metadata()?.len();
        append(&mut archive, name, size, &mut file)?;
    }
    archive.finish()
}

pub(super) fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    from: &mut impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_cksum();
    archive.append_data(&mut header, name, from)
}

/// Proves an archive and writes its files to a folder.
pub(super) fn read(mut from: impl Read, folder: &Path) -> Result<Manifest, Unsound> {
    let manifest = read_parts(&mut from, folder)?;
    // Of the two empty blocks that an archive ends with the first was read.
    let mut end = Vec::new();
    from.take(BLOCK + 1).read_to_end(&mut end)?;
    match end.iter().any(|byte| *byte != 0) || end.len() as u64 > BLOCK {
        true => Err(Unsound::Is("there is something behind its end".into())),
        false if (end.len() as u64) < BLOCK => Err(Unsound::Is("its end is missing: it is cut short".into())),
        false => Ok(manifest),
    }
}

fn read_parts(from: &mut impl Read, folder: &Path) -> Result<Manifest, Unsound> {
    let mut archive = tar::Archive::new(from);
    let mut entries = archive.entries()?;
    let mut next = |name: &str| -> Result<_, Unsound> {
        let entry = entries.next().ok_or_else(|| Unsound::Is(format!("{name} is missing: it is cut short")))??;
        if entry.path_bytes().as_ref() != name.as_bytes() {
            return Err(Unsound::Is(format!("{name} is not where it should be")));
        }
        Ok(entry)
    };
    let mut text = Vec::new();
    next(MANIFEST)?.take(MAX_MANIFEST + 1).read_to_end(&mut text)?;
    let mut sum = String::new();
    next(SUM)?.take(65).read_to_string(&mut sum)?;
    if text.len() as u64 > MAX_MANIFEST || hex::encode(Sha256::digest(&text)) != sum {
        return Err(Unsound::Is(format!("{MANIFEST} does not match its sum")));
    }
    let manifest = parse(&text)?;
    if let Some(part) = manifest.parts.iter().find(|part| !PARTS.contains(&part.name.as_str())) {
        return Err(Unsound::Is(format!("{MANIFEST} names {:?}, which belongs to no backup", part.name)));
    }
    let journal = Part { name: JOURNAL.into(), size: manifest.size, sha256: manifest.sha256.clone() };
    for part in [&journal].into_iter().chain(&manifest.parts) {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(&part.name))?;
        let (size, found) = copy_and_sum(&mut next(&part.name)?.take(part.size.saturating_add(1)), &mut out)?;
        out.sync_all()?;
        if (size, &found) != (part.size, &part.sha256) {
            return Err(Unsound::Is(format!("{} does not match its sum", part.name)));
        }
    }
    match entries.next().transpose()? {
        Some(_) => Err(Unsound::Is(format!("there is something in it that {MANIFEST} does not name"))),
        None => Ok(manifest),
    }
}

/// A later form is told from one that is not right.
fn parse(text: &[u8]) -> Result<Manifest, Unsound> {
    let not = |error: serde_json::Error| Unsound::Is(format!("{MANIFEST}: {error}"));
    let value: Value = serde_json::from_slice(text).map_err(not)?;
    let found = value.get("format").and_then(Value::as_u64).and_then(|found| u32::try_from(found).ok());
    match found {
        Some(found) if found > FORMAT => {
            let made_by = value.get("trimtab").and_then(Value::as_str).unwrap_or("of an unknown version").to_owned();
            Err(Unsound::Newer { found, made_by })
        }
        _ => serde_json::from_value(value).map_err(not),
    }
}
