//! What is outside the daemon, and stays when it dies.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use trimtab::adapters::clock::Anchor;
use trimtab::adapters::platform::fake::{Behaviour, Fake, Script};
use trimtab::domain::digest::Digest;
use trimtab::domain::id::{Epoch, UnitId};
use trimtab::domain::observed::ObservedRun;
use trimtab::domain::span::Span;
use trimtab::ports::journal::Record;

use super::dice::Dice;
use super::repository::Repository;

/// The stored journal.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub streams: BTreeMap<String, Vec<Record>>,
    pub snapshots: BTreeMap<String, (u64, u32, Value)>,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub epoch: Epoch,
    pub records: u64,
}

/// On which side of an effect the daemon dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it has happened.
    Before,
    /// It has happened, and nobody was told.
    After,
}

/// What may go wrong at each effect.
#[derive(Clone, Debug)]
pub struct Weather {
    pub dice: Dice,
    /// Of a thousand effects, so many kill the daemon.
    pub deaths: u64,
    /// Of a thousand effects, so many fail.
    pub failures: u64,
    /// Of a thousand effects, so many happen without an answer.
    pub lost: u64,
    /// The remote does not answer until then.
    pub git_down: Timestamp,
    /// The supervisor does not answer until then.
    pub platform_down: Timestamp,
    /// The router does not answer until then.
    pub router_down: Timestamp,
    /// The one effect that kills, by its number, and on which side.
    pub death: Option<(usize, Moment)>,
}

impl Weather {
    pub fn calm(dice: Dice) -> Self {
        let past = Timestamp::MIN;
        Weather {
            dice,
            deaths: 0,
            failures: 0,
            lost: 0,
            git_down: past,
            platform_down: past,
            router_down: past,
            death: None,
        }
    }
}

/// Everything outside.
pub struct Outside {
    /// The true time.
    pub now: Timestamp,
    /// How far the daemon's wall clock is off.
    pub skew: SignedDuration,
    /// What the daemon keeps of its clock.
    pub anchor: Option<Anchor>,
    pub store: Store,
    pub git: Repository,
    pub platforms: BTreeMap<UnitId, Fake>,
    pub platform_epoch: Epoch,
    pub router_epoch: Epoch,
    pub weather: Weather,
    /// Effects so far, of all daemons.
    pub effects: usize,
    /// Grows when something observable changed.
    pub changes: u64,
    /// What happened, for people.
    pub trace: Vec<String>,
    /// How long requests on an instance that was taken out go on, and how late a router confirms.
    pub drain: Span,
    pub confirm: Span,
}

/// What becomes of a version is in its name: `g` is good; `n` never gets ready, `c` crashes at once, `u` stops being ready after a
/// while, `e` answers with errors, `h` fails its hooks.
pub fn kind(version: &str) -> char {
    version.chars().next().unwrap_or('g')
}

impl Outside {
    pub fn new(now: Timestamp, dice: Dice) -> Self {
        Outside {
            now,
            skew: SignedDuration::ZERO,
            anchor: None,
            store: Store::default(),
            git: Repository::default(),
            platforms: BTreeMap::new(),
            platform_epoch: Epoch(0),
            router_epoch: Epoch(0),
            weather: Weather::calm(dice),
            effects: 0,
            changes: 0,
            trace: Vec::new(),
            drain: Span::from_secs(1),
            confirm: Span::ZERO,
        }
    }

    pub fn wall(&self) -> Timestamp {
        self.now.checked_add(self.skew).unwrap()
    }

    pub fn note(&mut self, what: impl std::fmt::Display) {
        let line = format!("{} {what}", self.now.strftime("%H:%M:%S%.3f"));
        self.trace.push(line);
    }

    /// One unit's part of the platform.
    pub fn platform(&mut self, unit: &UnitId) -> &mut Fake {
        let (now, drain, confirm) = (self.now, self.drain, self.confirm);
        let fake = self.platforms.entry(unit.clone()).or_insert_with(|| Fake::new(now));
        (fake.drain, fake.confirm) = (drain, confirm);
        fake.pass_to(now);
        fake
    }

    /// Teaches a unit's platform how a version behaves.
    pub fn teach(&mut self, unit: &UnitId, version: &str) {
        let behaviour = match kind(version) {
            'n' => Behaviour { ready_after: None, ..Behaviour::default() },
            'c' => Behaviour { crash_after: Some(Span::from_millis(500)), ready_after: None, ..Behaviour::default() },
            'u' => Behaviour { unready_after: Some(Span::from_secs(8)), ..Behaviour::default() },
            _ => Behaviour::default(),
        };
        self.platform(unit).behaviours.insert(version.to_owned(), behaviour);
    }

    pub fn start_run(&mut self, unit: &UnitId, run: &trimtab::domain::id::RunId, version: &str) {
        let fails = kind(version) == 'h' && run.as_str().contains("-before-") && !run.as_str().contains("undo");
        let end = ObservedRun::Exited(i32::from(fails));
        let fake = self.platform(unit);
        fake.scripts.insert(run.to_string(), Script { takes: Span::from_secs(2), end });
        fake.start_run(run, run.as_str());
    }

    /// When something changes by itself.
    pub fn next_change(&self) -> Option<Timestamp> {
        let weather = [self.weather.git_down, self.weather.platform_down, self.weather.router_down];
        let platforms = self.platforms.values().filter_map(Fake::next_change);
        platforms.chain(weather.into_iter().filter(|at| *at > self.now)).min()
    }

    pub fn pass_to(&mut self, at: Timestamp) {
        if self.next_change().is_some_and(|change| change <= at) {
            self.changes += 1;
        }
        self.now = at;
        for fake in self.platforms.values_mut() {
            fake.pass_to(at);
        }
    }
}
