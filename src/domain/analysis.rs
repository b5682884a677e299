//! Analyses: questions about a running version whose answer decides whether a rollout goes on.
//!
//! No data is never success: an analysis that could not measure is inconclusive, and inconclusive does not promote.

use serde::{Deserialize, Serialize};

use super::hook::ScriptSpec;
use super::span::Span;

/// One analysis: a measurement, repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// What is measured.
    pub measure: Measure,
    /// From one measurement to the next.
    pub interval: Span,
    /// How many measurements must succeed.
    pub count: u32,
    /// More failed measurements than this fail the analysis.
    #[serde(default)]
    pub failure_limit: u32,
    /// More measurements in a row than this that could not be taken (error, too few requests) end it as inconclusive.
    pub inconclusive_limit: u32,
}

/// What an analysis measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// The router's own counters of the new group since the analysis began, beside those of the stable group.
    Router(RouterMeasure),
    /// A GET; a status of 200-299 is success, 400-599 failure, anything else could not be measured.
    Http {
        /// `http://` or `https://`.
        url: String,
        /// After this it could not be measured.
        timeout: Span,
    },
    /// A script: exit code 0 is success, 1-125 failure, anything else (a signal, a timeout) could not be measured.
    Script(ScriptSpec),
}

/// Bounds on what the router measured; all that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterMeasure {
    /// The share of requests answered 5xx or not at all, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<Bound>,
    /// The median time to the answer's head, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p50: Option<Bound>,
    /// The 95th percentile, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p95: Option<Bound>,
    /// The 99th percentile, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<Bound>,
    /// With fewer requests to the new group (and to the stable one, where a bound compares with it) nothing is concluded.
    pub at_least: u64,
}

/// An upper bound, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// At most this, in the measure's unit.
    AtMost(u64),
    /// At most this many millionths of what the stable group shows in the same time.
    TimesStable(u64),
}

/// What one measurement said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen, for people: `error rate 3.2% of 412 requests, at most 1%`.
    pub detail: String,
}

/// How a measurement or an analysis came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// All bounds held on enough data.
    Success,
    /// A bound did not hold.
    Failure,
    /// It could not be told.
    Inconclusive,
}
