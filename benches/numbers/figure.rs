//! One measured number and what it should be.

use std::time::Duration;

/// One measured number.
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    /// At most this, or at least; `None`: it is told, not promised.
    pub target: Option<f64>,
    /// Whether more is better.
    pub more: bool,
    /// How it was measured.
    pub note: String,
}

impl Figure {
    /// A number that must not be above a target.
    pub fn at_most(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: f64,
        note: impl Into<String>,
    ) -> Self {
        Figure { name: name.into(), value, unit, target: Some(target), more: false, note: note.into() }
    }

    /// A number that must not be below a target.
    pub fn at_least(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: f64,
        note: impl Into<String>,
    ) -> Self {
        Figure { more: true, ..Figure::at_most(name, value, unit, target, note) }
    }

    /// A number of a size that nothing was promised for.
    pub fn without_target(mut self) -> Self {
        self.target = None;
        self
    }

    pub fn met(&self) -> bool {
        self.target.is_none_or(|target| if self.more { self.value >= target } else { self.value <= target })
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "value": (self.value * 1000.0).round() / 1000.0,
            "unit": self.unit,
            "target": self.target,
            "met": self.met(),
            "note": self.note,
        })
    }
}

/// All of them, for people.
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<44} {:>10} {:<6} {:>9}  met\n", "name", "value", "unit", "target");
    for figure in figures {
        let target = figure.target.map_or_else(|| "-".to_owned(), |target| target.to_string());
        let met = match (figure.target, figure.met()) {
            (None, _) => "-",
            (_, true) => "yes",
            (_, false) => "NO",
        };
        text += &format!("{:<44} {:>10.2} {:<6} {target:>9}  {met}\n", figure.name, figure.value, figure.unit);
    }
    text += "\n";
    for figure in figures {
        text += &format!("{}: {}\n", figure.name, figure.note);
    }
    text
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that a share of all values (0 to 1) does not exceed.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// In milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
