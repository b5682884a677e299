//! `trimtab secrets`, and what the other offline verbs show of secrets.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::support::trimtab;

const VALUE: &str = "hunter2-of-the-verbs";

fn run(dir: &Path, args: &[&str], input: &str, env: &[(&str, &str)]) -> Output {
    let mut command = trimtab();
    command.args(args).current_dir(dir).env_remove("TRIMTAB_IDENTITY").env("NO_COLOR", "1").envs(env.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that needs no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn ok(dir: &Path, args: &[&str], input: &str) -> String {
    let output = run(dir, args, input, &[]);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_secret_is_made_read_edited_and_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    ok(at, &["init"], "");
    assert!(fs::read_to_string(at.join(".gitignore")).unwrap().contains("/identity.txt"));
    let file = at.join("secrets/token.age");
    ok(at, &["secrets", "encrypt", "-f", "secrets/token.age"], VALUE);
    let first = fs::read(&file).unwrap();
    assert!(first.starts_with(b"-----BEGIN AGE"));
    assert_eq!(ok(at, &["secrets", "decrypt", "secrets/token.age"], ""), VALUE);
    // An editor that changes nothing leaves the file to the byte; one that does encrypts anew.
    let edit = |editor: &str| run(at, &["secrets", "edit", "secrets/token.age"], "", &[("VISUAL", editor)]);
    assert!(edit("true").status.success());
    assert_eq!(fs::read(&file).unwrap(), first);
    assert!(!edit("false").status.success());
    assert_eq!(fs::read(&file).unwrap(), first);
    let told = edit("sed -i s/verbs/editor/");
    assert!(told.status.success() && !shown(&told).contains("hunter2"), "{}", shown(&told));
    assert_eq!(ok(at, &["secrets", "decrypt", "secrets/token.age"], ""), "hunter2-of-the-editor");
    // Another recipient, and everything is encrypted anew.
    let recipient = ok(at, &["secrets", "keygen", "-f", "../other.identity"], "");
    let other = at.parent().unwrap().join("other.identity");
    let _removed = Removed(&other);
    let path = other.to_str().unwrap();
    let refused = run(at, &["secrets", "decrypt", "-i", path, "secrets/token.age"], "", &[]);
    assert_eq!(refused.status.code(), Some(5), "{}", shown(&refused));
    let listed = fs::read_to_string(at.join(".age-recipients")).unwrap();
    fs::write(at.join(".age-recipients"), format!("{listed}{recipient}")).unwrap();
    let told = ok(at, &["secrets", "rotate"], "");
    assert!(told.contains("secrets/token.age") && told.contains(".trimtab/digest-key.age"), "{told}");
    assert_eq!(ok(at, &["secrets", "decrypt", "-i", path, "secrets/token.age"], ""), "hunter2-of-the-editor");
    assert!(ok(at, &["secrets", "check"], "").contains("readable secrets/token.age"));
}

struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

#[test]
fn what_nobody_can_read_and_what_is_not_encrypted_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    ok(at, &["init"], "");
    ok(at, &["secrets", "encrypt", "-f", "secrets/token.age"], VALUE);
    let whole = fs::read(at.join("secrets/token.age")).unwrap();
    fs::write(at.join("secrets/cut.age"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at.join("secrets/clear.age"), VALUE).unwrap();
    let output = run(at, &["secrets", "check"], "", &[]);
    let text = shown(&output);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("secrets/cut.age") && text.contains("damaged") && text.contains("not encrypted"), "{text}");
    assert!(text.contains("expected: age1") && !text.contains("hunter2"), "{text}");
}

const APP: &str = "apiVersion: trimtab/v1\nkind: App\nmetadata: { name: hello }\nspec:\n  workload: { process: { command: [sleep, \"1\"], port: false } }\n  secrets:\n    TOKEN: { file: /secrets/token.age }\n";

#[test]
fn offline_a_secret_is_a_name_and_a_digest_or_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    ok(at, &["init"], "");
    ok(at, &["secrets", "encrypt", "-f", "secrets/token.age"], VALUE);
    fs::write(at.join("apps/hello.yaml"), APP).unwrap();
    ok(at, &["validate"], "");
    let explained = ok(at, &["render", "hello", "--explain"], "");
    assert!(explained.contains("secret TOKEN (digest ") && !explained.contains("unknown"), "{explained}");
    assert!(!ok(at, &["render", "hello"], "").contains("hunter2"));
    fs::rename(at.join("identity.txt"), at.join("elsewhere.txt")).unwrap();
    ok(at, &["validate"], "");
    let explained = ok(at, &["render", "hello", "--explain"], "");
    assert!(explained.contains("digest unknown"), "{explained}");
    // What is wrong whoever looks is told all the same.
    fs::write(at.join("secrets/token.age"), VALUE).unwrap();
    let output = run(at, &["validate"], "", &[]);
    let text = shown(&output);
    assert!(!output.status.success() && text.contains("secrets/token.age") && !text.contains("hunter2"), "{text}");
}
