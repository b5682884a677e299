//! What a delivery is about. Only a hint, so little of it is read, and what is doubtful marks the source as due.

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::app::config::hooks::Provider;

/// The longest delivery id that is remembered.
const LONGEST_ID: usize = 200;

/// What a good delivery leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The source may have something new.
    Due,
    /// Nothing; why.
    Ignored(&'static str),
}

const OTHER_BRANCH: Decision = Decision::Ignored("this is about another branch");
const OTHER_EVENT: Decision = Decision::Ignored("events of this kind change nothing here");

/// What a verified delivery leads to.
///
/// # Errors
///
/// It can't be read: the status and why, without anything of what was sent.
pub fn decide(
    provider: Provider,
    headers: &HeaderMap,
    body: &[u8],
    branch: &str,
) -> Result<Decision, (StatusCode, &'static str)> {
    let payload: Value =
        serde_json::from_slice(body).map_err(|_| (StatusCode::BAD_REQUEST, "the body is not JSON as it should be"))?;
    if !payload.is_object() {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, "the body is not an event"));
    }
    let event = header(headers, event_header(provider)).unwrap_or("");
    let pushed = match provider {
        Provider::Github | Provider::Gitea | Provider::Forgejo => event == "push",
        Provider::Gitlab => event == "Push Hook",
        Provider::Bitbucket => event == "repo:push" || event == "repo:refs_changed",
    };
    if !pushed {
        return Ok(OTHER_EVENT);
    }
    if provider == Provider::Bitbucket {
        return bitbucket(&payload, branch);
    }
    let reference = payload.get("ref").and_then(Value::as_str);
    let reference = reference.ok_or((StatusCode::UNPROCESSABLE_ENTITY, "a push without `ref`"))?;
    Ok(if reference.strip_prefix("refs/heads/") == Some(branch) { Decision::Due } else { OTHER_BRANCH })
}

/// Bitbucket tells several changes at once: Cloud below `push`, Server at the top.
fn bitbucket(payload: &Value, branch: &str) -> Result<Decision, (StatusCode, &'static str)> {
    let cloud = payload.pointer("/push/changes").and_then(Value::as_array);
    let server = payload.get("changes").and_then(Value::as_array);
    let changes = cloud.or(server).ok_or((StatusCode::UNPROCESSABLE_ENTITY, "a push without `changes`"))?;
    let names = |change: &Value| {
        ["/new/name", "/old/name", "/ref/displayId"]
            .iter()
            .any(|place| change.pointer(place).and_then(Value::as_str) == Some(branch))
    };
    Ok(if changes.iter().any(names) { Decision::Due } else { OTHER_BRANCH })
}

fn event_header(provider: Provider) -> &'static str {
    match provider {
        Provider::Github => "x-github-event",
        Provider::Gitlab => "x-gitlab-event",
        Provider::Gitea => "x-gitea-event",
        Provider::Forgejo => "x-forgejo-event",
        Provider::Bitbucket => "x-event-key",
    }
}

/// The id that a delivery keeps when it is sent again.
pub fn delivery(provider: Provider, headers: &HeaderMap) -> Option<String> {
    let names: &[&str] = match provider {
        Provider::Github => &["x-github-delivery"],
        Provider::Gitlab => &["idempotency-key", "webhook-id", "x-gitlab-event-uuid"],
        Provider::Gitea => &["x-gitea-delivery"],
        Provider::Forgejo => &["x-forgejo-delivery"],
        Provider::Bitbucket => &["x-request-uuid", "x-request-id"],
    };
    let id = names.iter().find_map(|name| header(headers, name))?;
    (!id.is_empty() && id.len() <= LONGEST_ID).then(|| id.to_owned())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decide_as(provider: Provider, event: &str, body: &str) -> Result<Decision, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(event_header(provider), event.parse().unwrap());
        decide(provider, &headers, body.as_bytes(), "main").map_err(|(status, _)| status.as_u16())
    }

    #[test]
    fn a_push_to_the_branch_is_due_and_others_are_not() {
        let push = r#"{"ref":"refs/heads/main"}"#;
        for (provider, event) in [
            (Provider::Github, "push"),
            (Provider::Gitea, "push"),
            (Provider::Forgejo, "push"),
            (Provider::Gitlab, "Push Hook"),
        ] {
            assert_eq!(decide_as(provider, event, push), Ok(Decision::Due));
            assert_eq!(decide_as(provider, event, r#"{"ref":"refs/heads/other"}"#), Ok(OTHER_BRANCH));
            assert_eq!(decide_as(provider, event, r#"{"ref":"refs/tags/main"}"#), Ok(OTHER_BRANCH));
            assert_eq!(decide_as(provider, "ping", "{}"), Ok(OTHER_EVENT));
            assert_eq!(decide_as(provider, event, "{}"), Err(422));
        }
        let cloud = r#"{"push":{"changes":[{"new":{"name":"x"}},{"new":null,"old":{"name":"main"}}]}}"#;
        assert_eq!(decide_as(Provider::Bitbucket, "repo:push", cloud), Ok(Decision::Due));
        let server = r#"{"changes":[{"ref":{"id":"refs/heads/main","displayId":"main"}}]}"#;
        assert_eq!(decide_as(Provider::Bitbucket, "repo:refs_changed", server), Ok(Decision::Due));
        assert_eq!(decide_as(Provider::Bitbucket, "repo:push", r#"{"push":{"changes":[]}}"#), Ok(OTHER_BRANCH));
    }

    #[test]
    fn what_is_no_event_is_refused_and_deep_nesting_too() {
        for body in ["", "{", "\u{0}", "nul", &"[".repeat(100_000), &format!("{}1", r#"{"a":"#.repeat(5_000))] {
            assert_eq!(decide_as(Provider::Github, "push", body), Err(400), "{}", &body[..body.len().min(20)]);
        }
        for body in ["1", "null", "[]", "\"push\"", r#"{"ref":1}"#, r#"{"ref":null}"#] {
            assert_eq!(decide_as(Provider::Github, "push", body), Err(422), "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            event in "[ -~]{0,30}",
            pick in 0_usize..5,
        ) {
            let provider = Provider::ALL[pick];
            let mut headers = HeaderMap::new();
            headers.insert(event_header(provider), event.parse().unwrap());
            let _ = decide(provider, &headers, &body, "main");
        }
    }
}
