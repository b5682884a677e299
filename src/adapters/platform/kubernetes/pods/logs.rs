//! The logs of a unit's pods, as `pod stream line`; with several containers the pod's name is `pod/container`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::adapters::platform::kubernetes::client::Call;
use crate::adapters::platform::kubernetes::cluster::Cluster;
use crate::adapters::platform::kubernetes::fault::Fault;
use crate::adapters::platform::kubernetes::refusal::ApiError;
use crate::adapters::platform::kubernetes::{inventory::Parent, view};
use crate::domain::id::{Epoch, GroupId, UnitId};
use crate::domain::workload::kubernetes::ObjectId;
use crate::net::client::segment;
use crate::net::lines::lines;
use crate::ports::platform::{LogStream, PlatformError};

/// From one look for new pods to the next, while somebody follows.
const LOOK: Duration = Duration::from_secs(2);
/// How many pieces wait for a slow reader.
const PIECES: usize = 64;
/// How many containers are followed at once.
const MOST: usize = 100;
/// The stream of the groups that replace each other in place.
const IN_PLACE: &str = "in place";

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    namespace: String,
    pod: String,
    container: String,
    /// How often it was started again: each run has lines of its own.
    restarts: u64,
    /// What its lines are marked with.
    mark: String,
}

impl Source {
    fn path(&self, query: &str) -> String {
        let Source { namespace, pod, container, .. } = self;
        format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={}&{query}", segment(container))
    }
}

impl Cluster {
    /// The last lines of a unit's pods.
    pub async fn read_logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<String, Fault> {
        let mut out = String::new();
        let server = self.server().await?;
        for source in self.sources(unit, group, instance).await?.into_iter().take(MOST) {
            match server.text(&Call::get(source.path(&format!("tailLines={tail}")))).await {
                Ok(text) => text.lines().for_each(|line| push(&mut out, &source.mark, line)),
                // It has not started yet, or is gone.
                Err(ApiError::Refused(refusal)) if matches!(refusal.code, 400 | 404) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(out)
    }

    /// See [`crate::ports::platform::Platform::log_stream`].
    pub fn log_stream(&self, unit: &UnitId, group: &GroupId) -> String {
        match self.is_in_place(unit, group) {
            true => IN_PLACE.into(),
            false => group.to_string(),
        }
    }

    fn is_in_place(&self, unit: &UnitId, group: &GroupId) -> bool {
        self.cache.lock().parent_of(unit, group).is_some_and(|parent| parent.version_of.is_none())
    }

    /// The same, and the lines that come, until the group is gone; where it is replaced in place, until the unit is.
    pub async fn follow_logs(
        self: Arc<Self>,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<LogStream, Fault> {
        self.sources(unit, group, instance).await?;
        let in_place = self.is_in_place(unit, group);
        let (sender, receiver) = mpsc::channel(PIECES);
        let (unit, mut group, instance) = (unit.clone(), group.clone(), instance.map(str::to_owned));
        tokio::spawn(async move {
            let mut known: BTreeSet<Source> = BTreeSet::new();
            let mut query = format!("follow=true&tailLines={tail}");
            while !sender.is_closed() {
                if let (true, Some(parent)) = (in_place, self.cache.lock().parent(&unit)) {
                    group = parent.group.clone();
                }
                let sources = match self.sources(&unit, &group, instance.as_deref()).await {
                    Ok(sources) => sources,
                    // The group is gone.
                    Err(Fault::Refused(_)) => return,
                    // A server that is away for a moment has the lines still.
                    Err(_) => {
                        tokio::time::sleep(LOOK).await;
                        continue;
                    }
                };
                known.retain(|source| sources.contains(source));
                for source in sources.into_iter().take(MOST) {
                    if known.insert(source.clone()) {
                        tokio::spawn(pass_on(self.clone(), source, query.clone(), sender.clone()));
                    }
                }
                // Of a pod that comes later all lines are new.
                query = "follow=true".into();
                tokio::time::sleep(LOOK).await;
            }
        });
        Ok(ReceiverStream::new(receiver).boxed())
    }

    /// The containers of a unit's pods; of one workload, where it is named. `instance` may also be a pod.
    async fn sources(&self, unit: &UnitId, group: &GroupId, instance: Option<&str>) -> Result<Vec<Source>, Fault> {
        let parent = self.cache.lock().parent_of(unit, group).cloned();
        let Some(parent) = parent else { return Err(Fault::Refused(format!("{unit} has no group {group}"))) };
        let mut all = Vec::new();
        for (id, selector) in self.workloads(&parent) {
            let whole = instance.is_none_or(|name| name == view::name(&parent, &id));
            for pod in self.pods(&id, &selector).await? {
                let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                if whole || instance == Some(name) {
                    all.extend(containers(&id, name, &pod));
                }
            }
        }
        all.sort();
        Ok(all)
    }

    fn workloads(&self, parent: &Parent) -> Vec<(ObjectId, String)> {
        let state = self.cache.lock();
        let pods = |id: &ObjectId| state.live(id)?.pods.clone();
        parent.wanted().filter_map(|(id, _)| Some((id.clone(), pods(id)?))).collect()
    }
}

/// The containers that have been started: of others the kubelet has no lines yet.
fn containers(id: &ObjectId, pod: &str, object: &Value) -> Vec<Source> {
    let all =
        object.pointer("/status/containerStatuses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let several = all.len() > 1;
    let has_lines = |status: &Value| {
        let at = |pointer: &str| status.pointer(pointer).is_some_and(Value::is_object);
        at("/state/running") || at("/state/terminated") || at("/lastState/terminated")
    };
    let source = |status: &Value| {
        let container = status.get("name")?.as_str()?.to_owned();
        Some(Source {
            namespace: id.namespace.clone().unwrap_or_default(),
            pod: pod.to_owned(),
            mark: if several { format!("{pod}/{container}") } else { pod.to_owned() },
            restarts: status.get("restartCount").and_then(Value::as_u64).unwrap_or_default(),
            container,
        })
    };
    all.iter().filter(|status| has_lines(status)).filter_map(source).collect()
}

fn push(out: &mut String, mark: &str, line: &str) {
    out.push_str(mark);
    out.push_str(" stdout ");
    out.push_str(line);
    out.push('\n');
}

/// Passes on the lines of a container until it ends or nobody reads.
async fn pass_on(
    cluster: Arc<Cluster>,
    source: Source,
    query: String,
    sender: mpsc::Sender<Result<String, PlatformError>>,
) {
    let Ok(server) = cluster.server().await else { return };
    let answer = match server.open(&Call::get(source.path(&query))).await {
        Ok(answer) => answer,
        Err(error) => {
            let late = matches!(error.code(), Some(400 | 404));
            if !late {
                let _ = sender.send(Err(Fault::from(error).told(&cluster.name, Epoch(0)))).await;
            }
            return;
        }
    };
    let mut pieces = Box::pin(lines(answer.into_body()));
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            () = sender.closed() => return,
        };
        let Some(Ok(piece)) = piece else { return };
        let mut marked = String::new();
        piece.lines().for_each(|line| push(&mut marked, &source.mark, line));
        if sender.send(Ok(marked)).await.is_err() {
            return;
        }
    }
}
