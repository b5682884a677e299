//! What analyses measure with: the router's counters, and HTTP answers.

mod http;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use crate::adapters::outgoing::Destinations;
use crate::adapters::web::Web;
use crate::domain::analysis::{Measure, Measurement, Outcome, RouterMeasure};
use crate::domain::counters::Counters;
use crate::domain::id::UnitId;
use crate::domain::judge::{Sample, judge_router};
use crate::domain::observed::Seen;
use crate::ports::metrics::{MeasureRequest, Metrics};
use crate::ports::traffic::Traffic;

/// The measuring side of one target's data planes.
///
/// A router measurement needs a reading from when the analysis began. Where that is missing, or the router was restarted
/// since, the present reading takes its place: that measurement is inconclusive and the next ones count from there. The
/// substitute lives in memory, one a unit; a restart of the daemon costs one more inconclusive measurement at most.
pub struct Meter {
    traffic: Arc<dyn Traffic>,
    http: Web,
    destinations: Destinations,
    /// The readings that took the place of baselines, by unit.
    renewed: Mutex<HashMap<UnitId, Counters>>,
}

impl Meter {
    /// A meter of the routes behind `traffic`, whose own requests go only where `destinations` lets them.
    pub fn new(traffic: Arc<dyn Traffic>, destinations: Destinations) -> Self {
        Meter { traffic, http: http::client(&destinations), destinations, renewed: Mutex::default() }
    }

    async fn router(&self, request: &MeasureRequest, measure: &RouterMeasure) -> Measurement {
        let now = match self.traffic.counters(&request.unit).await {
            Seen::Known(now) => now,
            Seen::Unknown(reason) => return inconclusive(format!("the router's counters are not known: {reason}")),
        };
        let given = request.baseline.clone().and_then(|value| serde_json::from_value::<Counters>(value).ok());
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).get(&request.unit).cloned();
        // A baseline that still counts is the better one: it has seen more.
        for baseline in [given.as_ref(), renewed.as_ref()].into_iter().flatten() {
            if let Some(measurement) = judge(request, measure, baseline, &now) {
                return measurement;
            }
        }
        let why = match given {
            Some(_) => "the router was restarted since the analysis began",
            None => "the router's counters were not known when the analysis began",
        };
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).insert(request.unit.clone(), now);
        inconclusive(format!("{why}: it is measured from here on"))
    }
}

/// The measurement since a baseline; `None` when counters began anew since it.
fn judge(
    request: &MeasureRequest,
    measure: &RouterMeasure,
    baseline: &Counters,
    now: &Counters,
) -> Option<Measurement> {
    let target = now.group_since(baseline, &request.target)?;
    let stable = match &request.stable {
        Some(stable) if *stable != request.target => Some(now.group_since(baseline, stable)?),
        _ => None,
    };
    let sample = |counters| Sample { counters, bounds_us: &now.bounds_us };
    Some(judge_router(measure, sample(&target), stable.as_ref().map(sample)))
}

fn inconclusive(detail: String) -> Measurement {
    Measurement { outcome: Outcome::Inconclusive, detail }
}

#[async_trait]
impl Metrics for Meter {
    async fn baseline(&self, unit: &UnitId, measure: &Measure) -> Option<Value> {
        let Measure::Router(_) = measure else { return None };
        // The stable version's counters are part of it, so that both are measured over the same time.
        match self.traffic.counters(unit).await {
            Seen::Known(counters) => serde_json::to_value(counters).ok(),
            Seen::Unknown(_) => None,
        }
    }

    async fn measure(&self, request: &MeasureRequest) -> Measurement {
        match &request.measure {
            Measure::Router(measure) => self.router(request, measure).await,
            Measure::Http { url, timeout } => {
                http::measure(&self.http, &self.destinations, url, timeout.duration()).await
            }
            Measure::Script(_) => inconclusive("scripts are not run by the meter".into()),
        }
    }
}
