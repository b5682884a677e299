//! HTTP in front of the use cases: the routes, their description, and the Unix socket.

use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::IncomingStream;
use axum::{Json, Router, middleware};
use tokio::net::UnixListener;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::audited::record;
use super::auth::{Gate, Peer, authorise};
use super::handlers::{Shared, audit, commands, events, fleet, rollouts, status};
use super::{openapi, problem};
use crate::ports::audit::Audit;

/// The largest request body: a plan request carries rendered units.
const BODY_LIMIT: usize = 16 << 20;

/// Routes with everything that answers them, ready to be served.
pub type Routes = Router;

/// The routes of the API. Who asks stands in each request's `ConnectInfo<Peer>`; `gate` knows the tokens; `audit` has to take what
/// changes something before it is done.
pub fn routes(operations: Shared, gate: Gate, audit: Option<Arc<dyn Audit>>) -> Routes {
    let (router, description) = described();
    let description = Json(openapi::closed(description));
    let router = router.route("/api/v1/openapi.json", get(move || async move { description }));
    let router = match audit {
        Some(audit) => router.layer(middleware::from_fn_with_state(audit, record)),
        None => router,
    };
    router
        .fallback(|| async { problem::no_such_path() })
        .method_not_allowed_fallback(|| async { problem::no_such_method().into_response() })
        .layer(middleware::from_fn_with_state(gate, authorise))
        .layer(middleware::from_fn(super::traced::trace))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(axum::middleware::from_fn(super::redact::answers))
        .with_state(operations)
}

/// The routes that are described, and their description.
fn described() -> (Router<Shared>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz))
        .routes(routes!(status::metrics))
        .routes(routes!(status::daemon))
        .routes(routes!(status::check))
        .routes(routes!(status::changes))
        .routes(routes!(fleet::environments))
        .routes(routes!(fleet::environment))
        .routes(routes!(fleet::apps))
        .routes(routes!(fleet::app))
        .routes(routes!(fleet::releases))
        .routes(routes!(fleet::release))
        .routes(routes!(fleet::units))
        .routes(routes!(fleet::unit))
        .routes(routes!(fleet::history))
        .routes(routes!(fleet::logs))
        .routes(routes!(rollouts::rollouts))
        .routes(routes!(rollouts::rollout))
        .routes(routes!(rollouts::plans, rollouts::plan))
        .routes(routes!(rollouts::stored_plan))
        .routes(routes!(events::events))
        .routes(routes!(audit::records))
        .routes(routes!(audit::verify))
        .routes(routes!(commands::unit_command))
        .routes(routes!(commands::environment_command))
        .routes(routes!(commands::reconcile))
        .routes(routes!(commands::ack))
        .routes(routes!(commands::quarantine))
        .routes(routes!(commands::clear_quarantine))
        .split_for_parts()
}

/// Serves the API on a Unix socket, without an audit log, until `stop` completes; requests under way are finished.
///
/// # Errors
///
/// When the socket fails.
pub async fn serve(
    listener: UnixListener,
    operations: Shared,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_routes(listener, routes(operations, Gate::default(), None), stop).await
}

/// [`serve`] with routes that were made before.
///
/// # Errors
///
/// When the socket fails.
pub async fn serve_routes(
    listener: UnixListener,
    routes: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = routes.into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    /// Who is on the other end of the socket, as the kernel says.
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Peer::User(stream.io().peer_cred().map_or_else(|_| "unknown user".into(), |cred| user_name(cred.uid())))
    }
}

/// A user of this machine by name, or by number where it has none.
pub fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// The caller of a connection, for servers that are not axum's.
pub fn connected(peer: Peer) -> ConnectInfo<Peer> {
    ConnectInfo(peer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::auth::ROUTES;

    #[test]
    fn each_described_route_has_its_access_and_each_access_its_route() {
        let (_, description) = described();
        let text = serde_json::to_value(&description).unwrap();
        let mut found = BTreeSet::from([("GET".to_owned(), "/api/v1/openapi.json".to_owned())]);
        for (path, item) in text["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                found.insert((method.to_uppercase(), path.clone()));
            }
        }
        let listed: BTreeSet<_> =
            ROUTES.iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn the_description_is_of_the_form_that_it_says() {
        let text = serde_json::to_value(described().1).unwrap();
        assert!(text["openapi"].as_str().unwrap().starts_with("3.1"));
        let pointers = text.to_string();
        for name in pointers.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(text["components"]["schemas"].get(name).is_some(), "{name} is named and not there");
        }
    }
}
