//! What the pods of a workload tell: why it is not well, and its logs.

mod judge;
mod logs;
pub mod order;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use order::InTheWay;
use serde_json::{Value, json};

use self::judge::Crash;
use super::cache::{Diagnosis, Unwell};
use super::client::{Call, JSON};
use super::cluster::Cluster;
use super::fault::Fault;
use super::inventory::Parent;
use super::live::Live;
use crate::domain::workload::kubernetes::ObjectId;
use crate::net::client::segment;
use crate::secrets::redact;

/// From one look at a workload that is not well to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// How many pods of a workload are looked at.
const PODS: u32 = 100;
/// How many workloads are looked at in one turn.
const AT_ONCE: usize = 50;
/// How many of the last lines of a container that crashed are told.
const LINES: u32 = 5;
/// What a kubelet says where the lines of a container are gone.
const LINES_GONE: &str = "unable to retrieve container logs";
/// Warnings of a kubelet about its node that it gives to every pod: none keeps one from becoming ready.
const OF_THE_NODE: [&str; 3] = ["MissingClusterDNS", "DNSConfigForming", "CheckLimitsForResolvConf"];

/// The crash that was told of each workload last, with the container's last lines.
type Crashes = HashMap<ObjectId, (Crash, String)>;

impl Cluster {
    /// Looks at the pods of workloads that are not well, for as long as they are not, and once at those of a Job that has ended; a
    /// well cluster is asked nothing.
    pub async fn diagnose_pods(self: Arc<Self>) {
        let mut changes = self.cache.changes();
        let mut crashes = Crashes::new();
        let mut over: HashMap<ObjectId, u64> = HashMap::new();
        let mut last = None;
        loop {
            changes.borrow_and_update();
            let unwell = self.cache.unwell();
            for id in self.cache.diagnosed() {
                if !unwell.iter().any(|one| one.id == id) {
                    self.cache.diagnose(&id, None);
                }
            }
            let there: HashSet<&ObjectId> = unwell.iter().map(|one| &one.id).collect();
            over.retain(|id, _| there.contains(id));
            crashes.retain(|id, _| there.contains(id));
            let due = unwell.iter().filter(|one| one.ended.is_none() || over.get(&one.id) != one.ended.as_ref());
            let due = turn(due.collect(), last.as_ref());
            if due.is_empty() {
                crashes.clear();
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            for one @ Unwell { id, ended, .. } in due {
                last = Some(id.clone());
                if let Ok(diagnosis) = self.diagnosis(one, &mut crashes).await {
                    self.cache.diagnose(id, Some(diagnosis));
                    over.extend(ended.map(|version| (id.clone(), version)));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Why what has failed did, with its pod's last lines.
    pub async fn told_by_pods(&self, id: &ObjectId, live: &Live) -> Option<String> {
        let pods = match &live.pods {
            Some(selector) => self.pods(id, selector).await.ok()?,
            None if *id == (ObjectId { kind: "Pod".into(), group: String::new(), ..id.clone() }) => {
                let (namespace, name) = (id.namespace.as_deref()?, &id.name);
                let call = Call::get(format!("/api/v1/namespaces/{namespace}/pods/{name}"));
                vec![self.server().await.ok()?.call(&call).await.ok()?]
            }
            None => return None,
        };
        self.judged(id, &pods, &mut Crashes::new()).await.message
    }

    async fn diagnosis(&self, one: &Unwell, crashes: &mut Crashes) -> Result<Diagnosis, Fault> {
        let pods = self.pods(&one.id, &one.pods).await?;
        let mut found = self.judged(&one.id, &pods, crashes).await;
        found.in_the_way = one.order.as_ref().and_then(|order| order.in_the_way(&one.uid, &pods, crate::clock::now()));
        Ok(found)
    }

    /// Deletes the pods that keep what a unit has from replacing them.
    pub(super) async fn clear_the_way(&self, parent: &Parent) -> Result<(), Fault> {
        let due: Vec<(ObjectId, InTheWay)> = {
            let state = self.cache.lock();
            parent.wanted().filter_map(|(id, _)| Some((id.clone(), state.in_the_way(parent, id)?.clone()))).collect()
        };
        for (id, InTheWay { pod, uid, version }) in due {
            let namespace = id.namespace.as_deref().unwrap_or_default();
            let options = json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": { "uid": uid, "resourceVersion": version },
            });
            let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
            let call = Call::new(Method::DELETE, path).with(JSON, &options).account(parent.account.as_deref());
            match self.server().await?.call(&call).await {
                // Gone, another one, or no longer as it was: the next look tells.
                Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                Err(error) => {
                    let what = format!("pod {pod}, of a version that is not asked for, keeps {id} from replacing it");
                    return Err(Fault::from(error).about(&what, ""));
                }
                Ok(_) => tracing::info!(%pod, of = %id, "deleted: of another version, not ready, and waited for"),
            }
            self.cache.went(&id);
        }
        Ok(())
    }

    async fn judged(&self, id: &ObjectId, pods: &[Value], crashes: &mut Crashes) -> Diagnosis {
        let verdict = judge::judge(pods);
        let mut message = verdict.message;
        if let Some(crash) = verdict.crash {
            if crashes.get(id).is_none_or(|(known, _)| *known != crash) {
                let lines = self.last_lines(id, &crash.pod, &crash.container).await;
                crashes.insert(id.clone(), (crash, lines));
            }
            let lines = crashes.get(id).map(|(_, lines)| lines.as_str()).unwrap_or_default();
            if !lines.is_empty() {
                message = message.map(|message| format!("{message}; its last lines: {lines}"));
            }
        } else if let Some(pod) = verdict.quiet {
            let warning = self.last_warning(id, &pod).await.ok().flatten();
            message = warning.map(|warning| format!("pod {pod}: {warning}")).or(message);
        }
        // A pod that tells its secrets tells them to the journal and to Git, should the rollout be taken back for it.
        let message = message.map(|message| redact::of_process().text(&message).into_owned());
        Diagnosis { restarts: verdict.restarts, message, for_good: verdict.for_good, in_the_way: None }
    }

    /// The pods of a workload.
    async fn pods(&self, id: &ObjectId, selector: &str) -> Result<Vec<Value>, Fault> {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{namespace}/pods?limit={PODS}&labelSelector={}", segment(selector));
        let mut list = self.server().await?.call(&Call::get(path)).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(pods)) => Ok(pods),
            _ => Ok(Vec::new()),
        }
    }

    /// The last lines of the container's last run that ended, in one line.
    async fn last_lines(&self, id: &ObjectId, pod: &str, container: &str) -> String {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let Ok(server) = self.server().await else { return String::new() };
        // Until it is started again, what has ended is the present run, and the one before it is gone: the kubelet keeps one.
        for run in ["&previous=true", ""] {
            let path = format!(
                "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={}{run}&tailLines={LINES}&limitBytes=4096",
                segment(container)
            );
            let Ok(text) = server.text(&Call::get(path)).await else { continue };
            let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            // A run whose lines are gone is told of in their place.
            if !lines.iter().any(|line| line.starts_with(LINES_GONE)) {
                return lines.join(" | ");
            }
        }
        String::new()
    }

    /// What the cluster warned of last about a pod.
    async fn last_warning(&self, id: &ObjectId, pod: &str) -> Result<Option<String>, Fault> {
        let namespace = id.namespace.as_deref().unwrap_or_default();
        let fields = segment(&format!("involvedObject.name={pod},type=Warning"));
        let path = format!("/api/v1/namespaces/{namespace}/events?limit=20&fieldSelector={fields}");
        let list = self.server().await?.call(&Call::get(path)).await?;
        let events = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |event: &Value, field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let about = events.iter().filter(|event| !OF_THE_NODE.contains(&text(event, "reason").as_str()));
        let last = about.max_by_key(|event| text(event, "lastTimestamp"));
        Ok(last.map(|event| format!("{}: {}", text(event, "reason"), text(event, "message").trim())))
    }
}

/// Those whose turn it is: in their order from the one after `last` on, and from the first one again where they end.
fn turn<'a>(mut due: Vec<&'a Unwell>, last: Option<&ObjectId>) -> Vec<&'a Unwell> {
    due.sort_by(|one, other| one.id.cmp(&other.id));
    let next = last.map_or(0, |last| due.partition_point(|one| one.id <= *last));
    due.rotate_left(next);
    due.truncate(AT_ONCE);
    due
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn however_many_are_not_well_each_has_its_turn() {
        let unwell = |number: usize| Unwell {
            id: ObjectId {
                group: "apps".into(),
                kind: "Deployment".into(),
                namespace: Some("shop".into()),
                name: format!("web-{number}"),
            },
            pods: String::new(),
            uid: String::new(),
            order: None,
            ended: None,
        };
        let all: Vec<Unwell> = (0..2 * AT_ONCE + 1).map(unwell).collect();
        let (mut seen, mut last) = (BTreeSet::new(), None);
        for _ in 0..3 {
            let now = turn(all.iter().rev().collect(), last.as_ref());
            assert_eq!(now.len(), AT_ONCE);
            last = now.last().map(|one| one.id.clone());
            seen.extend(now.into_iter().map(|one| &one.id));
        }
        assert_eq!(seen.len(), all.len());
        let few: Vec<&Unwell> = all.iter().take(2).collect();
        assert_eq!(turn(few.clone(), last.as_ref()).len(), 2);
        assert!(turn(Vec::new(), last.as_ref()).is_empty() && turn(few, None).len() == 2);
    }
}
