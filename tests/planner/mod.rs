//! The planner: what it plans for which situation, and what holds for every plan.

mod gradual;
mod phases;
mod properties;
mod situations;
mod stages;
mod testers;
