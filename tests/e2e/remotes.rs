//! A daemon whose repository is reached over ssh and over https: pushes, rollouts, reverts, and clear words where it is
//! not let in.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use trimtab::api::types::UnitHealth;

use super::bed::{Bed, git};
use super::documents::{BROKEN, UNIT, app, environment, web};
use crate::git::http::{SECRET, Server};
use crate::git::ssh::Sshd;

fn bed() -> Bed {
    let (environment, app) = (environment("dev"), app("web", "rolling"));
    Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))])
}

/// A push arrives, and the revert of a bad one goes out.
async fn rolls_out_and_reverts(bed: &Bed) {
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    bed.wait(UNIT, "the revert is adopted", |status| {
        status.health == UnitHealth::InSync
            && status.rollback.is_none()
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.1.0")
    })
    .await;
    let log = bed.log();
    assert!(log.len() == 4 && log[0].contains("Roll back web in dev"), "{log:#?}");
}

/// What `check`, `status` and `why` tell of a source that lets nobody in.
async fn tells(bed: &Bed, words: &[&str], secrets: &[&str]) {
    let error = bed.source_error().await;
    let verbs: [&[&str]; 3] = [&["check"], &["status"], &["why", "web"]];
    for told in verbs.map(|verb| bed.told(verb)).into_iter().chain([error]) {
        assert!(words.iter().all(|word| told.contains(word)), "{words:?} in {told}");
        assert!(secrets.iter().all(|secret| !told.contains(secret)), "{told}");
    }
    assert_ne!(bed.cli(&["check"]).status.code(), Some(0));
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0", "what runs goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_ssh() {
    let bed = bed();
    std::fs::create_dir(bed.path("server")).unwrap();
    let Some(sshd) = Sshd::start(&bed.path("server")) else { return };
    let known = sshd.known_hosts("host");
    let settings = format!(
        "url = '{}'\nssh_key = '{}'\nknown_hosts = '{}'",
        sshd.url(&bed.repo()),
        sshd.dir.join("user").display(),
        known.display()
    );
    bed.configure("url = './repo.git'", &settings);
    let right = std::fs::read_to_string(&known).unwrap();
    let wrong = std::fs::read_to_string(sshd.known_hosts("stranger")).unwrap();
    // Before there is a daemon at all.
    std::fs::write(&known, &wrong).unwrap();
    let config = bed.config();
    let told = bed.told(&["check", "--config", config.to_str().unwrap()]);
    assert!(told.contains("the host key of") && told.contains("known by host"), "{told}");
    std::fs::write(&known, &right).unwrap();
    let bed = bed.start();
    rolls_out_and_reverts(&bed).await;

    std::fs::write(&known, &wrong).unwrap();
    tells(&bed, &["the host key of", "is not trusted"], &[]).await;
    std::fs::write(&known, &right).unwrap();
    bed.push("mended", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
}

/// A server for https in front of one for http, with a certificate of its own; its address and the certificate.
pub async fn https(http: String) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let inner = http.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, inner) = (acceptor.clone(), inner.clone());
            tokio::spawn(async move {
                // Who does not trust the certificate leaves.
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let Ok(mut inside) = TcpStream::connect(inner).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    (origin, made.cert.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_https_with_a_token() {
    let bed = bed();
    git(&bed.repo(), &["config", "http.receivepack", "true"]);
    let (_server, http) = Server::start(bed.path(""), None).await;
    let (origin, certificate) = https(http).await;
    let (token, trusted) = (bed.path("token"), bed.path("ca.pem"));
    std::fs::write(&token, SECRET).unwrap();
    let settings = format!("url = '{origin}/repo.git'\ntoken_file = 'token'");
    bed.configure("url = './repo.git'", &settings);
    let config = bed.config();
    let told = bed.told(&["check", "--config", config.to_str().unwrap()]);
    assert!(told.contains("certificate"), "{told}");
    std::fs::write(&trusted, certificate).unwrap();
    bed.configure("token_file = 'token'", "token_file = 'token'\nca_file = 'ca.pem'");
    let bed = bed.start();
    rolls_out_and_reverts(&bed).await;

    std::fs::write(&token, "another-s3cret").unwrap();
    tells(&bed, &["check the token"], &["another-s3cret", SECRET]).await;
    std::fs::write(&token, SECRET).unwrap();
    bed.push("mended", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
}
