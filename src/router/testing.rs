//! Values that the unit tests of the router share.

use crate::domain::digest::Digest;
use crate::domain::span::Span;
use crate::protocol::Markers;
use crate::protocol::router::{Backend, Endpoint, RouteConfig};

/// An endpoint on this machine.
pub fn endpoint(id: &str, port: u16) -> Endpoint {
    Endpoint { id: id.into(), address: ([127, 0, 0, 1], port).into() }
}

/// A route with one group of one endpoint.
pub fn route(key: &str) -> RouteConfig {
    RouteConfig {
        key: key.into(),
        markers: Markers {
            installation: "test".into(),
            unit: "hello/staging/default".parse().unwrap(),
            rendered: Digest::from_text("r1:00"),
            version: "1".into(),
        },
        listen: ([127, 0, 0, 1], 8080).into(),
        host: None,
        path: "/".into(),
        backends: vec![Backend {
            group: "v1".into(),
            weight: 1,
            endpoints: vec![endpoint("one", 1001)],
            testers: false,
        }],
        hold: None,
        sticky: None,
        probe: None,
        drain: Span::from_secs(1),
        timeout: Span::from_secs(1),
        tls: None,
        upstream: Default::default(),
        testers: Vec::new(),
    }
}

/// Writes a certificate of these hosts, valid for long, and its key; named `NAME.crt` and `NAME.key`.
pub fn certificate(dir: &std::path::Path, name: &str, hosts: &[&str]) -> crate::domain::tls::Certificate {
    use std::os::unix::fs::OpenOptionsExt;
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    let path = |kind: &str| dir.join(format!("{name}.{kind}"));
    std::fs::write(path("crt"), made.cert.pem()).unwrap();
    let mut key =
        std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path("key")).unwrap();
    std::io::Write::write_all(&mut key, made.signing_key.serialize_pem().as_bytes()).unwrap();
    let text = |kind: &str| path(kind).to_str().unwrap().to_owned();
    crate::domain::tls::Certificate { certificate: text("crt"), key: text("key") }
}
