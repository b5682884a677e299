//! A repository served over HTTP by git's own backend, with a token.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use tokio::io::AsyncWriteExt;
use trimtab::adapters::source::git::{Auth, GitConfig, GitSource, Token};
use trimtab::ports::source::{Edit, PushOutcome, Source, SourceError};

use super::bed::{Bed, author};

pub const SECRET: &str = "t0ken-with-'quotes\"-and-$HOME";

/// What the server does and what it saw.
pub struct Server {
    root: PathBuf,
    /// Where everything is redirected to.
    redirect: Option<String>,
    /// No request is answered any more.
    pub silent: AtomicBool,
    seen: Mutex<Vec<Option<String>>>,
}

impl Server {
    pub async fn start(root: PathBuf, redirect: Option<String>) -> (Arc<Server>, String) {
        let server = Arc::new(Server { root, redirect, silent: AtomicBool::new(false), seen: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (server, origin)
    }

    fn credentials(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().flatten().cloned().collect()
    }
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let given = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    server.seen.lock().unwrap().push(given.clone());
    if server.silent.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let path_and_query = request.uri().path_and_query().unwrap().as_str().to_owned();
    if let Some(origin) = &server.redirect {
        return (StatusCode::FOUND, [(LOCATION, format!("{origin}{path_and_query}"))]).into_response();
    }
    match given {
        None => return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"git\"")]).into_response(),
        Some(given) if ["bot", "x-access-token"].iter().all(|user| given != basic(user, SECRET)) => {
            return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"git\"")], given).into_response();
        }
        Some(_) => {}
    }
    backend(&server, request).await
}

fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("Basic ");
    for chunk in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            out.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

/// Runs `git http-backend` as a CGI program.
async fn backend(server: &Server, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let header =
        |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &server.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_USER", "bot")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    let _ = feed.await;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("the backend sent no header");
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(Bytes::copy_from_slice(&output[end + 4..]))).unwrap()
}

fn config(bed: &Bed, origin: &str, token: Token) -> GitConfig {
    let mut config = GitConfig::new(format!("{origin}/remote.git"), "main", bed.mirror());
    config.auth = Auth::Token { username: "bot".into(), token };
    config
}

fn write(content: &str) -> [Edit; 1] {
    [Edit::Write { path: "a".into(), content: content.into(), executable: None }]
}

#[tokio::test]
async fn a_token_opens_fetch_and_push_and_a_rotated_file_is_taken_at_once() {
    let bed = Bed::new();
    let head = bed.push(&[("a", "1")]);
    bed.remote_git(&["config", "http.receivepack", "true"]);
    let (server, origin) = Server::start(bed.dir.path().into(), None).await;
    let file = bed.dir.path().join("a token's file");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let source = GitSource::open(config(&bed, &origin, Token::File(file.clone()))).await.unwrap();
    assert_eq!(source.fetch().await.unwrap().revision, head);
    let commit = source.commit(&head, &write("2"), &author(), "x").await.unwrap();
    assert_eq!(source.push(&commit, "main", Some(&head)).await.unwrap(), PushOutcome::Pushed);
    let stale = source.commit(&head, &write("3"), &author(), "x").await.unwrap();
    assert_eq!(source.push(&stale, "main", Some(&head)).await.unwrap(), PushOutcome::Lost);
    assert_eq!(source.remote_branch("main").await.unwrap(), Some(commit));
    assert!(server.credentials().iter().all(|given| *given == basic("bot", SECRET)));

    std::fs::write(&file, "old-s3cret").unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Auth { .. }), "{error}");
    // The server repeats what it was given, as a chatty proxy might.
    let error = error.to_string();
    assert!(error.contains("check the token") && error.contains("Basic [token]"), "{error}");
    assert!(!error.contains("old-s3cret") && !error.contains(&basic("bot", "old-s3cret")), "{error}");
    std::fs::write(&file, "  \n").unwrap();
    assert!(source.fetch().await.unwrap_err().to_string().contains("is empty"));
    std::fs::remove_file(&file).unwrap();
    let error = source.fetch().await.unwrap_err().to_string();
    assert!(error.contains("a token's file"), "{error}");
    std::fs::write(&file, SECRET).unwrap();
    source.fetch().await.unwrap();
}

#[tokio::test]
async fn without_a_token_and_with_a_wrong_one_it_is_auth_and_without_a_repository_it_is_that() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    let (_server, origin) = Server::start(bed.dir.path().into(), None).await;
    let mut open = config(&bed, &origin, Token::Value("wrong-s3cret".into()));
    let source = GitSource::open(open.clone()).await.unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Auth { .. }), "{error}");
    assert!(!error.to_string().contains("wrong-s3cret"), "{error}");
    open.auth = Auth::None;
    let error = GitSource::open(open.clone()).await.unwrap().fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Auth { .. }), "{error}");
    let mut elsewhere = config(&bed, &origin, Token::Value(SECRET.into()));
    elsewhere.url = format!("{origin}/nothing.git");
    let error = GitSource::open(elsewhere).await.unwrap().fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::NotARepository { .. }), "{error}");
    let read_only = GitSource::open(config(&bed, &origin, Token::Value(SECRET.into()))).await.unwrap();
    let head = read_only.fetch().await.unwrap().revision;
    bed.remote_git(&["config", "http.receivepack", "false"]);
    let commit = read_only.commit(&head, &write("2"), &author(), "x").await.unwrap();
    let error = read_only.push(&commit, "main", Some(&head)).await.unwrap_err();
    assert!(matches!(error, SourceError::Auth { .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_given_the_token() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    let (other, other_origin) = Server::start(bed.dir.path().into(), None).await;
    let (_first, origin) = Server::start(bed.dir.path().into(), Some(other_origin)).await;
    let source = GitSource::open(config(&bed, &origin, Token::Value(SECRET.into()))).await.unwrap();
    source.fetch().await.unwrap_err();
    assert!(!other.seen.lock().unwrap().is_empty(), "the redirect was not followed, so nothing was tested");
    assert_eq!(other.credentials(), Vec::<String>::new());
}
