//! The whole story without hands. Each part is looked for where it must show: in the daemon's API, in Git, in the router, in
//! the processes, and in what an open-loop client got. What did not happen is an error.

mod commit;
mod sampler;
mod statistics;
mod story;
mod timeline;

pub use self::story::play;
pub use self::timeline::{Check, Event, Outcome, Timeline, millis};
