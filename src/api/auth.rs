//! Who asks, and what they may: the one place where requests are let through to the use cases.
//!
//! Each route stands in [`ROUTES`] with what it takes to ask it. A route that does not stand there is refused, so that a new one
//! cannot be forgotten.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::operations::{Caller, problem};
use super::types::Problem;
use crate::app::config::access::Role;

/// What a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Somebody with at least this role.
    Needs(Role),
}

const READ: Access = Access::Needs(Role::Read);
const OPERATE: Access = Access::Needs(Role::Operate);

/// Every route with its method and what it takes.
pub const ROUTES: &[(Method, &str, Access)] = &[
    (Method::GET, "/healthz", Access::Public),
    (Method::GET, "/readyz", Access::Public),
    (Method::GET, "/metrics", READ),
    (Method::GET, "/api/v1/openapi.json", Access::Public),
    (Method::GET, "/api/v1/daemon", READ),
    (Method::GET, "/api/v1/environments", READ),
    (Method::GET, "/api/v1/environments/{environment}", READ),
    (Method::POST, "/api/v1/environments/{environment}/command", OPERATE),
    (Method::GET, "/api/v1/apps", READ),
    (Method::GET, "/api/v1/apps/{app}", READ),
    (Method::GET, "/api/v1/releases", READ),
    (Method::GET, "/api/v1/releases/{app}/{environment}", READ),
    (Method::GET, "/api/v1/units", READ),
    (Method::GET, "/api/v1/units/{app}/{environment}/{target}", READ),
    (Method::GET, "/api/v1/units/{app}/{environment}/{target}/history", READ),
    (Method::GET, "/api/v1/units/{app}/{environment}/{target}/logs", READ),
    (Method::POST, "/api/v1/units/{app}/{environment}/{target}/command", OPERATE),
    (Method::GET, "/api/v1/rollouts", READ),
    (Method::GET, "/api/v1/rollouts/{id}", READ),
    (Method::GET, "/api/v1/plans", READ),
    (Method::POST, "/api/v1/plans", READ),
    (Method::GET, "/api/v1/plans/{digest}", READ),
    (Method::POST, "/api/v1/reconcile", OPERATE),
    (Method::POST, "/api/v1/ack", OPERATE),
    (Method::GET, "/api/v1/quarantine", READ),
    (Method::POST, "/api/v1/quarantine/clear", OPERATE),
    (Method::GET, "/api/v1/audit", READ),
    (Method::GET, "/api/v1/audit/verify", READ),
    (Method::GET, "/api/v1/check", READ),
    (Method::GET, "/api/v1/changes", READ),
    (Method::GET, "/api/v1/events", READ),
];

/// What a route takes; `None`: there is no such route.
pub fn access(method: &Method, path: &str) -> Option<Access> {
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|(known, route, _)| known == asked && *route == path).map(|(.., access)| *access)
}

/// A token that is known by its hash.
#[derive(Clone)]
pub struct Token {
    /// Whose.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// The SHA-256 of its text.
    pub sha256: [u8; 32],
}

/// The tokens that are good now. They can be replaced while requests come in.
#[derive(Clone, Default)]
pub struct Gate {
    tokens: Arc<RwLock<Arc<Vec<Token>>>>,
}

impl Gate {
    /// A gate with these tokens.
    pub fn new(tokens: Vec<Token>) -> Self {
        let gate = Gate::default();
        gate.replace(tokens);
        gate
    }

    /// Only these are good from now on.
    pub fn replace(&self, tokens: Vec<Token>) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// Whose token this is. Takes the same time for every text of the same length.
    fn holder(&self, text: &str) -> Option<Token> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        let given: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut found = None;
        for token in tokens.iter() {
            if bool::from(token.sha256.ct_eq(&given)) {
                found = Some(token.clone());
            }
        }
        found
    }
}

/// Who is on the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A user of this machine, by the Unix socket: whom its file mode lets through may do everything.
    User(String),
    /// Somebody on the network.
    Address(SocketAddr),
}

/// Who asks, and with which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// For the record.
    pub caller: Caller,
    /// What they may.
    pub role: Role,
}

impl Gate {
    /// Decides about a request.
    ///
    /// # Errors
    ///
    /// 401 without a good token, 403 with one that may not.
    pub fn admit(&self, access: Access, peer: &Peer, bearer: Option<&str>) -> Result<Principal, Problem> {
        let principal = match (peer, bearer.and_then(|text| self.holder(text))) {
            (Peer::User(name), _) => Some(Principal { caller: Caller(name.clone()), role: Role::Operate }),
            (Peer::Address(_), Some(token)) => {
                Some(Principal { caller: Caller(format!("token {}", token.name)), role: token.role })
            }
            (Peer::Address(_), None) => None,
        };
        match (access, principal) {
            (Access::Public, principal) => {
                Ok(principal.unwrap_or(Principal { caller: Caller("anybody".into()), role: Role::Read }))
            }
            (Access::Needs(needed), Some(principal)) if principal.role >= needed => Ok(principal),
            (Access::Needs(needed), Some(principal)) => {
                let message = format!("{} may not do this: it takes the role {needed}", principal.caller.0);
                Err(problem(StatusCode::FORBIDDEN, "forbidden", message))
            }
            (Access::Needs(_), None) => {
                let message = "this takes a token: `Authorization: Bearer TOKEN`, one of [[api.tokens]]";
                Err(problem(StatusCode::UNAUTHORIZED, "unauthorized", message))
            }
        }
    }
}

/// The token of a request.
fn bearer(request: &Request) -> Option<&str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (value, more) = (values.next()?, values.next());
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    (more.is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// Lets a request through to its handler, with its [`Caller`], or answers it.
pub async fn authorise(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Some(path) = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()) else {
        return next.run(request).await;
    };
    let Some(access) = access(request.method(), &path) else {
        // The path is there for another method: who may not ask it needs no word on which.
        return super::problem::no_such_method().into_response_of(&path);
    };
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|info| info.0.clone());
    let Some(peer) = peer else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the caller is not known").into_response();
    };
    match gate.admit(access, &peer, bearer(&request)) {
        Ok(principal) => {
            request.extensions_mut().insert(principal.caller);
            next.run(request).await
        }
        Err(refusal) => {
            tracing::info!(method = %request.method(), path, ?peer, status = refusal.status, "refused");
            let unauthorized = refusal.status == 401;
            let mut response = refusal.into_response();
            if unauthorized {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

impl Problem {
    /// The answer to a method that a path does not take, with those that it takes.
    fn into_response_of(self, path: &str) -> Response {
        let mut methods: Vec<&str> =
            ROUTES.iter().filter(|(_, route, _)| *route == path).map(|(method, ..)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        let mut response = self.into_response();
        if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, role: Role, text: &str) -> Token {
        Token { name: name.into(), role, sha256: Sha256::digest(text).into() }
    }

    fn gate() -> Gate {
        Gate::new(vec![token("viewer", Role::Read, "r-secret"), token("ci", Role::Operate, "o-secret")])
    }

    /// Every route with every kind of caller: what anybody may, what readers may, what operators may.
    #[test]
    fn each_route_lets_through_exactly_whom_it_should() {
        let network = Peer::Address("192.0.2.1:5".parse().unwrap());
        let socket = Peer::User("root".into());
        for (method, path, access) in ROUTES {
            let status = |peer: &Peer, bearer: Option<&str>| {
                gate().admit(*access, peer, bearer).map_or_else(|problem| problem.status, |_| 200)
            };
            let (nobody, reader, operator) = match access {
                Access::Public => (200, 200, 200),
                Access::Needs(Role::Read) => (401, 200, 200),
                Access::Needs(Role::Operate) => (401, 403, 200),
            };
            let what = format!("{method} {path}");
            assert_eq!(status(&network, None), nobody, "{what}: no token");
            assert_eq!(status(&network, Some("guessed")), nobody, "{what}: a wrong token");
            assert_eq!(status(&network, Some("")), nobody, "{what}: an empty token");
            assert_eq!(status(&network, Some("r-secret")), reader, "{what}: a reader");
            assert_eq!(status(&network, Some("o-secret")), operator, "{what}: an operator");
            assert_eq!(status(&socket, None), 200, "{what}: the Unix socket");
        }
    }

    #[test]
    fn whatever_changes_something_takes_an_operator() {
        for (method, path, access) in ROUTES.iter().filter(|(method, ..)| *method != Method::GET) {
            let reads = *path == "/api/v1/plans";
            assert_eq!(*access == OPERATE, !reads, "{method} {path}");
        }
    }

    #[test]
    fn a_replaced_token_is_good_no_more() {
        let gate = gate();
        let peer = Peer::Address("192.0.2.1:5".parse().unwrap());
        assert!(gate.admit(READ, &peer, Some("r-secret")).is_ok());
        gate.replace(vec![token("viewer", Role::Read, "r-other")]);
        assert_eq!(gate.admit(READ, &peer, Some("r-secret")).unwrap_err().status, 401);
        assert_eq!(gate.admit(READ, &peer, Some("r-other")).unwrap().caller.0, "token viewer");
    }
}
