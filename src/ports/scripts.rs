//! Scripts: what a hook or an analysis runs once, with a durable outcome. They run on a [platform](super::platform).

use std::path::PathBuf;

use crate::domain::{
    digest::Digest,
    hook::ScriptSpec,
    id::{RunId, UnitId},
};
use crate::secrets::value::SecretValues;

/// One run.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Its identity: repeating the request finds the first run.
    pub id: RunId,
    /// For whom.
    pub unit: UnitId,
    /// The rendered digest it belongs to.
    pub rendered: Digest,
    /// The release's version, for people.
    pub version: String,
    /// What runs.
    pub script: ScriptSpec,
    /// The folder with its artifact.
    pub artifact: Option<PathBuf>,
    /// The values of its secrets, by name.
    pub secrets: SecretValues,
}
