//! Files of objects that age encrypted as a whole: which they are among others, and which only look like one.

use serde_json::Value;
use std::sync::Arc;

use crate::domain::manifest::{Layer, Location, Problem, SourceFile};
use crate::domain::objects::native::{Reading, is_object_path};
use crate::domain::objects::sealed::is_sealed_path;
use crate::ports::secrets::Secrets;
use crate::secrets::file::Sealed;
use crate::secrets::seal::is_age;

/// Endings of files that other tools encrypted.
const FOREIGN: [&str; 6] = [".asc", ".enc", ".encrypted", ".gpg", ".pgp", ".sops"];

/// Files that age encrypted as a whole, told by their outlines, and what is wrong with others that look like one.
#[derive(Default)]
pub struct EncryptedFiles {
    /// Path, ciphertext, outline.
    outlined: Vec<(String, Vec<u8>, Vec<Value>)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl EncryptedFiles {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.outlined.is_empty() && self.problems.is_empty()
    }

    /// Takes a file of a folder of plain objects, should it be encrypted or look so; else gives it back.
    pub fn take(&mut self, secrets: &dyn Secrets, path: String, bytes: Vec<u8>) -> Option<(String, Vec<u8>)> {
        match () {
            () if is_sealed_path(&path) => self.open(secrets, path, bytes),
            () if is_object_path(&path) && is_age(&bytes) => {
                let named = "name it as what it is: `NAME.yaml.age`";
                self.refuse(&path, "age encrypted this file, and its name does not say so", named);
            }
            () if is_object_path(&path) => return Some((path, bytes)),
            () if looks_encrypted(&path, &bytes) => {
                let read = "objects are read that SOPS encrypted, as `NAME.yaml`, and that age did, as `NAME.yaml.age`";
                self.refuse(&path, "this looks like an encrypted object, and is not read", read);
            }
            () if is_age(&bytes) && objects(secrets, &path, &bytes).is_ok() => {
                let message = "age encrypted objects in this file, and its name does not say so";
                self.refuse(&path, message, "name it `NAME.yaml.age`");
            }
            () => {}
        }
        None
    }

    /// Opens a file whose name says what it is.
    pub fn open(&mut self, secrets: &dyn Secrets, path: String, bytes: Vec<u8>) {
        if !is_age(&bytes) {
            let remedy = "encrypt it with `trimtab secrets encrypt`, or take `.age` from its name";
            return self.refuse(&path, "age did not encrypt this file, as its name says", remedy);
        }
        match objects(secrets, &path, &bytes) {
            Ok(outline) => self.outlined.push((path, bytes, outline)),
            Err((message, remedy)) => self.refuse(&path, &message, &remedy),
        }
    }

    /// Refuses a file.
    pub fn refuse(&mut self, path: &str, message: &str, remedy: &str) {
        let at = Location::start_of(Arc::new(SourceFile::new(path, "")));
        self.problems.push(Problem::new(Layer::Security, &at, message, remedy));
    }

    /// Reads the objects.
    pub fn read(self, reading: &mut Reading) {
        reading.problems(self.problems);
        for (path, bytes, outline) in self.outlined {
            let text = reading.note_sealed(&path, bytes, &outline);
            reading.text(&path, &text);
        }
    }

    /// What a tool reads in place of the files, by path.
    pub fn stand_ins(self, reading: &mut Reading) -> Vec<(String, Vec<u8>)> {
        let note = |(path, bytes, outline): (String, Vec<u8>, Vec<Value>)| {
            let text = reading.note_sealed(&path, bytes, &outline);
            (path, text)
        };
        self.outlined.into_iter().map(note).collect()
    }
}

fn objects(secrets: &dyn Secrets, path: &str, bytes: &[u8]) -> Result<Vec<Value>, (String, String)> {
    let sealed = Sealed { path: path.to_owned(), key: None, bytes: Arc::new(bytes.to_vec()) };
    secrets.objects(&sealed)
}

/// Whether a file that is no object by its name is one that somebody encrypted, by its name or since SOPS left the keys in clear.
fn looks_encrypted(path: &str, bytes: &[u8]) -> bool {
    if FOREIGN.iter().any(|ending| path.strip_suffix(ending).is_some_and(is_object_path)) {
        return true;
    }
    let has = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    has(b"ENC[AES256_GCM,") && has(b"apiVersion") && has(b"kind") && has(b"sops")
}
