//! trimtab: a push to Git becomes a safe rollout, and a bad one becomes a Git revert.
//!
//! This page is the map of the modules: the architecture in one page. `docs/architecture.md` tells the same with the reasons, and
//! `tests/structure` keeps it true.
//!
//! # One binary, three programs
//!
//! - **the daemon** decides. It mirrors a repository, renders what each *unit* (an app in an environment on one target) shall be,
//!   plans, and executes the plan phase by phase from a journal. It holds no workload and no connection of a user.
//! - **the supervisor** ([`supervisor`]) starts processes, each under a shim of its own, and adopts them after a restart.
//! - **the router** ([`router`]) carries the traffic, from the configuration it confirmed last.
//!
//! The daemon speaks to the other two in the messages of [`protocol`], over the Unix sockets of [`net`]. Each of them lives and
//! dies by itself.
//!
//! # Inside the daemon
//!
//! ```text
//!        cli ── api::client ~~~~ Unix socket ~~~~ api::server          adapters ── Git, SQLite, supervisor, router, ...
//!                                                      │                  │ implement
//!                                                      v                  v
//!                                                     app  ────uses───> ports
//!                                                      │                  │
//!                                                      └──────> domain <──┘
//! ```
//!
//! | module | what it is | what it may know |
//! |---|---|---|
//! | [`domain`] | nouns and rules: manifests, rendering, plans, strategies, the rollout's saga. Pure: no I/O, no clock | itself |
//! | [`ports`] | what the use cases need from outside, as traits with their contracts and errors | the domain |
//! | [`app`] | use cases: reconcile, execute, recover, roll back | domain and ports |
//! | [`adapters`] | one folder each behind a port | domain, ports, protocol, their library |
//! | [`api`] | the daemon's HTTP API: types, server, client | use cases |
//! | [`cli`] | one file a verb | everything, through the API or the wiring |
//! | [`load`] | an open-loop client that counts every request, for the demo, the tests and measurements | nothing |
//! | [`demo`] | `trimtab demo`: all of it in one folder, by hand or played and checked | the binary, Git, the API |
//! | [`secrets`] | age and SOPS files, keyed digests, the redactor: functions over bytes, for daemon, supervisor and verbs | the domain's plain types |
//! | [`traces`] | spans of the daemon's work, and their export by OTLP | the domain's plain types, secrets |
//! | [`clock`] | the one place that reads the wall clock | nothing |
//!
//! # The way of a change
//!
//! 1. Something marks the source as due; it carries no reason. The mirror is fetched and read at one revision.
//! 2. Documents are parsed ([`domain::manifest`]) and rendered to [`DesiredUnit`](domain::desired::DesiredUnit)s, each a blob under
//!    its *rendered digest*.
//! 3. The platform and the router are observed. What is not known is `Unknown` with a reason.
//! 4. `plan()` compares both, purely, and answers a [`Plan`](domain::plan::Plan) of absolute phases, or why it waits.
//! 5. The executor makes one phase after the other true. `Started` is durable in the journal before an effect, `Succeeded` after it;
//!    every effect is idempotent and carries the holder's [`Epoch`](domain::id::Epoch).
//! 6. A phase is kept true for as long as the rollout stays in it. A failure or an abort leads to another absolute phase; a rollback is
//!    then recorded in Git as a revert.

pub mod adapters;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod demo;
pub mod domain;
pub mod load;
pub mod net;
pub mod ports;
pub mod process;
pub mod protocol;
pub mod router;
pub mod secrets;
pub mod supervisor;
pub mod traces;
pub mod wiring;
