use super::*;

fn manifest(folder: &Path) -> Manifest {
    let (size, sha256) = sum(&folder.join(JOURNAL)).unwrap();
    Manifest {
        format: FORMAT,
        trimtab: "0.0.0".into(),
        installation: "test".into(),
        created: Timestamp::UNIX_EPOCH,
        records: 3,
        size,
        sha256,
        artifacts: vec!["tree-00".into()],
        parts: vec![Part::of(folder, "audit.db").unwrap()],
    }
}

struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("out")).unwrap();
        std::fs::write(dir.path().join(JOURNAL), vec![7; 100_000]).unwrap();
        std::fs::write(dir.path().join("audit.db"), vec![9; 1_000]).unwrap();
        Bed { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, recipients: &[String]) -> Manifest {
        let manifest = manifest(self.dir.path());
        write(&self.path(name), &manifest, self.dir.path(), recipients).unwrap();
        manifest
    }

    /// Reads a backup and takes what it left: the journal and the other part.
    fn read(&self, name: &str, identities: &[PathBuf]) -> Result<(Manifest, Vec<u8>, Vec<u8>), BackupError> {
        let out = self.path("out");
        let found = read(&self.path(name), identities, &out).map(|manifest| {
            (manifest, std::fs::read(out.join(JOURNAL)).unwrap(), std::fs::read(out.join("audit.db")).unwrap())
        });
        if found.is_err() {
            assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "nothing is left of what is not sound");
        }
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::create_dir(&out).unwrap();
        found
    }
}

#[test]
fn what_was_written_is_read() {
    let bed = Bed::new();
    let manifest = bed.write("backup", &[]);
    assert_eq!(bed.read("backup", &[]).unwrap(), (manifest.clone(), vec![7; 100_000], vec![9; 1_000]));
    let error = write(&bed.path("backup"), &manifest, bed.dir.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("exists"), "a backup is never overwritten: {error}");
}

#[test]
fn a_sealed_one_needs_its_identity() {
    use age::secrecy::ExposeSecret;
    let bed = Bed::new();
    let (mine, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    for (name, key) in [("mine", &mine), ("other", &other)] {
        std::fs::write(bed.path(name), key.to_string().expose_secret()).unwrap();
    }
    let quantum = crate::secrets::post_quantum::Identity::generate();
    std::fs::write(bed.path("quantum"), quantum.to_text().as_bytes()).unwrap();
    let manifest = bed.write("quantum-backup", &[quantum.to_public().to_string()]);
    assert_eq!(bed.read("quantum-backup", &[bed.path("quantum")]).unwrap().0, manifest);
    let manifest = bed.write("backup", &[mine.to_public().to_string()]);
    assert!(!std::fs::read(bed.path("backup")).unwrap().windows(7).any(|window| window == [7; 7]));
    for (identities, word) in [(vec![], "--identity"), (vec![bed.path("other")], "can't be decrypted")] {
        let error = bed.read("backup", &identities).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(bed.read("backup", &[bed.path("mine")]).unwrap().0, manifest);
    let error = write(&bed.path("x"), &manifest, bed.dir.path(), &["age1nobody".into()]).unwrap_err();
    assert!(error.to_string().contains("a recipient can't be used") && !bed.path("x").exists());
}

#[test]
fn any_flipped_bit_and_any_cut_is_found() {
    let bed = Bed::new();
    bed.write("backup", &[]);
    let whole = std::fs::read(bed.path("backup")).unwrap();
    let damaged = |name: &str, bytes: &[u8]| {
        std::fs::write(bed.path(name), bytes).unwrap();
        bed.read(name, &[])
    };
    for at in (0..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        // Padding between the parts holds nothing.
        if let Ok((_, journal, part)) = damaged("flipped", &flipped) {
            assert_eq!((journal, part), (vec![7; 100_000], vec![9; 1_000]), "{at}");
        }
        assert!(damaged("cut", &whole[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn nothing_may_stand_behind_the_end_and_the_end_must_be_there() {
    use age::secrecy::ExposeSecret;
    let bed = Bed::new();
    let key = age::x25519::Identity::generate();
    std::fs::write(bed.path("key"), key.to_string().expose_secret()).unwrap();
    for (name, recipients) in [("plain", vec![]), ("sealed", vec![key.to_public().to_string()])] {
        bed.write(name, &recipients);
        let whole = std::fs::read(bed.path(name)).unwrap();
        let refused = |bytes: &[u8]| {
            std::fs::write(bed.path("damaged"), bytes).unwrap();
            bed.read("damaged", &[bed.path("key")]).unwrap_err().to_string()
        };
        for more in [&[0][..], &[1], &[0; 512], &[0; 100_000]] {
            let error = refused(&[&whole[..], more].concat());
            assert!(error.contains("no sound backup"), "{name}, {} bytes more: {error}", more.len());
        }
        for less in [1, 511, 512, 513, 1_023, 1_024, 1_025] {
            let error = refused(&whole[..whole.len() - less]);
            assert!(error.contains("no sound backup"), "{name}, {less} bytes less: {error}");
        }
        assert!(bed.read(name, &[bed.path("key")]).is_ok(), "{name}");
    }
}

#[test]
fn a_later_form_and_what_belongs_to_no_backup_are_refused_by_name() {
    let bed = Bed::new();
    let sound = bed.write("plain", &[]);
    let mut later = sound.clone();
    (later.format, later.trimtab) = (FORMAT + 1, "9.9.9".into());
    write(&bed.path("later"), &later, bed.dir.path(), &[]).unwrap();
    let error = bed.read("later", &[]).unwrap_err().to_string();
    assert!(error.contains("9.9.9") && error.contains("install"), "{error}");
    let mut other = sound;
    other.parts[0].name = "passwd".into();
    std::fs::copy(bed.path("audit.db"), bed.path("passwd")).unwrap();
    write(&bed.path("other"), &other, bed.dir.path(), &[]).unwrap();
    let error = bed.read("other", &[]).unwrap_err().to_string();
    assert!(error.contains("passwd"), "{error}");
    let mut longer = std::fs::read(bed.path("plain")).unwrap();
    longer.truncate(longer.len() - 1_024);
    let mut more = tar::Builder::new(longer);
    archive::append(&mut more, "passwd", 1, &mut &b"x"[..]).unwrap();
    std::fs::write(bed.path("longer"), more.into_inner().unwrap()).unwrap();
    let error = bed.read("longer", &[]).unwrap_err().to_string();
    assert!(error.contains("does not name"), "{error}");
}
