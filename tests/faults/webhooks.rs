//! Webhooks: forged, replayed, malformed, too many, too large, too slow.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trimtab::api::types::UnitHealth;

use crate::api::bed::{READER, SECRET, Served, daemon, whole};
use crate::e2e::documents::UNIT;
use crate::support::{PATIENCE, eventually_async};

/// Hooks of all forges, and a source that nobody polls during a test.
fn hooks(rate: u32) -> String {
    let mut config = format!("[hooks]\nrate = {rate}\n");
    for provider in ["github", "gitlab", "gitea", "bitbucket"] {
        config.push_str(&format!(
            "[[hooks.from]]\nprovider = '{provider}'\nsecrets = [{{ file = 'older' }}, {{ file = 'secret' }}]\n"
        ));
    }
    config
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// A delivery of GitHub, well signed; the answer's status.
async fn deliver(served: &Served, id: &str, body: &str) -> u16 {
    send(served, "github", &[("x-github-event", "push"), ("x-github-delivery", id)], body).await
}

async fn send(served: &Served, provider: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let sum = signature(body.as_bytes());
    let signed = match provider {
        "github" => ("x-hub-signature-256", format!("sha256={sum}")),
        "gitlab" => ("x-gitlab-token", SECRET.to_owned()),
        "gitea" => ("x-gitea-signature", sum),
        _ => ("x-hub-signature", format!("sha256={sum}")),
    };
    let mut request = served.request(reqwest::Method::POST, &format!("/hooks/{provider}/config"));
    request = request.header("content-type", "application/json").header(signed.0, signed.1);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned()).send().await.unwrap().status().as_u16()
}

async fn counted(served: &Served, outcome: &str) -> u64 {
    let text = served.get("/metrics").bearer_auth(READER).send().await.unwrap().text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with("trimtab_webhook_deliveries_total"));
    let found = lines.filter(|line| line.contains(&format!("outcome=\"{outcome}\"")));
    found.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

async fn fetches(served: &Served) -> u64 {
    let text = served.get("/metrics").bearer_auth(READER).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("trimtab_source_fetches_total{outcome=\"ok\"}"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

const PUSH: &str = "{\"ref\":\"refs/heads/main\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_25_a_forged_signature_does_nothing_and_is_counted() {
    let served = daemon(&hooks(1_000)).await;
    eventually_async(PATIENCE, "the source was read", async || fetches(&served).await > 0).await;
    let before = fetches(&served).await;
    let post = |header: Option<(&'static str, String)>| {
        let request = served.request(reqwest::Method::POST, "/hooks/github/config");
        let request = request.header("content-type", "application/json").header("x-github-event", "push");
        let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        request.body(PUSH).send()
    };
    let good = signature(PUSH.as_bytes());
    let forged = [
        None,
        Some(("x-hub-signature-256", String::new())),
        Some(("x-hub-signature-256", "sha256=".into())),
        Some(("x-hub-signature-256", good.clone())),
        Some(("x-hub-signature-256", format!("sha256={}", signature(b"something else")))),
        Some(("x-hub-signature", format!("sha256={good}"))),
        Some(("x-gitea-signature", good)),
    ];
    let count = forged.len() as u64;
    for header in forged {
        let answer = post(header.clone()).await.unwrap();
        assert_eq!(answer.status(), 401, "{header:?}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("refs/heads"), "nothing of what was sent comes back: {text}");
    }
    assert_eq!(counted(&served, "forged").await, count);
    assert_eq!(counted(&served, "accepted").await, 0);
    assert_eq!(fetches(&served).await, before, "no work was done");
    assert_eq!(send(&served, "unknown", &[], PUSH).await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_26_a_replayed_delivery_rolls_nothing_out_again() {
    let mut served = whole(&hooks(1_000)).await;
    served.bed.verified(UNIT, "1.0.0").await;
    served.push("second", "1.1.0");
    assert_eq!(deliver(&served, "delivery-1", PUSH).await, 202);
    served.bed.verified(UNIT, "1.1.0").await;
    let rollouts = served.read("/api/v1/rollouts").await["items"].as_array().unwrap().len();
    for _ in 0..5 {
        assert_eq!(deliver(&served, "delivery-1", PUSH).await, 202);
    }
    assert_eq!(counted(&served, "replayed").await, 5);
    assert_eq!(counted(&served, "accepted").await, 1);
    served.bed.kill_daemon();
    served.bed.start_daemon();
    served.answers().await;
    assert_eq!(deliver(&served, "delivery-1", PUSH).await, 202);
    assert_eq!(counted(&served, "replayed").await, 1, "it is remembered over a restart");
    let status = served.bed.verified(UNIT, "1.1.0").await;
    assert_eq!(status.health, UnitHealth::InSync);
    assert_eq!(served.read("/api/v1/rollouts").await["items"].as_array().unwrap().len(), rollouts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_27_what_is_no_event_is_refused_though_it_is_well_signed() {
    let served = daemon(&hooks(1_000)).await;
    let deep = "[".repeat(100_000);
    let odd =
        ["", "{", "nul", "\u{0}", deep.as_str(), "[]", "1", "{\"ref\":{\"ref\":[]}}", "{\"push\":{\"changes\":1}}"];
    for body in odd {
        for (provider, event) in [
            ("github", ("x-github-event", "push")),
            ("gitlab", ("x-gitlab-event", "Push Hook")),
            ("gitea", ("x-gitea-event", "push")),
            ("bitbucket", ("x-event-key", "repo:push")),
        ] {
            let status = send(&served, provider, &[event], body).await;
            assert!(
                (400..500).contains(&status),
                "{provider}: {} is answered with {status}",
                &body[..body.len().min(30)]
            );
        }
    }
    assert!(served.get("/healthz").send().await.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_28_a_flood_of_large_and_slow_requests_disturbs_nothing() {
    let served = whole(&hooks(60)).await;
    served.bed.verified(UNIT, "1.0.0").await;
    // Slow ones: a head and a body that never end.
    let address = served.base.trim_start_matches("http://").to_owned();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut head = TcpStream::connect(&address).await.unwrap();
        head.write_all(b"POST /hooks/github/config HTTP/1.1\r\nhost: x\r\n").await.unwrap();
        slow.push(head);
    }
    let mut body = TcpStream::connect(&address).await.unwrap();
    let begin = "POST /hooks/github/config HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    body.write_all(begin.as_bytes()).await.unwrap();
    // Large ones.
    let said = format!(
        "POST /hooks/gitlab/config HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        4 << 20
    );
    assert_eq!(raw(&address, said.as_bytes()).await, 413);
    let mut chunked = b"POST /hooks/gitlab/config HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    chunked.extend(format!("{:x}\r\n", (3 << 20) + 1).into_bytes());
    chunked.extend(vec![b' '; (3 << 20) + 1]);
    assert_eq!(raw(&address, &chunked).await, 413);
    let head = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(300 << 10));
    assert_eq!(raw(&address, head.as_bytes()).await, 431);
    // Many; and a rollout goes on meanwhile, by the poll and the Unix socket.
    served.push("second", "1.1.0");
    let (mut limited, mut taken) = (0, 0);
    for number in 0..120 {
        let request = served.request(reqwest::Method::POST, "/hooks/gitea/config");
        let request =
            request.header("content-type", "application/json").header("x-gitea-signature", signature(PUSH.as_bytes()));
        let answer = request.header("x-gitea-event", "push").header("x-gitea-delivery", format!("{number}")).body(PUSH);
        let answer = answer.send().await.unwrap();
        match answer.status().as_u16() {
            429 => {
                limited += 1;
                let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=60).contains(&seconds));
            }
            202 => taken += 1,
            other => panic!("{other}"),
        }
    }
    assert!(limited > 60 && taken >= 20, "{limited} limited, {taken} taken");
    served.bed.verified(UNIT, "1.1.0").await;
    // The slow ones are told so in the end.
    for mut head in slow {
        assert_eq!(status(&mut head).await, 408);
    }
    assert_eq!(status(&mut body).await, 408);
    assert_eq!(counted(&served, "too_slow").await, 1);
}

async fn raw(address: &str, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The answer may come, and the connection be closed, before everything is sent.
    let _ = stream.write_all(bytes).await;
    status(&mut stream).await
}

async fn status(stream: &mut TcpStream) -> u16 {
    let mut answer = vec![0; 256];
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut answer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&answer[..read]).into_owned();
    text.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {text:?}")).parse().unwrap()
}

/// The forges' own payloads: a push to the branch is due, everything else is good and ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forges_own_payloads_are_understood() {
    let served = daemon(&hooks(1_000)).await;
    let cases: [(&str, &str, &str, &str); 9] = [
        ("github", "x-github-event", "push", include_str!("../api/payloads/github-push.json")),
        ("github", "x-github-event", "pull_request", include_str!("../api/payloads/github-pull_request.json")),
        ("github", "x-github-event", "ping", include_str!("../api/payloads/github-ping.json")),
        ("gitlab", "x-gitlab-event", "Push Hook", include_str!("../api/payloads/gitlab-push.json")),
        ("gitlab", "x-gitlab-event", "Merge Request Hook", include_str!("../api/payloads/gitlab-merge-request.json")),
        ("gitea", "x-gitea-event", "push", include_str!("../api/payloads/gitea-push.json")),
        ("gitea", "x-gitea-event", "pull_request", include_str!("../api/payloads/gitea-pull-request.json")),
        ("bitbucket", "x-event-key", "repo:push", include_str!("../api/payloads/bitbucket-push.json")),
        (
            "bitbucket",
            "x-event-key",
            "pullrequest:created",
            include_str!("../api/payloads/bitbucket-pull-request.json"),
        ),
    ];
    for (provider, header, event, body) in cases {
        assert_eq!(send(&served, provider, &[(header, event)], body).await, 202, "{provider} {event}");
        // The examples are about other branches than the one that is followed here; the same push to it is due.
        let before = counted(&served, "accepted").await;
        let here = body.replace("refs/heads/master", "refs/heads/main").replace("\"name-of-branch\"", "\"main\"");
        assert_eq!(send(&served, provider, &[(header, event)], &here).await, 202, "{provider} {event}");
        let due = u64::from(event.contains("ush"));
        assert_eq!(counted(&served, "accepted").await - before, due, "{provider} {event}");
    }
}
