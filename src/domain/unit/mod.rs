//! The unit: one app in one environment on one target. Its state is a fold over one stream of events.

pub mod event;
pub mod held;
pub mod moving;
pub mod pins;
pub mod repeat;
pub mod state;
mod way_back;
