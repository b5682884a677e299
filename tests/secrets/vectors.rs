//! What the official tools wrote is read: age files of each kind of key, files of SOPS in each format and with each rule.

use trimtab::secrets::Identities;
use trimtab::secrets::file::Sealed;
use trimtab::secrets::find::from_file;
use trimtab::secrets::identity::IdentityError;
use trimtab::secrets::open::{OpenError, open};

use super::vector;

fn identity(name: &str) -> Identities {
    from_file(&vector(&format!("{name}.identity"))).unwrap()
}

fn sealed(name: &str, key: Option<&str>) -> Sealed {
    let bytes = std::fs::read(vector(name)).unwrap();
    Sealed { path: name.into(), key: key.map(str::to_owned), bytes: bytes.into() }
}

fn value(name: &str, key: Option<&str>, identity: &Identities) -> Result<String, OpenError> {
    open(&sealed(name, key), identity).map(|value| String::from_utf8_lossy(value.expose()).into_owned())
}

#[test]
fn every_kind_of_key_reads_its_own_files_and_no_others() {
    let kinds = ["x25519", "pq", "ssh", "rsa"];
    for file in kinds {
        for reader in kinds {
            let found = value(&format!("{file}.age"), None, &identity(reader));
            match file == reader {
                true => assert_eq!(found.unwrap(), format!("hunter2-{file}")),
                false => assert!(matches!(found, Err(OpenError::NotARecipient { .. })), "{file} {reader}: {found:?}"),
            }
        }
    }
    assert_eq!(value("x25519.bin.age", None, &identity("x25519")).unwrap(), "hunter2-x25519");
    assert_eq!(value("inner.env.age", Some("A"), &identity("x25519")).unwrap(), "hunter2-inner");
}

#[test]
fn a_key_behind_a_passphrase_is_refused_with_a_word() {
    let error = from_file(&vector("ssh-passphrase.identity")).unwrap_err();
    assert!(matches!(error, IdentityError::Passphrase { .. }));
    assert!(error.to_string().contains("nobody to ask"), "{error}");
}

#[test]
fn recipients_are_told_as_age_tells_them() {
    for kind in ["x25519", "pq"] {
        let text = std::fs::read_to_string(vector(&format!("{kind}.identity"))).unwrap();
        let told = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        let recipient = identity(kind).iter().next().unwrap().recipient().unwrap();
        assert_eq!(recipient.to_string(), told);
    }
}

#[test]
fn files_of_sops_are_read_in_every_format_and_by_every_rule() {
    let x25519 = identity("x25519");
    for (file, key, expected) in [
        ("sops.yaml", "database.url", "postgres://hunter2-yaml@db"),
        ("sops.yaml", "database.port", "5432"),
        ("sops.yaml", "database.on", "true"),
        ("sops.yaml", "database.empty", ""),
        ("sops.yaml", "list.0", "hunter2-item"),
        ("sops.yaml", "list.1.deep.x", "hunter2-deep"),
        ("sops.yaml", "name_unencrypted", "clear"),
        ("sops.json", "database.url", "hunter2-json"),
        ("sops.json", "list.1", "1"),
        ("sops.env", "DATABASE_URL", "hunter2-env"),
        ("sops.env", "MULTI", "a\nb"),
        ("sops.ini", "database.url", "hunter2-ini"),
        ("sops.ini", "other.x", "y=z"),
        ("mac.yaml", "database.url", "postgres://hunter2-yaml@db"),
        ("mac.yaml", "database.port", "5432"),
        ("regex.yaml", "database.url", "postgres://hunter2-yaml@db"),
        ("suffix.yaml", "database.url", "postgres://hunter2-yaml@db"),
        ("comment.yaml", "database.url", "hunter2-comment"),
        ("documents.yaml", "0.stringData.token", "hunter2-one"),
        ("documents.yaml", "1.data.level", "info"),
        ("documents.yaml", "2.stringData.user", "hunter2-user"),
    ] {
        assert_eq!(value(file, Some(key), &x25519).unwrap_or_else(|e| panic!("{file}: {e}")), expected, "{file} {key}");
    }
    assert_eq!(value("sops-pq.yaml", Some("a"), &identity("pq")).unwrap(), "hunter2-pq-sops");
    let binary = open(&sealed("sops.bin", None), &x25519).unwrap();
    assert_eq!(binary.expose(), b"\0\x01hunter2-binary");
}

#[test]
fn a_file_of_sops_that_was_changed_is_refused() {
    let x25519 = identity("x25519");
    let changed = |file: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(vector(file)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        let sealed = Sealed {
            path: file.into(),
            key: Some("database.url".into()),
            bytes: text.replace(from, to).into_bytes().into(),
        };
        open(&sealed, &x25519).unwrap_err().to_string()
    };
    // A value in clear, one that moves, one that goes.
    assert!(changed("sops.yaml", "name_unencrypted: clear", "name_unencrypted: other").contains("MAC"));
    assert!(changed("sops.yaml", "    ratio:", "    other:").contains("does not decrypt"));
    assert!(changed("sops.json", "\"clear_unencrypted\": 12", "\"clear_unencrypted\": 13").contains("MAC"));
    assert!(changed("sops.ini", "[other]", "[another]").contains("does not decrypt"));
    assert!(changed("mac.yaml", "mac_only_encrypted: true", "mac_only_encrypted: false").contains("MAC"));
    // With `mac_only_encrypted` what is in clear may change.
    let text = std::fs::read_to_string(vector("mac.yaml")).unwrap().replace("port: 5432", "port: 1");
    let free = Sealed { path: "mac.yaml".into(), key: Some("database.port".into()), bytes: text.into_bytes().into() };
    assert_eq!(open(&free, &x25519).unwrap().expose(), b"1");
}

#[test]
fn files_cut_anywhere_are_refused_without_a_panic_and_without_a_word_of_the_value() {
    let x25519 = identity("x25519");
    for (file, key) in [
        ("x25519.age", None),
        ("x25519.bin.age", None),
        ("sops.yaml", Some("database.url")),
        ("sops.env", Some("DATABASE_URL")),
    ] {
        let bytes = std::fs::read(vector(file)).unwrap();
        let step = bytes.len().div_ceil(40);
        for length in (0..bytes.len() - 4).step_by(step) {
            let cut = Sealed { path: file.into(), key: key.map(str::to_owned), bytes: bytes[..length].to_vec().into() };
            match open(&cut, &x25519) {
                Err(error) => assert!(!error.to_string().contains("hunter2"), "{error}"),
                // Of a file of SOPS only the last line, its version, may be missing without anything being lost.
                Ok(value) => {
                    assert!(
                        file.starts_with("sops.") && bytes[length..].len() < 40,
                        "{file} cut at {length} was taken"
                    );
                    assert_eq!(value, open(&sealed(file, key), &x25519).unwrap());
                }
            }
        }
    }
}
