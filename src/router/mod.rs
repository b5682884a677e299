//! The data plane: `trimtab router` stands between clients and the instances of the groups, and is told by the daemon which
//! group gets which share. It lives by itself: killed and started again it serves what was last confirmed, without daemon.
//!
//! A request's way, on one worker thread from its first byte to its last:
//!
//! ```text
//! client -> listener -> worker -> proxy --admit--> table, hold, balance
//!                                   |                      (one read lock: found, chosen, registered)
//!                                   +--pool--> instance     (headers, body: streamed both ways)
//! ```
//!
//! A change's way: [`admin`](self) (Unix socket) -> control (checked, on disk, table swapped, drained) -> read back.
//!
//! - pure: `config` (checks), `table` (which route), `balance` (which endpoint), `headers`
//! - live: `route`, `endpoint`, `hold`, `pool`, `probe`, `stats`
//! - process: `listener`, `worker`, `handover` and `succession` (restart without a lost request), `notify` (systemd), `run`, `access` and `logfile` (what was asked)

mod access;
mod admin;
mod admit;
mod balance;
mod body;
mod certificate;
mod client;
mod config;
mod control;
mod endpoint;
mod handover;
mod headers;
mod hold;
mod listener;
mod logfile;
mod metrics;
mod notify;
mod plane;
mod pool;
mod probe;
mod proxy;
mod refusal;
mod route;
mod run;
mod signal;
mod stats;
mod store;
mod succession;
mod table;
#[cfg(test)]
mod testing;
mod tls;
mod tunnel;
mod validity;
mod wire;
mod worker;

pub use access::AccessLog;
pub use run::{Options, RunError, run};
pub use worker::Limits;
