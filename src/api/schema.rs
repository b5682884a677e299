//! The domain's names and identities in the API's description: how each is written, so that the domain itself need not know.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Epoch, GroupId, Name, Revision, RollbackId, RolloutId, UnitId};
use crate::domain::plan::Plan;

macro_rules! text {
    ($type:ty, $description:expr, $pattern:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let pattern: Option<&str> = $pattern;
                ObjectBuilder::new().schema_type(Type::String).description(Some($description)).pattern(pattern).into()
            }
        }
        impl ToSchema for $type {}
    };
}

text!(
    Name,
    "A name: lower-case letters, digits and `-`, at most 63 characters.",
    Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
);
text!(
    UnitId,
    "A unit: `app/environment/target`.",
    Some("^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
);
text!(Digest, "A digest with the version of its form: `r1:` and hexadecimal digits.", None);
text!(Revision, "A Git commit by its full name.", None);
text!(RolloutId, "A rollout.", None);
text!(RollbackId, "A rollback; it stands in the commit that records it.", None);
text!(GroupId, "A group of instances of the same version.", None);

impl PartialSchema for Epoch {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .description(Some("The number of the holder of the state; it only grows."))
            .into()
    }
}
impl ToSchema for Epoch {}

macro_rules! object {
    ($type:ty, $description:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::Object)
                    .description(Some($description))
                    .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(true)))
                    .into()
            }
        }
        impl ToSchema for $type {}
    };
}

object!(
    Plan,
    "A plan, as it is stored: `format` is the version of its form, `phases` are made true one after the other."
);
object!(DesiredUnit, "What a unit shall be, rendered, as it is stored.");
