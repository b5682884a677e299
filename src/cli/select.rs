//! From what was typed to the unit that is meant: where only one can be meant it is taken, otherwise the choices are told.

use super::error::CliError;
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::types::UnitStatus;
use crate::domain::id::Name;

/// One unit, by its app and as much of the rest as is needed to tell it from others.
#[derive(Clone, Debug, clap::Args)]
pub struct UnitArgs {
    /// The app
    pub app: Name,
    /// Its environment; needed where the app runs in several
    #[arg(short = 'e', long, value_name = "ENV")]
    pub environment: Option<Name>,
    /// The environment's target; needed where the environment has several
    #[arg(long)]
    pub target: Option<Name>,
}

impl UnitArgs {
    fn filter(&self) -> UnitFilter {
        UnitFilter { app: Some(self.app.clone()), environment: self.environment.clone(), target: self.target.clone() }
    }

    /// The one unit that is meant.
    pub async fn resolve(&self, api: &Api) -> Result<UnitStatus, CliError> {
        let mut units = self.matching(api).await?;
        match units.len() {
            1 => Ok(units.remove(0)),
            _ => Err(self.ambiguous(&units)),
        }
    }

    /// The units that are meant: one, or all targets of one environment.
    pub async fn resolve_environment(&self, api: &Api) -> Result<Vec<UnitStatus>, CliError> {
        let units = self.matching(api).await?;
        if units.iter().all(|unit| unit.unit.environment == units[0].unit.environment) {
            Ok(units)
        } else {
            Err(self.ambiguous(&units))
        }
    }

    /// All units that fit, at least one.
    async fn matching(&self, api: &Api) -> Result<Vec<UnitStatus>, CliError> {
        let units = api.units(&self.filter()).await?;
        if !units.is_empty() {
            return Ok(units);
        }
        Err(self.missing(&api.units(&UnitFilter::default()).await?))
    }

    fn ambiguous(&self, units: &[UnitStatus]) -> CliError {
        let several_environments = units.iter().any(|unit| unit.unit.environment != units[0].unit.environment);
        let flag = if several_environments { "-e ENVIRONMENT" } else { "--target TARGET" };
        let mut error = CliError::invalid(format!("{} runs in several places; say which one with {flag}:", self.app));
        error.choices = units.iter().map(|unit| unit.unit.to_string()).collect();
        error
    }

    fn missing(&self, known: &[UnitStatus]) -> CliError {
        let same_app: Vec<_> = known.iter().filter(|unit| unit.unit.app == self.app).collect();
        let mut error = if same_app.is_empty() {
            CliError::not_found(format!("no app {} is known to the daemon", self.app))
        } else {
            let place = [self.environment.as_ref(), self.target.as_ref()];
            let place: Vec<_> = place.into_iter().flatten().map(Name::as_str).collect();
            CliError::not_found(format!("{} does not run in {}, but in:", self.app, place.join("/")))
        };
        error.choices = same_app.iter().map(|unit| unit.unit.to_string()).collect();
        let apps = known.iter().map(|unit| &unit.unit.app);
        if let Some(near) = nearest(&self.app, apps).filter(|_| same_app.is_empty()) {
            error = error.remedy(format!("did you mean {near}?"));
        }
        error.remedy("`trimtab status` lists what the daemon knows; a new commit is read with `trimtab reconcile`")
    }
}

/// The known name that was most likely meant.
fn nearest<'a>(typed: &Name, known: impl Iterator<Item = &'a Name>) -> Option<&'a Name> {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(typed.as_str(), name.as_str()), name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
