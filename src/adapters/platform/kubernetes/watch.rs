//! Following the objects of one kind: all of them once, then each change, for as long as the server tells. A list that is not
//! complete is never taken for one; a break is told as not knowing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cache::{Cache, KindName};
use super::changes::{Broken, Changes};
use super::client::{Call, JSON, METADATA, METADATA_LIST, Server};
use super::discovery::Kind;
use super::inventory::{PARENT, Parent};
use super::labels;
use super::live::{Form, Live};
use super::refusal::ApiError;
use super::scope::Part;
use crate::domain::workload::kubernetes::ObjectId;
use crate::net::client::segment;

/// How many objects a page of a list has.
const PAGE: u32 = 500;
/// How long the server is asked to tell of changes before it is asked anew.
const WATCH_SECONDS: u32 = 290;
/// What lasted so long was no failure.
const LASTS: Duration = Duration::from_secs(60);
/// From one try to the next, growing to the last.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// What is followed.
#[derive(Clone)]
pub enum Subject {
    /// The parents of all units.
    Parents,
    /// The objects of a kind.
    Objects {
        /// Which.
        name: KindName,
        /// Its path.
        kind: Kind,
        /// Their metadata tells all that matters.
        metadata: bool,
    },
}

/// A follower of one subject.
pub struct Follower {
    /// Which server.
    pub server: Server,
    /// Where what is seen is kept.
    pub cache: Arc<Cache>,
    /// Whose objects.
    pub installation: String,
    /// What is followed.
    pub subject: Subject,
    /// Where.
    pub part: Part,
    /// The server's name, for people.
    pub cluster: String,
}

/// Why a watch ended.
enum End {
    /// The server's time was over, or it broke off: it goes on from the last version.
    Resume,
    /// What was seen last is too old to go on from: everything is read anew.
    Relist,
    /// It can't be seen; why, and when the server wants to be asked again.
    Lost(String, Option<Duration>),
}

impl Follower {
    /// Follows for good.
    pub async fn run(self) {
        let (mut tries, mut forgets) = (0, 0);
        loop {
            match self.list().await {
                Ok(mut version) => {
                    tries = 0;
                    let begun = Instant::now();
                    while let Some(next) = self.watch_from(version).await {
                        version = next;
                    }
                    // A server that forgets at once what it told is not asked without end.
                    forgets = if begun.elapsed() < LASTS { forgets } else { 0 };
                    self.pause(&mut forgets, None).await;
                }
                // The server has no such kind, and so no such objects.
                Err(error) if error.code() == Some(404) => {
                    self.replace(Vec::new());
                    self.pause(&mut tries, None).await;
                }
                Err(error) => {
                    self.lost(&error.to_string());
                    self.pause(&mut tries, error.retry_after()).await;
                }
            }
        }
    }

    /// Watches until everything must be read anew. Answers the version to go on from.
    async fn watch_from(&self, mut version: String) -> Option<String> {
        let mut tries = 0;
        loop {
            match self.watch(&mut version, &mut tries).await {
                End::Resume => {
                    tokio::time::sleep(PAUSES[0]).await;
                    return Some(version);
                }
                End::Relist => return None,
                End::Lost(reason, asked) => {
                    self.lost(&reason);
                    self.pause(&mut tries, asked).await;
                }
            }
        }
    }

    fn path(&self) -> String {
        let selector = match &self.subject {
            Subject::Parents => format!("{PARENT}=true,{}={}", labels::INSTALLATION, self.installation),
            Subject::Objects { .. } => format!("{}={},!{PARENT}", labels::INSTALLATION, self.installation),
        };
        let part = self.part.as_deref();
        let collection = match (&self.subject, part) {
            (Subject::Parents, None) => "/api/v1/configmaps".to_owned(),
            (Subject::Parents, Some(namespace)) => format!("/api/v1/namespaces/{namespace}/configmaps"),
            (Subject::Objects { kind, .. }, part) => kind.collection(part),
        };
        format!("{collection}?labelSelector={}", segment(&selector))
    }

    fn metadata(&self) -> bool {
        matches!(self.subject, Subject::Objects { metadata: true, .. })
    }

    /// Reads everything; the version that a watch goes on from.
    async fn list(&self) -> Result<String, ApiError> {
        let accept = if self.metadata() { METADATA_LIST } else { JSON };
        let (mut items, mut next) = (Vec::new(), None::<String>);
        loop {
            let token = next.as_ref().map(|token| format!("&continue={}", segment(token))).unwrap_or_default();
            let page = Call::get(format!("{}&limit={PAGE}{token}", self.path())).accept(accept);
            let mut page = self.server.call(&page).await?;
            let text = |pointer: &str| page.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (version, token) = (text("/metadata/resourceVersion"), text("/metadata/continue"));
            // What a proxy answers in the server's place says of no object that it is gone.
            let is_list = page.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
            if !is_list || version.is_empty() {
                return Err(ApiError::Unreachable("the answer is no list of objects".into()));
            }
            if let Some(Value::Array(page)) = page.get_mut("items").map(Value::take) {
                items.extend(page);
            }
            if token.is_empty() {
                self.replace(items);
                return Ok(version);
            }
            next = Some(token);
        }
    }

    fn replace(&self, items: Vec<Value>) {
        match &self.subject {
            Subject::Parents => self.cache.replace_parents(&self.part, items.iter().filter_map(Parent::read).collect()),
            Subject::Objects { name, .. } => {
                let all = items.iter().filter_map(|item| self.read(item));
                self.cache.replace(name, &self.part, all.collect());
            }
        }
    }

    /// An object of the kind; items of a list don't always say of which.
    fn read(&self, object: &Value) -> Option<(ObjectId, Live)> {
        let Subject::Objects { name, kind, metadata } = &self.subject else { return None };
        let mut object = std::borrow::Cow::Borrowed(object);
        if *metadata || object.get("kind").is_none() {
            let whole = object.to_mut();
            whole["apiVersion"] = kind.api_version.as_str().into();
            whole["kind"] = name.kind.as_str().into();
        }
        let (id, mut live) = Live::read(&object, if *metadata { Form::Metadata } else { Form::Whole })?;
        if let Some(rules) = self.cache.rules_for(&id, live.unit.as_deref()) {
            live.health = rules.health(&id, &object);
            live.judged = Some(rules.mark.clone());
        }
        Some((id, live))
    }

    /// Follows changes from a version on, which it moves with them.
    async fn watch(&self, version: &mut String, tries: &mut usize) -> End {
        let accept = if self.metadata() { METADATA } else { JSON };
        let path = self.path();
        let path = format!(
            "{path}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
            segment(version)
        );
        let answer = match self.server.open(&Call::get(path).accept(accept)).await {
            Ok(answer) => answer,
            Err(ApiError::Refused(refusal)) if matches!(refusal.code, 404 | 410) => return End::Relist,
            Err(error) => return End::Lost(error.to_string(), error.retry_after()),
        };
        *tries = 0;
        self.found();
        self.read_changes(Changes::of(answer.into_body()), version).await
    }

    async fn read_changes(&self, mut changes: Changes, version: &mut String) -> End {
        loop {
            let events = match changes.next().await {
                Ok(events) => events,
                Err(Broken::Over) => return End::Resume,
                Err(Broken::Silent) => return End::Lost(format!("{} tells nothing any more", self.cluster), None),
                Err(Broken::Unreadable) => return End::Relist,
            };
            if let Some(end) = events.iter().find_map(|event| self.event(event, version)) {
                return end;
            }
        }
    }

    fn event(&self, event: &Value, version: &mut String) -> Option<End> {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let object = event.get("object")?;
        match kind {
            "ERROR" => {
                let gone = object.get("code").and_then(Value::as_u64) == Some(410);
                let reason = object.get("message").and_then(Value::as_str).unwrap_or("an error").to_owned();
                return Some(if gone { End::Relist } else { End::Lost(reason, None) });
            }
            "BOOKMARK" => {}
            _ => self.change(kind == "DELETED", object),
        }
        if let Some(seen) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            seen.clone_into(version);
        }
        None
    }

    fn change(&self, deleted: bool, object: &Value) {
        match &self.subject {
            Subject::Parents => match Parent::read(object) {
                Some(parent) if deleted => self.cache.remove_parent(parent.key()),
                Some(parent) => self.cache.put_parent(parent),
                None => {}
            },
            Subject::Objects { .. } => match self.read(object) {
                Some((id, _)) if deleted => self.cache.remove(&id),
                Some((id, live)) => self.cache.put(id, live, false),
                None => {}
            },
        }
    }

    fn lost(&self, reason: &str) {
        match &self.subject {
            Subject::Parents => self.cache.parents_lost(&self.part, Some(reason)),
            Subject::Objects { name, .. } => {
                let told = format!("the {} objects of {} can't be seen: {reason}", name.kind, self.cluster);
                self.cache.lost(name, &self.part, Some(&told));
            }
        }
    }

    /// The watch goes on where it broke off: nothing was missed.
    fn found(&self) {
        match &self.subject {
            Subject::Parents => self.cache.parents_lost(&self.part, None),
            Subject::Objects { name, .. } => self.cache.lost(name, &self.part, None),
        }
    }

    /// Waits before the next try: at least as long as the server asked for, or else until somebody asks for a look.
    async fn pause(&self, tries: &mut usize, asked: Option<Duration>) {
        let pause = PAUSES[(*tries).min(PAUSES.len() - 1)];
        *tries += 1;
        let pause = pause.mul_f64(rand::random_range(0.8..1.2));
        match asked {
            Some(asked) => tokio::time::sleep(pause.max(asked)).await,
            None => {
                let mut looks = self.cache.looks();
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = looks.changed() => {}
                }
            }
        }
    }
}
