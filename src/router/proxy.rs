//! One request: let in, sent to an instance, its answer passed on.
//!
//! A request is tried again only where that is safe. When no connection came about, or the connection was closed before
//! the request was written, nothing was sent: another endpoint gets it. When a kept connection breaks before any answer, the
//! peer was most likely just closing it: a request without a body and with an idempotent method is sent once more.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::{Authority, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::access::Line;
use super::admit::{Ask, Refused, Ticket};
use super::body::{Lease, Progress, RequestBody, ResponseBody};
use super::client::Client;
use super::endpoint::Endpoint;
use super::headers;
use super::pool::{self, ConnectError, Connection, Sender};
use super::refusal::Refusal;
use super::tunnel::{self, Wish};
use super::wire::Spoken;
use crate::domain::id::GroupId;
use crate::domain::route::Upstream;

/// The most endpoints that one request is offered to.
const MAX_ATTEMPTS: usize = 8;

/// Serves one request of a client. There is always an answer; that the client has gone is seen by hyper, which then drops
/// this future and with it the request to the instance.
pub async fn serve(client: Arc<Client>, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
    if request.version() == Version::HTTP_10 {
        client.old.store(true, Relaxed);
    }
    let counted = client.request();
    let noted = client.plane.access.is_on().then(|| Noted::of(&request));
    let mut response = match forward(&client, request).await {
        Ok(response) => response,
        Err(refusal) => {
            client.plane.refusals.count(refusal);
            refusal.response()
        }
    };
    counted.answered();
    if let Some(noted) = noted {
        noted.log(&client, &response);
    }
    if client.spoken == Spoken::Http2 {
        *response.version_mut() = Version::HTTP_2;
        response.headers_mut().remove(header::CONNECTION);
    } else if client.plane.leaving() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// The group that gave an answer, for the access log.
#[derive(Clone)]
struct AnsweredBy(GroupId);

/// What the access log needs of a request.
struct Noted {
    method: Method,
    host: Option<HeaderValue>,
    uri: Uri,
    version: Version,
    began: Instant,
}

impl Noted {
    fn of(request: &Request<Incoming>) -> Self {
        Noted {
            method: request.method().clone(),
            host: request.headers().get(header::HOST).cloned(),
            uri: request.uri().clone(),
            version: request.version(),
            began: Instant::now(),
        }
    }

    fn log(self, client: &Client, response: &Response<ResponseBody>) {
        let named = self.host.as_ref().and_then(|host| host.to_str().ok());
        let host = self.uri.authority().map(Authority::as_str).or(named).unwrap_or_default();
        client.plane.access.add(&Line {
            client: client.address_text.to_str().unwrap_or_default(),
            method: self.method.as_str(),
            // Without a name and password, which some still write before it.
            host: host.rsplit('@').next().unwrap_or_default(),
            path: self.uri.path(),
            status: response.status().as_u16(),
            took: self.began.elapsed(),
            protocol: match self.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            group: response.extensions().get().map(|AnsweredBy(group)| group.as_str()),
        });
    }
}

async fn forward(client: &Arc<Client>, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, Refusal> {
    let mut wish = tunnel::wish(&mut request);
    let mut request = prepare(request)?;
    let host = request.headers().get(header::HOST).cloned();
    let replayable = wish.is_none() && request.body().is_empty() && request.method().is_idempotent();
    let mut tried = Vec::new();
    let mut ticket = admit(client, &request, &tried).await?;
    headers::to_upstream(request.headers_mut(), &client.address_text, client.secure, host);
    if let Some(wish) = &wish {
        tunnel::mark(request.headers_mut(), wish.protocol.clone());
    }
    let mut replayed = false;
    loop {
        let started = Instant::now();
        let connection =
            match pool::connection(&ticket.endpoint, upstream(&ticket, wish.as_ref()), client.worker, replayable).await
            {
                Ok(connection) => connection,
                Err(error) => {
                    ticket.failed();
                    note_connect_failure(&ticket, &error);
                    ticket = next(client, &request, &mut tried, ticket).await?;
                    continue;
                }
            };
        let Connection { mut sender, reused } = connection;
        let spare = (reused && replayable && !replayed).then(|| copy_head(&request));
        let progress = request.body().progress();
        if sender.is_http2() {
            to_http2(&mut request, &ticket)?;
        }
        let sent = sender.send(request);
        match answered(sent, ticket.route.config.timeout.duration(), progress.as_deref()).await {
            Ok(Ok(mut response)) => {
                ticket.group().counters.answered(client.worker, response.status().as_u16(), started.elapsed());
                if client.plane.access.is_on() {
                    response.extensions_mut().insert(AnsweredBy(ticket.group().id.clone()));
                }
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return switch(client, response, wish.take(), ticket);
                }
                return Ok(pass_on(response, ticket, sender));
            }
            Ok(Err(mut error)) => {
                if let Some(back) = error.take_message() {
                    // Nothing was sent. The connection is gone from the pool, so this comes to an end.
                    request = back;
                    continue;
                }
                let error = error.into_error();
                tracing::debug!(endpoint = %ticket.endpoint.at.address, %error, "no answer");
                if progress.is_some_and(|progress| progress.broken()) {
                    // There is nobody to answer, and the instance is not to blame.
                    return Err(Refusal::BadRequest("the request's body broke off"));
                }
                ticket.failed();
                match spare {
                    Some(spare) if !ticket.endpoint.cut.is_fired() => {
                        request = spare;
                        replayed = true;
                        ticket = next(client, &request, &mut tried, ticket).await?;
                    }
                    _ => return Err(Refusal::BadGateway),
                }
            }
            Err(refusal) => {
                if refusal == Refusal::GatewayTimeout {
                    ticket.failed();
                }
                return Err(refusal);
            }
        }
    }
}

/// Checks what must be known before anything else, and brings the request into the form that goes to an instance.
fn prepare(request: Request<Incoming>) -> Result<Request<RequestBody>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let (mut parts, body) = request.into_parts();
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::BadRequest("the request has more than one Host"));
    }
    if host.is_none() && parts.version >= Version::HTTP_11 && parts.uri.authority().is_none() {
        return Err(Refusal::BadRequest("the request has no Host"));
    }
    if host.is_some_and(|host| host.to_str().is_err()) {
        return Err(Refusal::BadRequest("the request's Host is no host"));
    }
    if let Some(authority) = parts.uri.authority() {
        // RFC 9112, 3.2.2: an absolute target overrules Host.
        let host = HeaderValue::from_str(authority.as_str().rsplit('@').next().unwrap_or_default());
        parts.headers.insert(header::HOST, host.map_err(|_| Refusal::BadRequest("the request's target is no host"))?);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = path.parse::<Uri>().map_err(|_| Refusal::BadRequest("the request's target is no path"))?;
    }
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut parts.headers);
    }
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, RequestBody::new(body)))
}

async fn admit(client: &Client, request: &Request<RequestBody>, tried: &[Arc<Endpoint>]) -> Result<Ticket, Refusal> {
    // Checked to be text in `prepare`.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let ask = Ask {
        worker: client.worker,
        listener: client.listener,
        host,
        path: request.uri().path(),
        headers: request.headers(),
    };
    Ok(client.plane.gate.admit(&ask, tried).await?)
}

/// Another endpoint for a request, after one failed.
async fn next(
    client: &Client,
    request: &Request<RequestBody>,
    tried: &mut Vec<Arc<Endpoint>>,
    ticket: Ticket,
) -> Result<Ticket, Refusal> {
    tried.push(ticket.endpoint.clone());
    drop(ticket);
    if tried.len() >= MAX_ATTEMPTS {
        return Err(Refused::NoEndpoint.into());
    }
    admit(client, request, tried).await
}

fn note_connect_failure(ticket: &Ticket, error: &ConnectError) {
    match error {
        ConnectError::Unreachable { .. } => {
            tracing::debug!(endpoint = %ticket.endpoint.at.id, %error, "connection failed");
            ticket.endpoint.refused();
        }
        ConnectError::Local { .. } => tracing::warn!(%error, "connection failed"),
    }
}

/// The head of a request without a body, to be sent again.
fn copy_head(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Waits for the head of the answer. The time runs from the last part of the request, so that a large or slow body does
/// not use up the instance's time; a client that sends nothing for as long is given up.
async fn answered<T>(
    answer: impl Future<Output = T>,
    limit: Duration,
    progress: Option<&Progress>,
) -> Result<T, Refusal> {
    let mut answer = std::pin::pin!(answer);
    let mut deadline = Instant::now() + limit;
    loop {
        if let Ok(answer) = tokio::time::timeout_at(deadline, &mut answer).await {
            return Ok(answer);
        }
        let Some(progress) = progress else { return Err(Refusal::GatewayTimeout) };
        let later = Instant::from_std(progress.last()) + limit;
        if later <= Instant::now() {
            return Err(if progress.done() { Refusal::GatewayTimeout } else { Refusal::ClientTimeout });
        }
        deadline = later;
    }
}

/// What an instance is spoken to in. Another protocol takes over from HTTP/1.1 only.
fn upstream(ticket: &Ticket, wish: Option<&Wish>) -> Upstream {
    if wish.is_some() { Upstream::Http1 } else { ticket.route.config.upstream }
}

/// Brings a request into the form of HTTP/2: its host is part of its target.
fn to_http2(request: &mut Request<RequestBody>, ticket: &Ticket) -> Result<(), Refusal> {
    *request.version_mut() = Version::HTTP_2;
    let host = request.headers_mut().remove(header::HOST);
    if request.uri().authority().is_some() {
        return Ok(());
    }
    let host = host.filter(|host| !host.is_empty());
    let authority = host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = Uri::builder()
        .scheme("http")
        .authority(authority.unwrap_or_else(|| ticket.endpoint.at.address.to_string()))
        .path_and_query(if path == "*" { "/" } else { path })
        .build();
    *request.uri_mut() = target.map_err(|_| Refusal::BadRequest("the request's Host is no host"))?;
    // What HTTP/2 has no use for; the body's end is told otherwise.
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    Ok(())
}

/// The instance speaks another protocol from now on. One that nobody asked for is no answer.
fn switch(
    client: &Arc<Client>,
    mut response: Response<Incoming>,
    wish: Option<Wish>,
    ticket: Ticket,
) -> Result<Response<ResponseBody>, Refusal> {
    let agreed = |wish: &Wish| {
        let named = response.headers().get(header::UPGRADE);
        named.is_some_and(|named| named.as_bytes().eq_ignore_ascii_case(wish.protocol.as_bytes()))
    };
    let Some(wish) = wish.filter(agreed) else {
        ticket.failed();
        return Err(Refusal::BadGateway);
    };
    let instance = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    headers::to_client(&mut parts.headers);
    tunnel::mark(&mut parts.headers, wish.protocol.clone());
    parts.version = Version::HTTP_11;
    set_cookie(&mut parts.headers, &ticket);
    tunnel::open(client.clone(), wish, instance, ticket);
    Ok(Response::from_parts(parts, ResponseBody::Own(None)))
}

fn set_cookie(headers: &mut http::HeaderMap, ticket: &Ticket) {
    if ticket.set_cookie
        && let Some(cookie) = &ticket.group().cookie
    {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
}

fn pass_on(response: Response<Incoming>, ticket: Ticket, sender: Sender) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    headers::to_client(&mut parts.headers);
    parts.version = Version::HTTP_11;
    set_cookie(&mut parts.headers, &ticket);
    Response::from_parts(parts, ResponseBody::streaming(body, Lease::new(ticket, sender)))
}
