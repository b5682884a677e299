//! kustomize and helm, each run in a folder of its own, apart from the machine and the network; charts of elsewhere are fetched before,
//! by this program itself.

pub mod charts;
pub mod memory;
mod room;
mod sandbox;
mod served;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use self::charts::Charts;
use self::memory::Memory;
use self::sandbox::Sandbox;
use crate::adapters::artifacts::scratch::Scratch;
use crate::domain::objects::chart::RemoteChart;
use crate::ports::objects::{Make, ObjectTools, Order, ToolError};

/// How many tools run at a time.
const AT_A_TIME: usize = 2;
/// How many answers are kept.
const KEPT: usize = 256;
/// How many bytes of them are; the longest answer is half of it.
const KEPT_BYTES: usize = 64 << 20;
/// Where the repository's files are, within a tool's folder.
const FILES: &str = "files";
/// Where a chart's values are.
const VALUES: &str = "values.json";

type Answer = Result<Arc<Vec<u8>>, ToolError>;

/// See the module.
pub struct Tools {
    sandbox: Sandbox,
    charts: Charts,
    memory: Option<Arc<Memory>>,
    turns: Semaphore,
    known: Mutex<Known>,
}

/// What tools told, by what they were asked. What would be too much makes room of all that was there.
#[derive(Default)]
struct Known {
    answers: HashMap<[u8; 32], Answer>,
    bytes: usize,
}

impl Known {
    fn keep(&mut self, id: [u8; 32], answer: Answer) {
        let size = |answer: &Answer| answer.as_ref().map_or(0, |text| text.len());
        let more = size(&answer);
        if self.answers.len() >= KEPT || self.bytes + more > KEPT_BYTES {
            *self = Known::default();
        }
        let before = self.answers.insert(id, answer);
        self.bytes = self.bytes + more - before.as_ref().map_or(0, size);
    }
}

impl Tools {
    /// Tools, and charts of elsewhere. `places` says where tools are that are not to be looked for in PATH, by name.
    pub fn new(charts: Charts, places: BTreeMap<&'static str, PathBuf>) -> Self {
        let (turns, known) = (Semaphore::new(AT_A_TIME), Mutex::default());
        Tools { sandbox: Sandbox::new(places), charts, memory: None, turns, known }
    }

    /// The same, which says what is random as it said it first for as long as this lasts.
    #[must_use]
    pub fn remembering(self, memory: Memory) -> Self {
        Tools { memory: Some(Arc::new(memory)), ..self }
    }

    /// Runs the tool, or takes what it told before.
    async fn run(&self, tool: &'static str, order: Order) -> Answer {
        let broken = |reason: String| ToolError::Broken { tool, reason };
        let memory = self.memory.clone();
        let make = order.make.clone();
        let prepare = move || {
            let kept = memory.and_then(|memory| Some((Memory::name(&order)?, memory)));
            match kept.as_ref().and_then(|(name, memory)| memory.get(name)) {
                Some(told) => Ok((Some(told), None, kept)),
                None => lay_out(&order).map(|folder| (None, Some(folder), kept)),
            }
        };
        let blocked = |error: tokio::task::JoinError| broken(error.to_string());
        let prepared = tokio::task::spawn_blocking(prepare).await.map_err(blocked)?;
        let (told, folder, kept) = prepared.map_err(|error| broken(error.to_string()))?;
        let Some(folder) = folder else { return Ok(Arc::new(told.unwrap_or_default())) };
        let told = Arc::new(self.sandbox.run(tool, &arguments(&make), folder.path()).await?);
        if let Some((name, memory)) = kept {
            let told = told.clone();
            let written = tokio::task::spawn_blocking(move || memory.keep(&name, &told)).await.map_err(blocked)?;
            if let Err(error) = written {
                tracing::warn!(%error, "what a chart made can't be kept: what is random in it will be another after a restart");
            }
        }
        Ok(told)
    }
}

#[async_trait]
impl ObjectTools for Tools {
    async fn make(&self, order: Order) -> Result<Vec<u8>, ToolError> {
        let id = identity(&order);
        let known = |tools: &Self| tools.known.lock().unwrap_or_else(PoisonError::into_inner).answers.get(&id).cloned();
        if let Some(answer) = known(self) {
            return answer.map(|text| text.as_ref().clone());
        }
        let tool = tool(&order.make);
        let broken = |reason: String| ToolError::Broken { tool, reason };
        let _turn = self.turns.acquire().await.map_err(|error| broken(error.to_string()))?;
        if let Some(answer) = known(self) {
            return answer.map(|text| text.as_ref().clone());
        }
        let answer = self.run(tool, order).await;
        // What the machine could not do it may be able to do next time.
        if matches!(answer, Ok(_) | Err(ToolError::Refused { .. })) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).keep(id, answer.clone());
        }
        answer.map(|text| text.as_ref().clone())
    }

    async fn chart(&self, chart: &RemoteChart) -> Result<Vec<(String, Vec<u8>)>, ToolError> {
        self.charts.files(chart).await
    }

    async fn check(&self) -> Result<(String, Vec<String>), String> {
        self.sandbox.check()
    }
}

fn tool(make: &Make) -> &'static str {
    match make {
        Make::Kustomize { .. } => "kustomize",
        Make::Helm { .. } => "helm",
    }
}

/// What an order is told by: all that goes into the answer.
fn identity(order: &Order) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut sized = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    sized(format!("{:?}", order.make).as_bytes());
    for (path, bytes) in &order.files {
        sized(path.as_bytes());
        sized(bytes);
    }
    hash.finalize().into()
}

fn arguments(make: &Make) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match make {
        Make::Kustomize { folder } => {
            let folder = format!("{FILES}/{folder}");
            own(&["build", "--load-restrictor", "LoadRestrictionsRootOnly", &folder])
        }
        Make::Helm { chart, release, namespace, files, skip_hooks, cluster, .. } => {
            let chart = format!("{FILES}/{chart}");
            let mut words = own(&["template", release, &chart, "--namespace", namespace, "--include-crds"]);
            for file in files {
                words.extend(["--values".to_owned(), format!("{FILES}/{file}")]);
            }
            words.extend(own(&["--values", VALUES]));
            words.extend(skip_hooks.then(|| "--no-hooks".to_owned()));
            if let Some(version) = &cluster.version {
                words.extend(own(&["--kube-version", version]));
            }
            let mut kinds = served::kinds(cluster.version.as_deref());
            kinds.extend(cluster.kinds.iter().cloned());
            if !kinds.is_empty() {
                words.extend(own(&["--api-versions", &kinds.join(",")]));
            }
            words
        }
    }
}

/// A folder with the files of an order. It goes when the tool has ended.
fn lay_out(order: &Order) -> io::Result<Scratch> {
    let folder = Scratch::new(&std::env::temp_dir())?;
    for (path, bytes) in &order.files {
        let place = folder.path().join(FILES).join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(place, bytes)?;
    }
    if let Make::Helm { values, .. } = &order.make {
        fs::write(folder.path().join(VALUES), values)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_bytes_of_answers_are_kept() {
        let mut known = Known::default();
        let (long, short) = (Arc::new(vec![0; KEPT_BYTES / 2]), Arc::new(vec![0; 10]));
        for id in 0..5 {
            known.keep([id; 32], Ok(long.clone()));
            known.keep([id; 32], Ok(long.clone()));
            let sum: usize = known.answers.values().flatten().map(|text| text.len()).sum();
            assert!(sum == known.bytes && sum <= KEPT_BYTES && known.answers.contains_key(&[id; 32]));
        }
        for id in 0..=u8::MAX {
            known.keep([id; 32], Ok(short.clone()));
            known.keep([id; 32], Err(ToolError::Missing { tool: "helm" }));
        }
        assert!(known.answers.len() <= KEPT && known.bytes <= KEPT_BYTES);
    }
}
