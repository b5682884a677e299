//! The router beside haproxy and nginx: the same load, the same instance, in turns, so that whatever else the machine does
//! meets all of them. Debian's packages are installed where they are missing.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use trimtab::net::client::Client;

use crate::figure::{Figure, median};

/// How often each is measured, and for how long.
const ROUNDS: usize = 15;
const SECONDS: u32 = 3;
/// What must be there, and the package that brings it.
const NEEDED: [(&str, &str); 3] =
    [("/usr/sbin/haproxy", "haproxy"), ("/usr/sbin/nginx", "nginx"), ("/usr/bin/wrk", "wrk")];

/// A process that ends with the measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// What one run of the load saw.
struct Seen {
    per_second: f64,
    p99_millis: f64,
}

pub async fn measure() -> anyhow::Result<Vec<Figure>> {
    install()?;
    let dir = tempfile::tempdir()?;
    let [instance, haproxy, nginx, router] = [port()?, port()?, port()?, port()?];
    let _processes = [
        start_nginx(dir.path(), "instance", &instance_config(instance))?,
        start_nginx(dir.path(), "proxy", &proxy_config(nginx, instance))?,
        start_haproxy(dir.path(), haproxy, instance)?,
        start_router(dir.path())?,
    ];
    set_route(dir.path(), router, instance).await?;
    let all = [("router", router), ("haproxy", haproxy), ("nginx", nginx)];
    for (name, at) in all {
        ready(name, at)?;
    }
    let mut seen: [Vec<Seen>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (index, (name, at)) in all.iter().enumerate() {
            eprintln!("measuring {name}, round {} of {ROUNDS}", round + 1);
            seen[index].push(load(*at)?);
        }
    }
    let middle = |index: usize, value: fn(&Seen) -> f64| median(seen[index].iter().map(value).collect());
    // Of each round by itself, since the machine is the same within one.
    let ratio = |value: fn(&Seen) -> f64| {
        median(seen[0].iter().zip(&seen[1]).map(|(own, its)| value(own) / value(its)).collect())
    };
    let note =
        |what: &str| format!("{what}; the middle of {ROUNDS} rounds of {SECONDS} s, wrk -t2 -c64 before one nginx");
    let mut figures = vec![
        Figure::at_least("router/requests", ratio(|seen| seen.per_second), "x", 0.8, note("requests/s of haproxy's")),
        Figure::at_most("router/p99", ratio(|seen| seen.p99_millis), "x", 1.25, note("99th percentile of haproxy's")),
    ];
    for (index, (name, _)) in all.iter().enumerate() {
        let requests = middle(index, |seen| seen.per_second);
        figures
            .push(Figure::at_least(format!("router/{name}/requests"), requests, "/s", 0.0, note("")).without_target());
        let p99 = middle(index, |seen| seen.p99_millis);
        figures.push(Figure::at_most(format!("router/{name}/p99"), p99, "ms", 0.0, note("")).without_target());
    }
    Ok(figures)
}

fn install() -> anyhow::Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        command.status()
    };
    let wanted = [&["install", "-q", "-y", "--no-install-recommends"], missing.as_slice()].concat();
    let done = apt(&["update", "-q"]).is_ok_and(|status| status.success())
        && apt(&wanted).is_ok_and(|status| status.success());
    ensure!(done, "install the packages {} first: they could not be installed here", missing.join(", "));
    Ok(())
}

fn port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn instance_config(port: u16) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} reuseport; location / {{ default_type text/plain; return 200 \"hello from an instance\\n\"; }} }}"
    )
}

fn proxy_config(port: u16, instance: u16) -> String {
    format!(
        "upstream instance {{ server 127.0.0.1:{instance}; keepalive 128; }}\n\
         server {{ listen 127.0.0.1:{port} reuseport; location / {{ proxy_pass http://instance; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}"
    )
}

fn start(command: &mut Command) -> anyhow::Result<Running> {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().with_context(|| what)?;
    Ok(Running(child))
}

fn start_nginx(dir: &Path, name: &str, servers: &str) -> anyhow::Result<Running> {
    let path = dir.join(format!("{name}.conf"));
    let text = format!(
        "worker_processes auto; daemon off; pid {0}/{name}.pid; error_log {0}/{name}.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; {servers} }}\n",
        dir.display()
    );
    fs::write(&path, text)?;
    start(Command::new("/usr/sbin/nginx").arg("-c").arg(path).stderr(Stdio::null()))
}

fn start_haproxy(dir: &Path, port: u16, instance: u16) -> anyhow::Result<Running> {
    let path = dir.join("haproxy.cfg");
    let text = format!(
        "global\n  maxconn 4000\ndefaults\n  mode http\n  option forwardfor\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\nfrontend f\n  bind 127.0.0.1:{port}\n  default_backend b\nbackend b\n  server s 127.0.0.1:{instance}\n"
    );
    fs::write(&path, text)?;
    start(Command::new("/usr/sbin/haproxy").args(["-db", "-f"]).arg(path).stderr(Stdio::null()))
}

fn start_router(dir: &Path) -> anyhow::Result<Running> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trimtab"));
    command.arg("router").arg("--state-dir").arg(dir.join("state")).arg("--socket").arg(dir.join("router.sock"));
    start(command.env("TRIMTAB_LOG", "warn"))
}

async fn set_route(dir: &Path, listen: u16, instance: u16) -> anyhow::Result<()> {
    let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let route = serde_json::json!({
        "version": trimtab::protocol::VERSION,
        "epoch": 1,
        "route": {
            "key": "bench/bench/default",
            "markers": { "installation": "bench", "unit": "bench/bench/default", "rendered": "r1:00", "version": "1" },
            "listen": address(listen),
            "path": "/",
            "backends": [{ "group": "v1", "weight": 1, "endpoints": [{ "id": "one", "address": address(instance) }] }],
            "drain": "1s",
            "timeout": "10s",
        },
    });
    let admin = Client::new(dir.join("router.sock"));
    let path = "/v1/routes/bench%2Fbench%2Fdefault";
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match admin.bytes(http::Method::PUT, path, Some(&route)).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => bail!("the router does not take its route: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until something listens there.
fn ready(name: &str, port: u16) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < until, "{name} does not listen on port {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn load(port: u16) -> anyhow::Result<Seen> {
    let url = format!("http://127.0.0.1:{port}/");
    let output = Command::new("wrk").args(["-t2", "-c64", &format!("-d{SECONDS}s"), "--latency", &url]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let bad = ["Non-2xx", "Socket errors"].into_iter().find(|mark| text.contains(mark));
    ensure!(output.status.success() && bad.is_none(), "the load was not served:\n{text}");
    let word = |mark: &str| text.lines().find_map(|line| line.trim().strip_prefix(mark)).map(str::trim);
    let per_second = word("Requests/sec:").and_then(|number| number.parse().ok());
    let p99_millis = word("99%").and_then(millis);
    let seen = per_second.zip(p99_millis).map(|(per_second, p99_millis)| Seen { per_second, p99_millis });
    seen.with_context(|| format!("wrk said something else than expected:\n{text}"))
}

/// `812.00us`, `4.31ms` or `1.02s`.
fn millis(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}
