//! API servers that can't be reached or let nobody in: told at once, the root cause first, with the address and where it is from. These need
//! no cluster.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use trimtab::adapters::platform::kubernetes::{Connection, KubernetesPlatform};
use trimtab::domain::observed::Seen;
use trimtab::ports::platform::{Platform, Predict};

use super::adapter::{config, request};
use crate::support::{PATIENCE, eventually_async};

/// A kubeconfig with a token in it, which must be told nowhere.
fn kubeconfig(dir: &Path, server: &str, authority: &str) -> Connection {
    let file = dir.join("kubeconfig");
    let authority = BASE64_STANDARD.encode(authority);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: eu\n\
         clusters: [{{ name: c, cluster: {{ server: '{server}', certificate-authority-data: {authority} }} }}]\n\
         users: [{{ name: u, user: {{ token: hunter2-31337 }} }}]\n\
         contexts: [{{ name: eu, context: {{ cluster: c, user: u }} }}]\n"
    );
    std::fs::write(&file, text).unwrap();
    Connection { name: "far".into(), kubeconfig: Some(file), at_once: 4, ..Connection::default() }
}

/// A server that answers every request with one status and body.
async fn answering(status: &'static str, body: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = body.to_string();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 8192]).await;
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// A server with a certificate of its own; its address and the certificate.
async fn with_certificate(names: &[&str], over: bool) -> (String, String) {
    let mut wanted =
        rcgen::CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    if over {
        wanted.not_before = rcgen::date_time_ymd(2001, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let made = wanted.self_signed(&key).unwrap();
    let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![made.der().clone()], private).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    (format!("https://127.0.0.1:{port}"), made.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_cluster_can_t_be_seen_is_told_with_its_address_and_what_to_look_at() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port())
    };
    let (other, own) = (with_certificate(&["127.0.0.1"], false).await.1, with_certificate(&["127.0.0.1"], false).await);
    let (over, elsewhere) =
        (with_certificate(&["127.0.0.1"], true).await, with_certificate(&["example.com"], false).await);
    let status = |code: u16, reason: &str, message: &str| json!({ "kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message });
    let unknown = answering("401 Unauthorized", status(401, "Unauthorized", "Unauthorized")).await;
    let words = "configmaps is forbidden: User \"dave\" cannot list resource \"configmaps\" in API group \"\" at the cluster scope";
    let forbidden = answering("403 Forbidden", status(403, "Forbidden", words)).await;
    for (server, authority, cause, hint) in [
        (&closed, &other, "connection refused by", "see that the API server runs"),
        (&"https://nowhere.invalid:6443".to_owned(), &other, "no address is known for nowhere.invalid", "DNS"),
        (&own.0, &other, "the certificate of", "`certificate-authority`"),
        (&over.0, &over.1, "the certificate of", "has expired"),
        (&elsewhere.0, &elsewhere.1, "the certificate of", "is not for 127.0.0.1"),
        (
            &unknown,
            &other,
            "http://127.0.0.1",
            "does not accept the daemon's credentials (401 Unauthorized): renew those of context eu",
        ),
        (&forbidden, &other, "configmaps is forbidden: User \"dave\"", "Role"),
    ] {
        let dir = tempfile::Builder::new().prefix("trimtab-unreached-").tempdir().unwrap();
        let platform = KubernetesPlatform::new(kubeconfig(dir.path(), server, authority), "test");
        let wanted = request("web", "1", "shop", json!([config("a", "1")]));
        let told = eventually_async(PATIENCE, "it is told why", || async {
            match platform.observe(&wanted.desired.unit).await {
                Seen::Unknown(reason) if reason.contains(hint) => Ok(reason),
                other => Err(format!("{server}: {other:?}")),
            }
        })
        .await;
        assert!(told.starts_with(&format!("cluster far can't be seen: {cause}")), "{told}");
        assert!(!told.contains("hunter2") && !told.contains('\n'), "{told}");
        let ask = Predict { desired: &wanted.desired, before: None, restarts: 0 };
        let predicted = platform.predict(ask).await.unpredictable.expect("nothing can be told");
        assert!(predicted.starts_with(&format!("cluster far can't be reached: {cause}")), "{predicted}");
    }
}
