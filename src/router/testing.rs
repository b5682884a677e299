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
        backends: vec![Backend { group: "v1".into(), weight: 1, endpoints: vec![endpoint("one", 1001)] }],
        hold: None,
        sticky: None,
        probe: None,
        drain: Span::from_secs(1),
        timeout: Span::from_secs(1),
    }
}
