//! The planner: what it plans for which situation, and what holds for every plan.

mod phases;
mod properties;
mod situations;
