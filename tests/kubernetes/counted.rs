//! Requests to a Service, every one of them counted, while its pods come and go.
//!
//! A pod that is told to end serves on until nobody has been led to it for a while, and only then ends. So what is counted hangs
//! on the order of deeds alone, and not on how soon a busy machine's node hears of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use trimtab::load::{Load, Plan, Report};

use super::cluster::Namespace;
use super::documents;
use crate::support::{PATIENCE, eventually_async};

/// Whoever is led to one of five pods at all is missed in so many answers once in 10^11 times.
const ENOUGH: u64 = 120;

/// Where pods look whether they may end. They all may once this is gone.
pub struct Gates {
    folder: TempDir,
}

impl Gates {
    /// All of them closed.
    pub fn closed() -> Gates {
        let folder = tempfile::Builder::new().prefix("trimtab-gates-").tempdir().unwrap();
        fs::write(folder.path().join("closed"), "").unwrap();
        Gates { folder }
    }

    /// A Deployment whose pods say in every answer which they are (`VERSION@POD`), and end when their gate is open.
    pub fn guard(&self, deployment: &str, version: &str) -> String {
        let stop = "{ exec: { command: [sh, -c, \"while [ -e /extra/closed ] && [ ! -e /extra/$POD ]; do sleep 0.2; done\"] } }";
        let environment = format!(
            "          env: [ {{ name: POD, valueFrom: {{ fieldRef: {{ fieldPath: metadata.name }} }} }}, \
             {{ name: TRIMTAB_VERSION, value: \"{version}@$(POD)\" }} ]\n"
        );
        documents::own_build(&(deployment.to_owned() + &environment), 600, Some(stop), Some(self.folder.path()))
    }

    fn open(&self, pod: &str) {
        fs::write(self.folder.path().join(pod), "").unwrap();
    }
}

/// How it was when a pod was told to end.
#[derive(Clone, Debug)]
pub struct Left {
    /// Which.
    pub pod: String,
    /// Its version's label; none where it is replaced in place.
    pub group: String,
    /// Its Service led to it still.
    pub selected: bool,
    /// How many of the pods that stayed were ready, by group.
    pub ready: BTreeMap<String, usize>,
}

#[derive(Debug, Default)]
struct Pod {
    labels: BTreeMap<String, String>,
    ready: bool,
    leaving: bool,
}

#[derive(Default)]
struct Seen {
    pods: BTreeMap<String, Pod>,
    left: Vec<Left>,
}

/// The Service's answers.
pub struct Counted {
    load: Arc<Load>,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
    watch: Child,
    threads: Vec<JoinHandle<()>>,
}

impl Counted {
    /// Begins once the Service of a namespace answers: up to a second after its first pod is ready a node has no rules of it.
    pub async fn start(namespace: &Namespace, gates: &Arc<Gates>, rate: f64) -> Counted {
        let address = address(namespace, "web");
        eventually_async(PATIENCE, "the Service answers", async || answer(address).await).await;
        // A server that ends closes its idle connections: without a proxy before it, only new ones can be without loss.
        let load = Load::start(Plan { fresh: 1.0, timeout: PATIENCE, ..Plan::new(address, "web", rate) });
        let (load, seen) = (Arc::new(load), Arc::<Mutex<Seen>>::default());
        let mut watch = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(namespace.kubeconfig())
            .args([
                "--namespace",
                namespace.name(),
                "get",
                "pods",
                "--watch",
                "--output-watch-events",
                "--output",
                "json",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = serde_json::Deserializer::from_reader(BufReader::new(watch.stdout.take().unwrap()));
        let (to, name, kubeconfig) = (seen.clone(), namespace.name().to_owned(), namespace.kubeconfig().to_owned());
        let follow = thread::spawn(move || {
            for event in events.into_iter::<Value>().map_while(Result::ok) {
                if let Some(pod) = take(&to, &event) {
                    let left = left(&to, &kubeconfig, &name, pod);
                    locked(&to).left.push(left);
                }
            }
        });
        let over = Arc::new(AtomicBool::new(false));
        let keeper = Keeper { load: load.clone(), seen: seen.clone(), gates: gates.clone() };
        let stop = over.clone();
        let keep = thread::spawn(move || keeper.keep(&stop));
        Counted { load, seen, over, watch, threads: vec![follow, keep] }
    }

    /// How many answers a version gave so far.
    pub fn answers(&self, version: &str) -> u64 {
        answers(&self.load.so_far(), version)
    }

    /// All answers so far.
    pub fn answered(&self) -> u64 {
        self.load.so_far().answered()
    }

    /// The pods that were told to end so far.
    pub fn left(&self) -> Vec<Left> {
        locked(&self.seen).left.clone()
    }

    /// Ends: not one request was lost. The pods that were told to end meanwhile.
    pub async fn lossless(mut self) -> Vec<Left> {
        self.end();
        let (load, left) = (self.load.clone(), self.left());
        drop(self);
        let report = Arc::into_inner(load).expect("nobody else counts any more").stop().await;
        assert_eq!((report.lost(), report.errors()), (0, 0), "{report}\n{left:#?}");
        left
    }

    fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end();
    }
}

/// Opens the gates of pods that nobody is led to any more.
struct Keeper {
    load: Arc<Load>,
    seen: Arc<Mutex<Seen>>,
    gates: Arc<Gates>,
}

impl Keeper {
    fn keep(&self, over: &AtomicBool) {
        let mut since: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut open: BTreeSet<String> = BTreeSet::new();
        while !over.load(Ordering::Relaxed) {
            let report = self.load.so_far();
            let of = |pod: &str| answers_of(&report, |_, name| name == pod);
            let leaving: Vec<String> = {
                let seen = locked(&self.seen);
                let leaving = seen.pods.iter().filter(|(name, pod)| pod.leaving && !open.contains(*name));
                leaving.map(|(name, _)| name.clone()).collect()
            };
            for pod in leaving {
                let now = (of(&pod), report.answered());
                let last = since.entry(pod.clone()).or_insert(now);
                if last.0 != now.0 {
                    *last = now;
                }
                if now.1 >= last.1 + ENOUGH {
                    self.gates.open(&pod);
                    open.insert(pod);
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes in what became of a pod; its name where it was told to end just now.
fn take(seen: &Mutex<Seen>, event: &Value) -> Option<String> {
    let object = event.get("object")?;
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    let mut seen = locked(seen);
    if event["type"] == "DELETED" {
        seen.pods.remove(&name);
        return None;
    }
    let leaving = object.pointer("/metadata/deletionTimestamp").is_some();
    let known = seen.pods.entry(name.clone()).or_default();
    let begins = leaving && !known.leaving;
    known.leaving = leaving;
    known.labels = texts(&object["metadata"]["labels"]);
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    known.ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    begins.then_some(name)
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    map.as_object().into_iter().flatten().filter_map(text).collect()
}

fn left(seen: &Mutex<Seen>, kubeconfig: &std::path::Path, namespace: &str, pod: String) -> Left {
    let service = ["--namespace", namespace, "get", "service", "web", "--output", "json"];
    let service = super::kubectl::kubectl(kubeconfig, &service, "").unwrap_or_default();
    let service: Value = serde_json::from_str(&service).unwrap_or_default();
    let selector = texts(&service["spec"]["selector"]);
    let seen = locked(seen);
    let labels = seen.pods.get(&pod).map(|pod| pod.labels.clone()).unwrap_or_default();
    let mut ready = BTreeMap::new();
    for pod in seen.pods.values().filter(|pod| pod.ready && !pod.leaving) {
        *ready.entry(group(&pod.labels)).or_default() += 1;
    }
    let selected = !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value));
    Left { group: group(&labels), selected, ready, pod }
}

fn group(labels: &BTreeMap<String, String>) -> String {
    labels.get("trimtab.dev/group").cloned().unwrap_or_default()
}

fn answers(report: &Report, version: &str) -> u64 {
    answers_of(report, |name, _| name == version)
}

/// The answers of all that say of themselves `VERSION@POD` and are meant.
fn answers_of(report: &Report, meant: impl Fn(&str, &str) -> bool) -> u64 {
    let of = |name: &str| name.split_once('@').is_some_and(|(version, pod)| meant(version, pod));
    report.versions.iter().filter(|(name, _)| of(name)).map(|(_, version)| version.answers).sum()
}

/// Where a Service is reached within the cluster, and from this machine.
pub fn address(namespace: &Namespace, service: &str) -> SocketAddr {
    let service = namespace.object(&format!("service/{service}"));
    format!("{}:80", service["spec"]["clusterIP"].as_str().unwrap()).parse().unwrap()
}

/// The version that a Service answers with now.
///
/// It is asked from ports that the kernel gives nobody. A connection to a Service of which a node has no rules yet leads nowhere,
/// and the node remembers that for two minutes: a request that got the same port meanwhile would be lost by nobody else's fault.
pub async fn answer(address: SocketAddr) -> Result<String, String> {
    const FIRST: u16 = 61_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed).into());
    let port = FIRST + u16::try_from(begin % u32::from(u16::MAX - FIRST)).unwrap();
    let asked = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<String, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), asked).await.map_err(|error| error.to_string())?;
    let answer = answer.map_err(|error| error.to_string())?;
    let version = answer.lines().find_map(|line| line.strip_prefix("x-version: ")?.split('@').next());
    version.map(str::to_owned).ok_or(answer)
}
