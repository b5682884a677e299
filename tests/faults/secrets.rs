//! Secrets: a canary that is searched for everywhere, and identities that are missing, wrong or cut off.

use std::fs;
use std::path::Path;

use trimtab::secrets::SecretBytes;
use trimtab::secrets::digest::DigestKey;
use trimtab::secrets::identity::Identity;
use trimtab::secrets::recipient::Recipient;
use trimtab::secrets::seal::seal;

use crate::e2e::bed::Bed;
use crate::support::{PATIENCE, eventually_async};

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

fn assert_clean(bytes: &[u8], place: &str) {
    for needle in needles() {
        let found = bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{} in {place}", String::from_utf8_lossy(&needle));
    }
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
    ] {
        let output = bed.cli(args);
        assert_clean(&[output.stdout, output.stderr].concat(), &format!("{args:?}"));
    }
    for path in ["/api/v1/units", "/api/v1/plans", "/api/v1/events", "/api/v1/rollouts", "/metrics", "/v1/units"] {
        let client = trimtab::net::client::Client::new(bed.path("daemon.sock"));
        if let Ok(bytes) = client.bytes(http::Method::GET, path, None::<&()>).await {
            assert_clean(&bytes, path);
        }
    }
    assert_clean_processes();
    fs::remove_file(bed.path("identity.txt")).unwrap();
    assert_clean_below(&bed.path(""));
    // Nor when a supervisor has taken everything up again, and the daemon is gone.
    bed.kill_daemon();
    bed.kill_supervisor();
    bed.start_supervisor();
    eventually_async(PATIENCE, "the supervisor serves", async || bed.path("supervisor.sock").exists()).await;
    assert_clean_processes();
    assert_clean_below(&bed.path(""));
    drop(to);
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
