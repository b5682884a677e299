//! What charts made that say something random, as they said it first: the same inputs give the same objects, also to a daemon that
//! was started anew.
//!
//! ```text
//! made/DIGEST   what the tool told, by the digest of all its inputs; encrypted, since it may hold passwords
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use regex::bytes::Regex;
use sha2::{Digest as _, Sha256};

use super::room::make_room;
use crate::ports::objects::{Make, Order};
use crate::secrets::local::LocalKey;

/// How many answers are kept; beyond, those that were not needed for the longest time go.
const KEPT: usize = 2_000;

/// The functions of Helm that give something else each time.
static RANDOM: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let names = "rand(Alpha|AlphaNum|Ascii|Numeric|Bytes|Int)|gen(CA|PrivateKey|SelfSignedCert|SignedCert)(WithKey)?|\
                 uuidv4|htpasswd|bcrypt|encryptAES|shuffle|now|ago";
    Regex::new(&format!(r"(?-u)\b({names})\b")).ok()
});

/// See the module.
#[derive(Debug)]
pub struct Memory {
    folder: PathBuf,
    key: Arc<LocalKey>,
}

impl Memory {
    /// Keeps answers in a folder, which is made when it is needed, encrypted under a key of this machine.
    pub fn new(folder: PathBuf, key: Arc<LocalKey>) -> Self {
        Memory { folder, key }
    }

    /// The name that the answer to an order has here; none where it would be the same again without.
    pub fn name(order: &Order) -> Option<String> {
        let Make::Helm { chart, release, namespace, values, files, skip_hooks, cluster } = &order.make else {
            return None;
        };
        let random = |(path, bytes): &(String, Vec<u8>)| {
            // What is packed is not looked into.
            path.ends_with(".tgz") || RANDOM.as_ref().is_none_or(|random| random.is_match(bytes))
        };
        if !order.files.iter().any(random) {
            return None;
        }
        let mut hash = Sha256::new();
        let mut add = |label: &str, bytes: &[u8]| {
            for part in [label.as_bytes(), bytes] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        };
        // This digest must stay what it is: a field that is new is added where it says something.
        for (label, text) in [("chart", chart), ("release", release), ("namespace", namespace), ("values", values)] {
            add(label, text.as_bytes());
        }
        files.iter().for_each(|file| add("file of values", file.as_bytes()));
        if *skip_hooks {
            add("without hooks", &[]);
        }
        cluster.version.iter().for_each(|version| add("version", version.as_bytes()));
        cluster.kinds.iter().for_each(|kind| add("kind", kind.as_bytes()));
        order.files.iter().for_each(|(path, bytes)| add(path, bytes));
        Some(hex::encode(hash.finalize()))
    }

    /// What was told before.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let place = self.folder.join(name);
        let sealed = fs::read(&place).ok()?;
        // When it was needed last decides what goes first; where that can't be noted it goes sooner.
        let _ = File::open(&place).map(|file| futimens(file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW));
        match self.key.open(name, &sealed) {
            Ok(text) => Some(text.to_vec()),
            Err(error) => {
                tracing::warn!(place = %place.display(), %error, "what a chart made before can't be read: it is made anew");
                None
            }
        }
    }

    /// Keeps what was told, for good when this returns.
    ///
    /// # Errors
    ///
    /// The folder can't be written, or the key not be had.
    pub fn keep(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let sealed = self.key.seal(name, text).map_err(io::Error::other)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        make_room(&self.folder, KEPT - 1)?;
        let scratch = self.folder.join(format!("{name}.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&scratch)?;
        file.write_all(&sealed)?;
        file.sync_all()?;
        fs::rename(&scratch, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::objects::ClusterTold;

    fn order(template: &str) -> Order {
        let make = Make::Helm {
            chart: "chart".into(),
            release: "web".into(),
            namespace: "shop".into(),
            values: "{}".into(),
            files: Vec::new(),
            skip_hooks: false,
            cluster: ClusterTold::default(),
        };
        Order { files: vec![("chart/templates/a.yaml".into(), template.into())], make }
    }

    #[test]
    fn only_what_may_be_random_is_kept() {
        for random in [
            "password: {{ randAlphaNum 8 }}",
            "{{ $ca := genCA \"a\" 365 }}",
            "{{- genSelfSignedCertWithKey }}",
            "at: {{ now | date \"2006\" }}",
            "{{ uuidv4 }}",
        ] {
            assert!(Memory::name(&order(random)).is_some(), "{random}");
        }
        for same in ["{{ .Values.random }}", "known: {{ .Values.brand }}", "{{ derivePassword 1 \"long\" }}"] {
            assert_eq!(Memory::name(&order(same)), None, "{same}");
        }
        let folder = Order { make: Make::Kustomize { folder: "a".into() }, ..order("{{ uuidv4 }}") };
        assert_eq!(Memory::name(&folder), None);
        let mut packed = order("a: 1");
        packed.files.push(("chart/charts/db-1.0.0.tgz".into(), Vec::new()));
        assert!(Memory::name(&packed).is_some());
    }

    /// Another digest for the same order would make all passwords anew.
    #[test]
    fn the_same_order_has_the_same_name_in_all_versions() {
        let name = Memory::name(&order("{{ uuidv4 }}")).unwrap();
        assert_eq!(name, "bebafc6cab5ec8678904e7aeee67554227e92a97e27c295e6e093dbb310c0429");
        assert_ne!(Memory::name(&order("{{ uuidv4 }} ")).unwrap(), name);
    }

    #[test]
    fn what_was_told_is_there_again_in_nobody_elses_words() {
        let dir = tempfile::tempdir().unwrap();
        let memory = || Memory::new(dir.path().join("made"), Arc::new(LocalKey::new(dir.path().join("key"))));
        assert_eq!(memory().get("a"), None);
        memory().keep("a", b"password: hunter2").unwrap();
        assert_eq!(memory().get("a").unwrap(), b"password: hunter2");
        let place = dir.path().join("made/a");
        assert!(!fs::read(&place).unwrap().windows(7).any(|part| part == b"hunter2"));
        fs::rename(&place, dir.path().join("made/b")).unwrap();
        assert_eq!((memory().get("a"), memory().get("b")), (None, None));
    }
}
