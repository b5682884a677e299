//! The wall clock: the one place that reads it.
//!
//! What decides gets its time as an argument (`src/domain`) or from the clock port (`src/app`), so that a test can let a week
//! pass in a millisecond. The processes of their own (router, supervisor, shim) and the clock's adapter ask here.

use jiff::Timestamp;

/// What time it is, by the machine's wall clock. It may jump; spans are measured with [`std::time::Instant`].
#[expect(clippy::disallowed_methods, reason = "every other reader of the clock calls this function")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
