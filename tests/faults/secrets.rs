//! Secrets: a canary that is searched for everywhere, and identities that are missing, wrong or cut off.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use trimtab::secrets::SecretBytes;
use trimtab::secrets::digest::DigestKey;
use trimtab::secrets::identity::Identity;
use trimtab::secrets::recipient::Recipient;
use trimtab::secrets::seal::seal;

use crate::e2e::bed::Bed;
use crate::support::{PATIENCE, Running, eventually_async, free_port};

const UNIT: &str = "keeper/dev/default";
const CANARIES: [&str; 4] =
    ["c4nary-in-a-variable/+?", "c4nary in a \"file\" &ok", "c4nary-in-a-credential=", "c4nary-in-a-hook-xyz"];

/// An app that proves that it has its secrets by their hashes, and says them aloud in several forms.
const SCRIPT: &str = r#"
{ printf %s "$TOKEN" | sha256sum; sha256sum < config/key.pem; sha256sum < "$CREDENTIALS_DIRECTORY/api"; } > got
echo "clear: $TOKEN $(cat config/key.pem)"; printf %s "user:$TOKEN" | base64 -w0; echo; cat "$CREDENTIALS_DIRECTORY/api" >&2; echo >&2
exec sleep 100000
"#;

fn sealed(value: &str, to: &Recipient) -> String {
    let bytes = seal(&SecretBytes::from(value), std::slice::from_ref(to), true).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}\n")).collect()
}

fn app(inline: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: keeper }}\nspec:\n  workload:\n    process:\n      command:\n        - /bin/sh\n        - -c\n        - |\n{}\n      port: false\n  \
         secrets:\n    TOKEN: {{ file: /secrets/token.age }}\n    key: {{ file: /secrets/key.age, as: {{ file: config/key.pem }} }}\n    api:\n      as: credential\n      value: |\n{}\n  \
         hooks: {{ before: [ {{ script: says, idempotent: true, onRollback: nothing }} ] }}\n  rollback: {{ window: 300ms }}\n",
        SCRIPT.lines().map(|line| format!("          {line}\n")).collect::<String>(),
        indented(inline),
    )
}

fn hook(exit: u32) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Script\nmetadata: {{ name: says }}\nspec:\n  secrets: {{ HOOK: {{ file: /secrets/hook.age }} }}\n  run: |\n    echo \"the hook says $HOOK\"; printf %s \"$HOOK\" | base64; exit {exit}\n"
    )
}

fn release(version: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: keeper, environment: dev }}\nspec: {{ version: {version} }}\n"
    )
}

const ENVIRONMENT: &str =
    "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: dev }\nspec: { platform: { host: {} } }\n";

/// An installation whose repository has the four secrets for one identity; nothing runs yet.
fn bed() -> (Bed, Recipient, String) {
    let identity = Identity::X25519(Box::new(age::x25519::Identity::generate()));
    let to = identity.recipient().unwrap();
    let key =
        String::from_utf8(seal(&DigestKey::generate().to_text(), std::slice::from_ref(&to), true).unwrap()).unwrap();
    let [token, file, credential, of_hook] = CANARIES;
    let files = [
        ("env.yaml", ENVIRONMENT.to_owned()),
        ("app.yaml", app(&sealed(credential, &to))),
        ("hook.yaml", hook(0)),
        ("release.yaml", release("1.0.0")),
        (".age-recipients", format!("{to}\n")),
        (".trimtab/digest-key.age", key),
        ("secrets/token.age", sealed(token, &to)),
        ("secrets/key.age", sealed(file, &to)),
        ("secrets/hook.age", sealed(of_hook, &to)),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let bed = Bed::new(&files);
    let config = fs::read_to_string(bed.config()).unwrap();
    fs::write(bed.config(), format!("{config}[secrets]\nidentity_files = ['identity.txt']\n")).unwrap();
    (bed, to, identity.to_text().unwrap().to_string())
}

/// A canary in each form in which it may be hidden.
fn needles() -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let mut all = Vec::new();
    for canary in CANARIES {
        all.push(canary.as_bytes().to_vec());
        all.push(hex::encode(canary).into_bytes());
        let url: String =
            canary
                .bytes()
                .map(|b| {
                    if b.is_ascii_alphanumeric() || b == b'-' { char::from(b).to_string() } else { format!("%{b:02X}") }
                })
                .collect();
        all.push(url.into_bytes());
        all.push(serde_json::to_string(canary).unwrap().trim_matches('"').as_bytes().to_vec());
        for shift in 0..3 {
            let text = base64::prelude::BASE64_STANDARD.encode([&b"xyz"[..shift], canary.as_bytes()].concat());
            all.push(text.as_bytes()[4..text.len() - 4].to_vec());
        }
    }
    all
}

/// The first canary in some bytes.
fn canary(bytes: &[u8]) -> Option<String> {
    static ALL: LazyLock<AhoCorasick> = LazyLock::new(|| AhoCorasick::new(needles()).unwrap());
    ALL.find(bytes).map(|found| String::from_utf8_lossy(&bytes[found.range()]).into_owned())
}

#[track_caller]
fn assert_clean(bytes: &[u8], place: &str) {
    if let Some(found) = canary(bytes) {
        panic!("{found} in {place}");
    }
}

/// The first canary in the memory of a process; what can't be read can't be read by others either.
fn canary_in_memory(pid: u32) -> Option<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return None };
    for map in maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
        let Some((from, to)) = map.split(' ').next().and_then(|range| range.split_once('-')) else { continue };
        let [mut at, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut buffer = vec![0; 1 << 20];
        while at < to {
            let read = memory.read_at(&mut buffer, at).unwrap_or(0);
            let part = &buffer[..read.min(usize::try_from(to - at).unwrap_or(read))];
            if let Some(found) = canary(part) {
                return Some(found);
            }
            // Parts overlap by more than a needle.
            at += if read < buffer.len() { read.max(4_096) as u64 } else { (read - 256) as u64 };
        }
    }
    None
}

fn assert_clean_below(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            assert_clean_below(&entry.path());
        } else if kind.is_file()
            && let Ok(bytes) = fs::read(entry.path())
        {
            assert_clean(&bytes, &entry.path().display().to_string());
        }
    }
}

/// Environment and command line of every process but the apps' own.
fn assert_clean_processes() {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        assert_clean(&read("cmdline"), &format!("{:?}/cmdline", entry.path()));
        let environ = read("environ");
        if !environ.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"TRIMTAB_UNIT=")) {
            assert_clean(&environ, &format!("{:?}/environ", entry.path()));
        }
    }
}

/// The stream of all events, up to one of a kind.
fn streamed(bed: &Bed, kind: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(bed.path("daemon.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        "GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nlast-event-id: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let (mut text, mut part) = (Vec::new(), [0; 4_096]);
    while !String::from_utf8_lossy(&text).contains(kind) {
        let read = stream.read(&mut part).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
        assert!(read > 0, "the stream ended: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..read]);
    }
    text
}

/// What the app wrote about what it got.
fn got(bed: &Bed) -> Option<String> {
    fn find(folder: &Path) -> Option<String> {
        fs::read_dir(folder).ok()?.flatten().find_map(|entry| match entry.file_type().ok()? {
            kind if kind.is_dir() => find(&entry.path()),
            _ if entry.file_name() == "got" => {
                fs::read_to_string(entry.path()).ok().filter(|text| text.lines().count() == 3)
            }
            _ => None,
        })
    }
    find(&bed.path("state/supervisor/groups"))
}

#[tokio::test]
async fn fault_31_a_canary_is_nowhere_but_in_its_own_app() {
    use sha2::Digest as _;
    let (bed, to, identity) = bed();
    fs::write(bed.path("identity.txt"), &identity).unwrap();
    let mut bed = bed.start();
    bed.verified(UNIT, "1.0.0").await;
    let hashes = eventually_async(PATIENCE, "the app has its secrets", async || got(&bed)).await;
    for canary in &CANARIES[..3] {
        assert!(hashes.contains(&hex::encode(sha2::Sha256::digest(canary))), "{canary} did not arrive: {hashes}");
    }
    let logs = eventually_async(PATIENCE, "the app's words are there", async || {
        let logs = String::from_utf8_lossy(&bed.cli(&["logs", "keeper"]).stdout).into_owned();
        if logs.contains("clear: [secret] [secret]") && logs.contains("stderr") || logs.matches("[secret]").count() >= 4
        {
            Ok(logs)
        } else {
            Err(logs)
        }
    })
    .await;
    assert_clean(logs.as_bytes(), "the logs");
    // A release whose hook fails with a secret on its lips is taken back.
    bed.push("a bad one", &[("hook.yaml", &hook(1)), ("release.yaml", &release("2.0.0"))]);
    bed.wait(UNIT, "the bad one is taken back", |status| {
        status.rollback.is_some()
            || status.message.contains("rolled back")
            || format!("{status:?}").contains("uarantine")
    })
    .await;
    for args in [
        &["status", "keeper", "-o", "json"][..],
        &["status"],
        &["why", "keeper"],
        &["plan"],
        &["diff"],
        &["rollout", "history", "keeper", "-o", "json"],
        &["quarantine", "list", "-o", "json"],
        &["logs", "keeper", "-o", "json"],
        &["check"],
        &["audit", "export"],
        &["events", "-o", "json"],
        &["backup", "backup.tar", "--config", "trimtab.toml"],
    ] {
        let output = bed.cli(args);
        assert!(matches!(output.status.code(), Some(0 | 1 | 4)), "{args:?}: {output:?}");
        assert_clean(&[output.stdout, output.stderr].concat(), &format!("{args:?}"));
    }
    let backup = fs::read(bed.path("backup.tar")).unwrap();
    assert!(backup.windows(7).any(|window| window == b".sealed"), "ciphertexts are in the backup");
    for path in [
        "/api/v1/units",
        "/api/v1/plans",
        "/api/v1/rollouts",
        "/api/v1/audit",
        "/api/v1/events?limit=1000",
        "/api/v1/openapi.json",
        "/metrics",
    ] {
        let client = trimtab::net::client::Client::new(bed.path("daemon.sock"));
        let bytes = client.bytes(http::Method::GET, path, None::<&()>).await.unwrap();
        assert_clean(&bytes, path);
    }
    assert_clean(&streamed(&bed, "quarantined"), "the stream of events");
    let planted = std::hint::black_box(CANARIES[0].to_owned());
    assert!(canary_in_memory(std::process::id()).is_some(), "the search finds one where it is");
    drop(planted);
    assert_eq!(canary_in_memory(bed.router_pid()), None, "in the router's memory");
    assert_clean_processes();
    fs::remove_file(bed.path("identity.txt")).unwrap();
    assert_clean_below(&bed.path(""));
    // Nor when they crash, nor when a supervisor has taken everything up again, and the daemon is gone.
    let ended = bed.crash();
    let core = Running::spawn(Command::new("sleep").arg("1000").current_dir(bed.path(""))).crash().core_dumped();
    println!("this machine writes core files: {core}");
    assert!(ended.iter().all(|ended| ended.signal() == Some(6) && !ended.core_dumped()), "a core file: {ended:?}");
    bed.start_supervisor();
    eventually_async(PATIENCE, "the supervisor serves", async || bed.path("supervisor.sock").exists()).await;
    assert_clean_processes();
    assert_clean_below(&bed.path(""));
    // With the state lost, audit log and ciphertexts come back with the backup.
    let kept = |bed: &Bed| {
        let entries = fs::read_dir(bed.path("state/daemon/secrets")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".sealed")).collect::<BTreeSet<_>>()
    };
    let before = kept(&bed);
    fs::remove_dir_all(bed.path("state/daemon")).unwrap();
    let restored = bed.cli(&["restore", "backup.tar", "--config", "trimtab.toml"]);
    assert!(restored.status.success(), "{restored:?}");
    let after = kept(&bed);
    assert!(!after.is_empty() && after.is_subset(&before), "{before:?} {after:?}");
    let verified = bed.cli(&["audit", "verify", "--state-dir", "state/daemon"]);
    assert!(verified.status.success(), "{verified:?}");
    let audit = String::from_utf8(bed.cli(&["audit", "export", "--state-dir", "state/daemon"]).stdout).unwrap();
    assert!(audit.contains("\"quarantine\"") && audit.contains("\"restore\""), "{audit}");
    assert_clean_below(&bed.path(""));
    drop(to);
}

#[tokio::test]
async fn credentials_of_systemd_are_identity_token_and_key() {
    const TOKEN: &str = "a token for the tests 0123456789";
    let (mut bed, _, identity) = bed();
    let port = free_port();
    bed.configure("[secrets]\nidentity_files = ['identity.txt']\n", "");
    let listen = format!(
        "[api]\nlisten = '127.0.0.1:{port}'\ntokens = [{{ name = 'ci', role = 'read', credential = 'api-ci' }}]\n"
    );
    bed.configure("[api]\n", &listen);
    for (file, content) in [
        ("daemon/trimtab-identity", identity.as_str()),
        ("daemon/api-ci", TOKEN),
        ("supervisor/trimtab-supervisor-key", &"07".repeat(32)),
    ] {
        let path = bed.path("credentials").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    bed = bed.start();
    bed.verified(UNIT, "1.0.0").await;
    eventually_async(PATIENCE, "the app has its secrets", async || got(&bed)).await;
    assert!(!bed.path("state/supervisor/secrets.key").exists(), "the supervisor has a key of its own making");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (token, status) in [(TOKEN, 200), ("another token for the tests 0123", 401)] {
        let request = client.get(format!("http://127.0.0.1:{port}/api/v1/units")).bearer_auth(token);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
    // What the key has sealed is read again under it.
    bed.kill_supervisor();
    bed.start_supervisor();
    bed.push("second", &[("release.yaml", &release("1.1.0"))]);
    bed.verified(UNIT, "1.1.0").await;
}

#[tokio::test]
async fn fault_39_without_its_identity_nothing_is_applied_and_who_is_expected_is_told() {
    let (mut bed, to, identity) = bed();
    let stranger = Identity::X25519(Box::new(age::x25519::Identity::generate())).to_text().unwrap().to_string();
    bed.start_supervisor();
    bed.start_router();
    let cases = [
        (None, "can't be read"),
        (Some(stranger), "none of the identities here"),
        (Some(identity[..40].to_owned()), "cut off"),
        (Some("age-encryption.org/v1\n-> scrypt x 18\n".to_owned()), "passphrase"),
    ];
    for (content, word) in cases {
        match &content {
            Some(content) => fs::write(bed.path("identity.txt"), content).unwrap(),
            None => drop(fs::remove_file(bed.path("identity.txt"))),
        }
        bed.start_daemon();
        let told = eventually_async(PATIENCE, "it says what is missing", async || {
            let errors = bed.api().daemon().await.map(|daemon| daemon.document_errors.join("\n")).unwrap_or_default();
            let log = fs::read_to_string(bed.path("daemon.log")).unwrap_or_default();
            if errors.contains(".age") && (errors.contains(word) || log.contains(word)) {
                Ok(errors)
            } else {
                Err(format!("{errors}\n{log}"))
            }
        })
        .await;
        assert!(told.contains(&to.to_string()), "the expected recipient is not told: {told}");
        assert_clean(told.as_bytes(), "the errors");
        assert!(!told.contains(&identity[..30]), "an identity is told");
        bed.kill_daemon();
    }
    assert!(!bed.path("state/supervisor/groups").join("x").exists() && got(&bed).is_none(), "something was applied");
    // With the right one everything goes on by itself.
    fs::write(bed.path("identity.txt"), &identity).unwrap();
    bed.start_daemon();
    let first = bed.verified(UNIT, "1.0.0").await;
    // Encrypted anew the value is the same: nothing rolls. A changed one rolls.
    let token = sealed(CANARIES[0], &to);
    let anew = bed.push("encrypted anew", &[("secrets/token.age", &token)]);
    bed.has_read(&anew).await;
    let history = async |bed: &Bed| bed.api().history(&UNIT.parse().unwrap(), 20).await.unwrap().len();
    assert_eq!(history(&bed).await, 1, "a rotation has rolled out something: {first:?}");
    bed.push("changed", &[("secrets/token.age", &sealed("another-value-now", &to))]);
    eventually_async(PATIENCE, "the changed secret rolls out", async || history(&bed).await == 2).await;
    bed.verified(UNIT, "1.0.0").await;
}
