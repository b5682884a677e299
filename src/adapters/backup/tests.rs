use super::*;

fn manifest(journal: &Path) -> Manifest {
    let (size, sha256) = sum(journal).unwrap();
    Manifest {
        format: FORMAT,
        trimtab: "0.0.0".into(),
        installation: "test".into(),
        created: Timestamp::UNIX_EPOCH,
        records: 3,
        size,
        sha256,
        artifacts: vec!["tree-00".into()],
    }
}

struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("journal"), vec![7; 100_000]).unwrap();
        Bed { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, recipients: &[String]) -> Manifest {
        let manifest = manifest(&self.path("journal"));
        write(&self.path(name), &manifest, &self.path("journal"), recipients).unwrap();
        manifest
    }
}

#[test]
fn what_was_written_is_read() {
    let bed = Bed::new();
    let manifest = bed.write("backup", &[]);
    assert_eq!(read(&bed.path("backup"), &[], &bed.path("out")).unwrap(), manifest);
    assert_eq!(std::fs::read(bed.path("out")).unwrap(), std::fs::read(bed.path("journal")).unwrap());
    let error = write(&bed.path("backup"), &manifest, &bed.path("journal"), &[]).unwrap_err();
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
    let manifest = bed.write("backup", &[mine.to_public().to_string()]);
    assert!(!std::fs::read(bed.path("backup")).unwrap().windows(7).any(|window| window == [7; 7]));
    for (identities, word) in [(vec![], "--identity"), (vec![bed.path("other")], "can't be decrypted")] {
        let error = read(&bed.path("backup"), &identities, &bed.path("out")).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(read(&bed.path("backup"), &[bed.path("mine")], &bed.path("out")).unwrap(), manifest);
    let error = write(&bed.path("x"), &manifest, &bed.path("journal"), &["age1nobody".into()]).unwrap_err();
    assert!(error.to_string().contains("age1nobody") && !bed.path("x").exists());
}

#[test]
fn any_flipped_bit_and_any_cut_is_found() {
    let bed = Bed::new();
    bed.write("backup", &[]);
    let whole = std::fs::read(bed.path("backup")).unwrap();
    let damaged = |name: &str, bytes: &[u8]| {
        std::fs::write(bed.path(name), bytes).unwrap();
        read(&bed.path(name), &[], &bed.path("out"))
    };
    for at in (0..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        match damaged("flipped", &flipped) {
            Err(_) => assert!(!bed.path("out").exists(), "{at}"),
            // Padding between the parts holds nothing.
            Ok(_) => {
                assert_eq!(std::fs::read(bed.path("out")).unwrap(), vec![7; 100_000], "{at}");
                std::fs::remove_file(bed.path("out")).unwrap();
            }
        }
        // Behind the journal's last byte there is only the archive's end.
        if at < 100_000 {
            assert!(damaged("cut", &whole[..at]).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn a_later_form_is_refused_by_name() {
    let bed = Bed::new();
    let mut manifest = manifest(&bed.path("journal"));
    (manifest.format, manifest.trimtab) = (FORMAT + 1, "9.9.9".into());
    write(&bed.path("backup"), &manifest, &bed.path("journal"), &[]).unwrap();
    let error = read(&bed.path("backup"), &[], &bed.path("out")).unwrap_err().to_string();
    assert!(error.contains("9.9.9") && error.contains("install"), "{error}");
}
