//! The description of the API (OpenAPI 3.1), gathered from the handlers.

use utoipa::OpenApi;
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Description, RefOr};

/// What is said of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "trimtab",
        description = "What runs, what is held and why, and what operators may ask. Over TCP a request takes \
            `Authorization: Bearer TOKEN`; over the Unix socket none. Every failure is `application/problem+json`. Lists come in \
            pages: give `next` of a page as `cursor` of the following request.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "daemon", description = "The daemon itself."),
        (name = "fleet", description = "Environments, apps, releases, units."),
        (name = "rollouts", description = "Rollouts and plans."),
        (name = "events", description = "What happened."),
        (name = "audit", description = "Who did what, when, and what came of it."),
        (name = "commands", description = "What changes something. Recorded in the audit log before it is done."),
    ),
    security(("token" = [])),
)]
struct Base;

/// The description without its routes.
pub fn base() -> utoipa::openapi::OpenApi {
    let mut base = Base::openapi();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    base.components.get_or_insert_default().add_security_scheme("token", scheme);
    base
}

/// Says of each form of a command that it has no other fields: unknown ones are refused, which the derived schema does not tell.
pub fn closed(mut description: Description) -> Description {
    let schemas = description.components.iter_mut().flat_map(|components| &mut components.schemas);
    let commands = schemas.filter(|(name, _)| ["UnitCommand", "EnvironmentCommand"].contains(&name.as_str()));
    for (_, schema) in commands {
        let RefOr::T(Schema::OneOf(forms)) = schema else { continue };
        for form in &mut forms.items {
            if let RefOr::T(Schema::Object(form)) = form {
                form.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
        }
    }
    description
}
