//! Time, from outside.

use jiff::Timestamp;

/// Tells the time. Timers do not hang on it: they are kept by the runtime's monotonic clock; this is for what is recorded.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}
