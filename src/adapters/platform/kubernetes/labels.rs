//! What trimtab writes on the objects that it makes.

/// The installation that an object belongs to: a label, which all watches select by.
pub const INSTALLATION: &str = "trimtab.dev/installation";
/// The key of the unit that an object belongs to: a label, and the name of the unit's parent object.
pub const UNIT: &str = "trimtab.dev/unit";
/// Who manages an object, for people and tools.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// A digest of what was applied: an annotation.
pub const APPLIED: &str = "trimtab.dev/applied";
/// The restarts that were asked for: an annotation of pod templates.
pub const RESTARTS: &str = "trimtab.dev/restarts";
/// The version of a Deployment's pods: a label of theirs, and of what is of that version alone.
pub const GROUP: &str = "trimtab.dev/group";
/// Where the requests go that a Service or an HTTPRoute leads: an annotation.
pub const TRAFFIC: &str = "trimtab.dev/traffic";
/// The run of a hook that an object was made for: an annotation.
pub const RUN: &str = "trimtab.dev/run";
/// The rendered state that the hook is of: an annotation.
pub const RUN_OF: &str = "trimtab.dev/run-of";
/// After which ends the object of a hook goes: an annotation.
pub const RUN_ENDS: &str = "trimtab.dev/run-ends";
/// The last epoch that led requests: an annotation of what leads them.
pub const EPOCH: &str = "trimtab.dev/epoch";
/// The Service beside which another leads to one version: an annotation of the other.
pub const BESIDE: &str = "trimtab.dev/beside";
/// The field manager, and the value of [`MANAGED_BY`].
pub const MANAGER: &str = "trimtab";
