//! A single health check: http, tcp or exec. Asynchronous, so that a thousand instances need no thread each.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use nix::libc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{ChildStderr, Command};

use super::cgroup::Cgroup;
use super::environment;
use super::identity::Identity;
use super::sys::{self, Preparation};
use crate::domain::workload::Check;
use crate::secrets::{Redactor, SecretBytes};

/// No more of an answer's body is read.
const BODY_LIMIT: usize = 64 << 10;
/// No more of what a command says is shown.
const WORDS_LIMIT: u64 = 400;

/// What is checked.
#[derive(Clone)]
pub struct Target {
    /// The instance's port.
    pub port: Option<u16>,
    /// Its working directory.
    pub dir: PathBuf,
    /// Its environment, complete.
    pub env: BTreeMap<String, String>,
    /// Variables of its environment that must not be said in clear.
    pub secret: BTreeMap<String, SecretBytes>,
    /// Knows its secrets, which a command may say.
    pub redactor: Redactor,
    /// Who it runs as.
    pub identity: Identity,
    /// Where it is limited; what a check runs counts there, too.
    pub cgroup: Cgroup,
}

/// Checks once. The error says what was seen instead of success.
pub async fn check(check: &Check, target: &Target, timeout: Duration) -> Result<(), String> {
    let address = || target.port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let no_port = || "the instance has no port to check".to_owned();
    let outcome = async {
        match check {
            Check::Http { path } => http(address().ok_or_else(no_port)?, path).await,
            Check::Tcp {} => tcp(address().ok_or_else(no_port)?).await.map(drop),
            Check::Exec { command } => exec(command, target).await,
        }
    };
    let in_time = tokio::time::timeout(timeout, outcome).await;
    in_time.unwrap_or_else(|_| Err(format!("{} took longer than {timeout:?}", name(check, target))))
}

/// What a check is called in messages.
fn name(check: &Check, target: &Target) -> String {
    let port = target.port.unwrap_or_default();
    match check {
        Check::Http { path } => format!("GET http://127.0.0.1:{port}{path}"),
        Check::Tcp {} => format!("connecting to 127.0.0.1:{port}"),
        Check::Exec { command } => format!("the check {:?}", command.join(" ")),
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("connecting to {address}: {error}"))
}

async fn http(address: SocketAddr, path: &str) -> Result<(), String> {
    let broken = |error: &dyn std::fmt::Display| format!("GET http://{address}{path}: {error}");
    let stream = tcp(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    // It ends with the sender, which lives no longer than this call.
    tokio::spawn(connection);
    let request = http::Request::get(path)
        .header(http::header::HOST, address.to_string())
        .header(http::header::USER_AGENT, concat!("trimtab/", env!("CARGO_PKG_VERSION")))
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
    let status = response.status();
    if !(200..400).contains(&status.as_u16()) {
        return Err(broken(&status));
    }
    // Read on, so that the app sees an ordinary client; a broken body is a failure, a long one is not.
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.map_err(|error| broken(&error))?.data_ref().map_or(0, Bytes::len);
        if read > BODY_LIMIT {
            break;
        }
    }
    Ok(())
}

/// The process group of a command, whose leader it is: killed when the check is over, however it is over.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.filter(|leader| *leader > 1) {
            sys::kill(-(leader as i32), libc::SIGKILL);
        }
    }
}

async fn exec(command: &[String], target: &Target) -> Result<(), String> {
    let name = || command.join(" ");
    let failed = |error: std::io::Error| format!("the check {:?} can't be run: {error}", name());
    let mut child = prepare(command, target)?.spawn().map_err(failed)?;
    let _group = Group(child.id());
    let stderr = child.stderr.take();
    let (status, words) = tokio::join!(child.wait(), words(stderr, &target.redactor));
    let status = status.map_err(failed)?;
    let words = words.trim();
    match status.success() {
        true => Ok(()),
        false if words.is_empty() => Err(format!("the check {:?} ended with {status}", name())),
        false => Err(format!("the check {:?} ended with {status}: {words}", name())),
    }
}

/// The first of what a command says, without secrets. A grandchild may hold the pipe open: what came soon is enough.
async fn words(stderr: Option<ChildStderr>, redactor: &Redactor) -> String {
    let mut bytes = Vec::new();
    let ended = match stderr {
        Some(stderr) => {
            let mut first = stderr.take(WORDS_LIMIT);
            let read = first.read_to_end(&mut bytes);
            tokio::time::timeout(Duration::from_millis(500), read).await.is_ok() && (bytes.len() as u64) < WORDS_LIMIT
        }
        None => true,
    };
    let mut stream = redactor.stream();
    let mut clean = stream.push(&bytes).into_owned();
    if ended {
        clean.extend_from_slice(&stream.finish());
    }
    // Otherwise what is held back may be the beginning of a secret whose rest was not read.
    String::from_utf8_lossy(&clean).into_owned()
}

fn prepare(command: &[String], target: &Target) -> Result<Command, String> {
    let program = command.first().ok_or("the check's command is empty: name a program")?;
    let candidates = environment::programs(program, &target.env);
    let there = |path: &&String| target.dir.join(path).exists();
    let path = candidates.iter().find(there).ok_or_else(|| format!("the check's program {program:?} is not there"))?;
    let join = target.cgroup.join_files().map(|path| CString::new(path.as_os_str().as_bytes()));
    let join = join.collect::<Result<_, _>>().map_err(|_| "a control group's path holds a NUL".to_owned())?;
    let mut plain = std::process::Command::new(target.dir.join(path));
    plain.args(&command[1..]).current_dir(&target.dir).env_clear().envs(&target.env);
    plain.envs(target.secret.iter().map(|(name, value)| (name, OsStr::from_bytes(value.expose()))));
    plain.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    sys::before_exec(&mut plain, Preparation { join, identity: Some(target.identity.clone()), dies_with_parent: true });
    let mut command = Command::from(plain);
    command.kill_on_drop(true);
    Ok(command)
}
