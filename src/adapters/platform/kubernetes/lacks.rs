//! What units lack on a cluster before they can go on, and the look whether it has come: a namespace, a kind, the end of what is being
//! deleted. Rights and webhooks are not looked at: nothing tells of them but another try.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::arrivals::Sort;
use super::client::{Call, METADATA};
use super::cluster::Cluster;
use super::fault::Fault;
use super::refusal::ApiError;
use crate::domain::id::UnitId;
use crate::domain::workload::kubernetes::ObjectId;
use crate::net::client::segment;

/// Before the first look, and after whatever may have brought what is lacking; twice as long before each one after.
const FIRST: Duration = Duration::from_secs(2);
/// The longest time from one look to the next.
const LONGEST: Duration = Duration::from_secs(30);
/// So many namespaces are asked about in one look; the others have their turn in the next.
const AT_ONCE: usize = 8;

/// One thing that is lacking.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A namespace is not there.
    Namespace(String),
    /// A namespace is on its way out, and takes nothing new.
    End(String),
    /// A kind, in a version.
    Kind(String, String),
    /// An object has to go first.
    Gone(ObjectId),
}

impl Lack {
    /// What a server's no says of it, where it says anything.
    pub fn of(error: &ApiError, namespace: Option<&str>) -> Option<Lack> {
        let ApiError::Refused(refusal) = error else { return None };
        if refusal.causes.iter().any(|cause| cause.reason == "NamespaceTerminating") {
            return namespace.map(|namespace| Lack::End(namespace.to_owned()));
        }
        let missing = refusal.message.strip_prefix("namespaces \"")?.strip_suffix("\" not found")?;
        Some(Lack::Namespace(missing.to_owned()))
    }
}

/// What all units lack.
#[derive(Default)]
pub struct Lacks {
    known: Mutex<BTreeMap<UnitId, BTreeSet<Lack>>>,
    /// The units that lacked something which has come since somebody asked.
    eased: Mutex<BTreeSet<UnitId>>,
    /// Changes with each lack that is noted.
    noted: watch::Sender<u64>,
    /// Something that is lacking may have come.
    stirred: Notify,
    /// Whose turn it is among the namespaces.
    turn: Mutex<usize>,
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lacks {
    /// A unit can't go on without this.
    pub fn note(&self, unit: &UnitId, lack: Lack) {
        locked(&self.known).entry(unit.clone()).or_default().insert(lack);
        self.noted.send_modify(|count| *count += 1);
    }

    /// Changes with each lack that is noted.
    pub fn noted(&self) -> watch::Receiver<u64> {
        self.noted.subscribe()
    }

    /// Something that is lacking may have come: it is looked at once.
    pub fn stir(&self) {
        self.stirred.notify_one();
    }

    /// A unit is tried: what it lacks is told anew.
    pub fn forget(&self, unit: &UnitId) {
        locked(&self.known).remove(unit);
    }

    /// Git asks for these units by now: nobody waits for what others lacked.
    pub fn keep(&self, asked: &BTreeSet<UnitId>) {
        locked(&self.known).retain(|unit, _| asked.contains(unit));
    }

    /// The units that may be tried at once, since this was asked last.
    pub fn take_eased(&self) -> BTreeSet<UnitId> {
        std::mem::take(&mut *locked(&self.eased))
    }

    /// All of it.
    pub fn all(&self) -> BTreeSet<Lack> {
        locked(&self.known).values().flatten().cloned().collect()
    }

    /// Something has come; the units that lacked it are tried with all else that they lack.
    fn ease(&self, come: &BTreeSet<Lack>) {
        let mut known = locked(&self.known);
        let units: Vec<UnitId> =
            known.iter().filter(|(_, lacks)| !lacks.is_disjoint(come)).map(|(unit, _)| unit.clone()).collect();
        units.iter().for_each(|unit| drop(known.remove(unit)));
        locked(&self.eased).extend(units);
    }

    /// Some of the namespaces, others with each call.
    fn some<'a>(&self, namespaces: &'a BTreeSet<&'a str>) -> Vec<&'a str> {
        let mut turn = locked(&self.turn);
        let count = namespaces.len().min(AT_ONCE);
        let from = *turn % namespaces.len().max(1);
        *turn = turn.wrapping_add(count);
        namespaces.iter().cycle().skip(from).take(count).copied().collect()
    }
}

/// The looks at what is lacking.
#[derive(Default)]
struct Rounds {
    known: BTreeSet<Lack>,
    pause: Duration,
}

impl Rounds {
    /// Whether something is lacking by now that was not before.
    fn is_news(&self, lacking: &BTreeSet<Lack>) -> bool {
        !lacking.is_subset(&self.known)
    }

    /// How long to wait before the next look.
    fn next(&mut self, lacking: BTreeSet<Lack>) -> Duration {
        self.pause = if self.is_news(&lacking) { FIRST } else { (self.pause * 2).min(LONGEST) };
        self.known = lacking;
        self.pause
    }

    /// The next one comes soon again.
    fn begin_anew(&mut self) {
        self.known.clear();
    }
}

impl Cluster {
    /// Looks for as long as anything is lacking: at once when something tells that it may have come, and else less and less often.
    pub async fn await_lacks(self: Arc<Self>) {
        tokio::join!(self.look_for_lacks(), self.hear_of(Sort::Namespaces), self.hear_of(Sort::Definitions));
    }

    async fn look_for_lacks(&self) {
        let (mut rounds, mut noted) = (Rounds::default(), self.lacks.noted());
        loop {
            noted.borrow_and_update();
            if self.lacks.all().is_empty() {
                if noted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            self.until_next_look(&mut rounds, &mut noted).await;
            let come = self.come(&self.lacks.all()).await;
            if !come.is_empty() {
                rounds.begin_anew();
                self.lacks.ease(&come);
                self.cache.changed();
            }
        }
    }

    async fn until_next_look(&self, rounds: &mut Rounds, noted: &mut watch::Receiver<u64>) {
        let mut changes = self.cache.changes();
        let pause = tokio::time::sleep(rounds.next(self.lacks.all()));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                () = self.lacks.stirred.notified() => {
                    // What has just been defined is served a moment later.
                    rounds.begin_anew();
                    return;
                }
                _ = changes.changed() => if !self.gone(&self.lacks.all()).is_empty() {
                    return;
                },
                _ = noted.changed() => if rounds.is_news(&self.lacks.all()) {
                    pause.as_mut().reset(tokio::time::Instant::now() + FIRST);
                },
            }
        }
    }

    /// Which objects that had to go are gone.
    fn gone(&self, lacking: &BTreeSet<Lack>) -> BTreeSet<Lack> {
        let state = self.cache.lock();
        let gone = |lack: &&Lack| matches!(lack, Lack::Gone(id) if state.live(id).is_none());
        lacking.iter().filter(gone).cloned().collect()
    }

    /// What of it has come. What can't be told has not.
    async fn come(&self, lacking: &BTreeSet<Lack>) -> BTreeSet<Lack> {
        let mut come = BTreeSet::new();
        let name = |lack: &Lack| match lack {
            Lack::Namespace(name) | Lack::End(name) => Some(name.clone()),
            Lack::Kind(..) | Lack::Gone(_) => None,
        };
        let named: BTreeSet<String> = lacking.iter().filter_map(name).collect();
        for name in self.lacks.some(&named.iter().map(String::as_str).collect()) {
            let Some(state) = self.namespace(name).await else { continue };
            let ended = Lack::End(name.to_owned());
            // One that is gone may be made by the unit itself.
            come.extend((state != Namespace::Ending && lacking.contains(&ended)).then_some(ended));
            come.extend((state == Namespace::There).then(|| Lack::Namespace(name.to_owned())));
        }
        if lacking.iter().any(|lack| matches!(lack, Lack::Kind(..)))
            && let Ok(server) = self.server().await
            && self.discovery.refresh(server.as_ref()).await.is_ok()
        {
            let there = |lack: &&Lack| matches!(lack, Lack::Kind(version, kind) if self.discovery.has(version, kind));
            come.extend(lacking.iter().filter(there).cloned());
        }
        come.extend(self.gone(lacking));
        come
    }

    /// How a namespace is; `None`: it can't be told, such as where the daemon has no right to look.
    async fn namespace(&self, name: &str) -> Option<Namespace> {
        let call = Call::get(format!("/api/v1/namespaces/{}", segment(name))).accept(METADATA);
        match self.server().await.ok()?.call(&call).await {
            Ok(found) if found.pointer("/metadata/deletionTimestamp").is_some() => Some(Namespace::Ending),
            Ok(_) => Some(Namespace::There),
            Err(error) if error.code() == Some(404) => Some(Namespace::Absent),
            Err(_) => None,
        }
    }

    /// Remembers what a unit lacked when it was tried.
    pub(super) fn note_lack(&self, unit: &UnitId, fault: &Fault) {
        match fault {
            Fault::NoNamespace(name) => self.lacks.note(unit, Lack::Namespace(name.clone())),
            Fault::NoKind { api_version, kind, .. } => {
                self.lacks.note(unit, Lack::Kind(api_version.clone(), kind.clone()));
            }
            _ => {}
        }
    }

    /// Remembers what an object of a unit lacked when it was tried.
    pub(super) fn note_lack_of(&self, unit: &UnitId, id: &ObjectId, fault: &Fault) {
        let going = self.cache.lock().live(id).is_some_and(|live| live.deleting.is_some());
        let lack = match fault {
            _ if going => Some(Lack::Gone(id.clone())),
            Fault::Api(error) => Lack::of(error, id.namespace.as_deref()),
            _ => None,
        };
        if let Some(lack) = lack {
            self.lacks.note(unit, lack);
        }
    }
}

/// How a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Absent,
    Ending,
    There,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(app: &str) -> UnitId {
        format!("{app}/production/default").parse().expect("a unit")
    }

    #[test]
    fn who_lacked_what_has_come_is_told_once() {
        let lacks = Lacks::default();
        let shop = Lack::Namespace("shop".into());
        lacks.note(&unit("web"), shop.clone());
        lacks.note(&unit("web"), Lack::Kind("example.com/v1".into(), "Widget".into()));
        lacks.note(&unit("db"), Lack::End("other".into()));
        lacks.ease(&[shop].into());
        assert_eq!(lacks.take_eased(), [unit("web")].into());
        assert_eq!(lacks.take_eased(), BTreeSet::new());
        assert_eq!(lacks.all(), [Lack::End("other".into())].into());
        lacks.forget(&unit("db"));
        assert!(lacks.all().is_empty());
        lacks.note(&unit("web"), Lack::End("shop".into()));
        lacks.keep(&[unit("web")].into());
        assert_eq!(lacks.all().len(), 1);
        lacks.keep(&[unit("db")].into());
        assert!(lacks.all().is_empty(), "Git asks for it no more");
    }

    #[test]
    fn what_does_not_come_is_looked_for_less_and_less_often() {
        let all = |names: &[&str]| names.iter().map(|name| Lack::Namespace((*name).into())).collect::<BTreeSet<_>>();
        let mut rounds = Rounds::default();
        let mut next = |names: &[&str]| rounds.next(all(names)).as_secs();
        assert_eq!([next(&["a"]), next(&["a"]), next(&["a"])], [2, 4, 8]);
        // What was tried again and still lacks the same is no news; what lacks something else is.
        assert_eq!([next(&["a", "b"]), next(&["b"]), next(&["b"]), next(&["b"])], [2, 4, 8, 16]);
        assert_eq!([next(&["b"]), next(&["b"])], [30, 30]);
        rounds.begin_anew();
        assert_eq!(rounds.next(all(&["b"])).as_secs(), 2);
    }

    #[test]
    fn each_of_many_namespaces_has_its_turn() {
        let lacks = Lacks::default();
        let names: Vec<String> = (0..AT_ONCE * 2 + 3).map(|number| format!("n{number:02}")).collect();
        let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let some = lacks.some(&all);
            assert_eq!(some.len(), AT_ONCE);
            seen.extend(some);
        }
        assert_eq!(seen, all);
        assert_eq!(lacks.some(&BTreeSet::new()), Vec::<&str>::new());
    }
}
