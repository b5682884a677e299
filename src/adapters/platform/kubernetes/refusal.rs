//! A server's no: what it says, what of it may be told, and whether asking again can help.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::conflicts::{Conflict, conflict};
use super::plainly::{malformed_fields, plainly};

/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// Words on one field that are longer are not told whole, in bytes.
const LONGEST_WORDS: usize = 300;
/// So many characters of them stand at their beginning then.
const SOME: usize = 80;

/// What a server could make no sense of.
pub const UNREADABLE: &str = "Unreadable";

/// A no with such words is about more than the object: what else there is may change.
const AROUND: [&str; 4] = [
    // A webhook may know of other objects, and says no by whatever code.
    "admission webhook",
    // The parameters of a policy are objects too.
    "failed to configure",
    // An address or a port that another Service still has.
    "already allocated",
    // Until it is gone.
    "being deleted",
];

/// Why a request did not do what it should.
#[derive(Clone, Debug)]
pub enum ApiError {
    /// No answer, or half of one: whether it was carried out is not known.
    Unreachable(String),
    /// The server's no.
    Refused(Box<Refusal>),
}

/// The server's no.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// `NotFound`, `Conflict`, `Invalid`, ...
    pub reason: String,
    /// Its words; they may repeat what was sent.
    pub message: String,
    /// Each wrong field: its name, the kind of mistake, the server's words.
    pub causes: Vec<Cause>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What was sent is wrong in itself: no later time takes it.
    pub for_good: bool,
}

/// A wrong field.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// Which.
    pub field: String,
    /// `FieldValueInvalid`, `FieldManagerConflict`, ...
    pub reason: String,
    /// The server's words.
    pub message: String,
}

impl ApiError {
    /// The HTTP status of the server's no.
    pub fn code(&self) -> Option<u16> {
        match self {
            ApiError::Unreachable(_) => None,
            ApiError::Refused(refusal) => Some(refusal.code),
        }
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Unreachable(_) => None,
            ApiError::Refused(refusal) => refusal.retry_after.map(|asked| asked.min(LONGEST_ASKED)),
        }
    }

    /// Whether the same request may succeed later.
    pub fn passes(&self) -> bool {
        match self {
            ApiError::Unreachable(_) => true,
            ApiError::Refused(refusal) => {
                // A namespace that is being deleted takes nothing new until it is gone.
                let ending = refusal.causes.iter().any(|cause| cause.reason == "NamespaceTerminating");
                ending
                    || (refusal.reason != UNREADABLE
                        && !refusal.for_good
                        && matches!(refusal.code, 408 | 409 | 429 | 500..=599))
            }
        }
    }

    /// Whether what was sent is wrong in itself, so that no later time takes it.
    pub fn is_for_good(&self) -> bool {
        matches!(self, ApiError::Refused(refusal) if refusal.for_good)
    }

    /// The same without anything that may repeat what was sent.
    #[must_use]
    pub fn without_words(self) -> Self {
        let ApiError::Refused(mut refusal) = self else { return self };
        let named = refusal.causes.iter().filter(|cause| !cause.field.is_empty());
        let mut fields: Vec<String> = named.map(|cause| format!("{}: {}", cause.field, cause.reason)).collect();
        fields.extend(malformed_fields(&refusal.message).filter(|_| refusal.reason == UNREADABLE));
        let colon = if fields.is_empty() { "" } else { ": " };
        refusal.message = format!(
            "{} ({}){colon}{}; its words may repeat a secret value and are left out",
            refusal.reason,
            refusal.code,
            fields.join("; ")
        );
        refusal.causes.iter_mut().for_each(|cause| cause.message.clear());
        ApiError::Refused(refusal)
    }
}

impl Refusal {
    /// Whether its words, in general or on a field, have these in them.
    fn says(&self, words: &str) -> bool {
        self.message.contains(words) || self.causes.iter().any(|cause| cause.message.contains(words))
    }

    /// Whether a field was to change that can't.
    pub fn is_immutable(&self) -> bool {
        self.code == 422
            && ["immutable", "are forbidden", "may not be changed", "may not change", "cannot change roleRef"]
                .into_iter()
                .any(|words| self.says(words))
    }

    /// Its words, for people. A server repeats whole objects in them.
    fn told(&self) -> String {
        let long = self.causes.iter().filter_map(|cause| Some((cause.message.as_str(), shortened(&cause.message)?)));
        let told = long.fold(self.message.clone(), |told, (words, short)| told.replace(words, &short));
        plainly(&told).unwrap_or(told)
    }

    /// The fields that other managers have.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let causes = self.causes.iter().filter(|cause| cause.reason == "FieldManagerConflict");
        causes.filter_map(|cause| conflict(&cause.message, &cause.field)).collect()
    }

    /// See [`ApiError::is_for_good`]. Rights (403), quotas (403), namespaces and kinds that are not there yet (404), conflicts (409) and
    /// what fails behind a server (500) all may change by themselves or by others.
    fn lasts(&self) -> bool {
        let wrong = match self.code {
            400 | 413 | 422 => true,
            // An object that does not fit the schema of its kind.
            500 if self.reason == UNREADABLE => {
                self.message.starts_with("failed to create typed") || self.says("unable to convert unstructured object")
            }
            // Larger than the store takes.
            500 => self.says("etcdserver: request is too large"),
            _ => false,
        };
        wrong && !AROUND.into_iter().any(|words| self.says(words))
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApiError::Unreachable(why) => f.write_str(why),
            ApiError::Refused(refusal) if refusal.message.is_empty() => {
                write!(f, "{} ({})", refusal.reason, refusal.code)
            }
            ApiError::Refused(refusal) => f.write_str(&refusal.told()),
        }
    }
}

/// Words on a field without the value in them, which stands before what is wrong with it; `None`: they are short.
fn shortened(words: &str) -> Option<String> {
    if words.len() <= LONGEST_WORDS {
        return None;
    }
    let begin: String = words.chars().take(SOME).collect();
    let (_, wrong) = words.rsplit_once(": ")?;
    let wrong: String = wrong.chars().take(LONGEST_WORDS).collect();
    Some(format!("{begin} … {wrong}"))
}

/// What a server says when it refuses; what is not its own form (a proxy's page) is told by its code alone.
pub fn refusal(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let causes = answer.pointer("/details/causes").and_then(Value::as_array);
    let cause = |cause: &Value| Cause {
        field: text(cause, "field"),
        reason: text(cause, "reason"),
        message: text(cause, "message"),
    };
    let reason = match text(&answer, "reason") {
        // An API server gives no reason for what it can't make sense of; it will not later either.
        none if none.is_empty() && text(&answer, "kind") == "Status" => UNREADABLE.to_owned(),
        none if none.is_empty() => status.canonical_reason().unwrap_or("an error").to_owned(),
        reason => reason,
    };
    let message = text(&answer, "message");
    let told = Refusal {
        code: status.as_u16(),
        reason,
        message,
        causes: causes.into_iter().flatten().map(cause).collect(),
        retry_after,
        for_good: false,
    };
    // What stands before an API server knows nothing of objects.
    Refusal { for_good: text(&answer, "kind") == "Status" && told.lasts(), ..told }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(code: u16, body: &Value) -> ApiError {
        let status = StatusCode::from_u16(code).expect("a status");
        ApiError::Refused(Box::new(refusal(status, body.to_string().as_bytes(), None)))
    }

    #[test]
    fn a_field_of_another_form_is_named_without_its_value() {
        let body = json!({ "kind": "Status",
            "message": "failed to create typed patch object (a/b; v1, Kind=Secret): .stringData.word: expected string, got &value.valueUnstructured{Value:hunter2}" });
        let told = refusal(StatusCode::INTERNAL_SERVER_ERROR, body.to_string().as_bytes(), None);
        let told = ApiError::Refused(Box::new(told)).without_words().to_string();
        assert!(told.starts_with("Unreadable (500): stringData.word must be a text: quote it;"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_whole_object_in_a_server_s_words_is_not_told_whole() {
        let words =
            format!("Invalid value: core.PodTemplateSpec{{{}}}: field is immutable", "Image:\"a: b\", ".repeat(100));
        let cause = json!({ "field": "spec.template", "reason": "FieldValueInvalid", "message": words });
        let body = json!({ "kind": "Status", "reason": "Invalid", "details": { "causes": [cause] },
            "message": format!("Job.batch \"once\" is invalid: spec.template: {words}") });
        let error = told(422, &body);
        let text = error.to_string();
        assert!(
            text.starts_with("Job.batch \"once\" is invalid: spec.template: Invalid value: core.PodTemplateSpec{"),
            "{text}"
        );
        assert!(text.ends_with(" … field is immutable") && text.len() < 300, "{text}");
        assert!(matches!(&error, ApiError::Refused(refusal) if refusal.is_immutable()));
        assert_eq!(
            told(422, &json!({ "kind": "Status", "reason": "Invalid", "message": "short" })).to_string(),
            "short"
        );
    }

    #[test]
    fn what_may_pass_is_known_from_what_will_not() {
        let status = |reason: &str| json!({ "kind": "Status", "message": "m", "reason": reason });
        let ending = json!({ "kind": "Status", "reason": "Forbidden",
            "details": { "causes": [{ "reason": "NamespaceTerminating", "field": "metadata.namespace" }] } });
        for (code, body, passes) in [
            (429, status("TooManyRequests"), true),
            (503, Value::Null, true),
            (500, status("InternalError"), true),
            (500, Value::Null, true),
            (500, status(""), false),
            (403, status("Forbidden"), false),
            (403, ending, true),
            (422, status("Invalid"), false),
        ] {
            assert_eq!(told(code, &body).passes(), passes, "{code} {body}");
        }
    }

    /// Words as API servers of 1.34 say them.
    #[test]
    fn what_is_wrong_in_itself_is_known_from_what_others_may_change() {
        let status = |reason: &str, message: &str| json!({ "kind": "Status", "message": message, "reason": reason });
        let allocated = "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated";
        let policy = "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: ";
        for (code, body, for_good) in [
            (422, status("Invalid", "Deployment.apps \"web\" is invalid: spec.replicas: Invalid value: -1"), true),
            (
                422,
                status(
                    "Invalid",
                    "Service \"a\" is invalid: spec.clusterIP: Invalid value: \"None\": field is immutable",
                ),
                true,
            ),
            (422, status("Invalid", &format!("{policy}no such key")), true),
            (422, status("Invalid", &format!("{policy}failed to configure binding: no params found")), false),
            (422, status("Invalid", allocated), false),
            (
                422,
                status(
                    "Invalid",
                    "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted",
                ),
                false,
            ),
            (400, status("BadRequest", "strict decoding error: unknown field \"spec.x\""), true),
            (400, status("", "admission webhook \"v.example.com\" denied the request: host is taken"), false),
            (400, Value::Null, false),
            (413, status("RequestEntityTooLarge", "Request entity too large: limit is 3145728"), true),
            (
                500,
                status(
                    "",
                    "failed to create typed patch object (shop/db; example.com/v1, Kind=Database): .spec.size: expected numeric",
                ),
                true,
            ),
            (
                500,
                status(
                    "",
                    "failed to convert new object (shop/db; /v1, Kind=Secret) to proper version: unable to convert unstructured object to \
                     /v1, Kind=Secret: error decoding from json: illegal base64 data at input byte 7",
                ),
                true,
            ),
            (500, status("InternalError", "etcdserver: request is too large"), true),
            (500, status("", "conversion webhook for example.com/v2 failed: connection refused"), false),
            (500, status("InternalError", "failed calling webhook \"v.example.com\": no endpoints available"), false),
            (403, status("Forbidden", "pods \"a\" is forbidden: exceeded quota: small"), false),
            (403, status("Forbidden", "User \"x\" cannot patch resource \"secrets\""), false),
            (404, status("NotFound", "namespaces \"shop\" not found"), false),
            (404, Value::Null, false),
            (409, status("Conflict", "the object has been modified"), false),
        ] {
            let error = told(code, &body);
            assert_eq!(error.is_for_good(), for_good, "{code} {body}");
            assert!(!(for_good && error.passes()), "{code} {body}");
            assert_eq!(error.without_words().is_for_good(), for_good, "{code} {body}");
        }
    }

    #[test]
    fn without_its_words_only_the_names_of_fields_are_left() {
        let cause = json!({ "field": "data[a]", "reason": "FieldValueInvalid", "message": "hunter2 is wrong" });
        let body =
            json!({ "kind": "Status", "reason": "Invalid", "message": "hunter2", "details": { "causes": [cause] } });
        let error = told(422, &body).without_words();
        let left_out = "its words may repeat a secret value and are left out";
        assert_eq!(error.to_string(), format!("Invalid (422): data[a]: FieldValueInvalid; {left_out}"));
        assert!(!format!("{error:?}").contains("hunter2"));
        let policy = json!({ "kind": "Status", "reason": "Invalid", "message": "hunter2", "details": { "causes": [{ "message": "hunter2" }] } });
        let error = told(422, &policy).without_words();
        assert_eq!(error.to_string(), format!("Invalid (422); {left_out}"));
    }
}
