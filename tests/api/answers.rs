//! What is answered is what the description says, and failures are problems.

use jsonschema::Validator;
use reqwest::Method;
use serde_json::Value;

use super::bed::{OPERATOR, READER, Served, daemon, json, problem, whole};
use crate::e2e::documents::UNIT;

/// A validator of the answers of one operation with one status, from the description.
fn validator(description: &Value, path: &str, method: &str, status: &str) -> Validator {
    let responses = &description["paths"][path][method]["responses"];
    let response = responses.get(status).unwrap_or(&responses["default"]);
    let content = response["content"].as_object().unwrap_or_else(|| panic!("{method} {path} {status}: {response}"));
    let json = content.get("application/json").or_else(|| content.values().next()).unwrap();
    let schema = json["schema"].clone();
    let root = serde_json::json!({ "components": description["components"], "allOf": [schema] });
    jsonschema::draft202012::new(&root).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

async fn checked(served: &Served, description: &Value, route: &str, path: &str) -> Value {
    let answer = served.get(path).bearer_auth(READER).send().await.unwrap();
    let status = answer.status().as_u16().to_string();
    let body = json(answer).await;
    let wrong: Vec<String> = validator(description, route, "get", &status)
        .iter_errors(&body)
        .map(|error| format!("{} {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{path} ({status}) is not as described: {wrong:#?}\n{body:#}");
    assert_eq!(status, "200", "{path}: {body}");
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_it_is_described() {
    let served = whole("").await;
    served.bed.verified(UNIT, "1.0.0").await;
    served.push("second", "1.1.0");
    served.bed.verified(UNIT, "1.1.0").await;
    let description = served.read("/api/v1/openapi.json").await;

    for command in ["UnitCommand", "EnvironmentCommand"] {
        for form in description["components"]["schemas"][command]["oneOf"].as_array().unwrap() {
            assert_eq!(form["additionalProperties"], false, "{command}: {form}");
        }
    }
    let rollouts = checked(&served, &description, "/api/v1/rollouts", "/api/v1/rollouts?limit=1").await;
    let id = rollouts["items"][0]["id"].as_str().unwrap().to_owned();
    let next = rollouts["next"].as_str().expect("there are two rollouts").to_owned();
    let older = served.read(&format!("/api/v1/rollouts?limit=1&cursor={next}")).await;
    assert_ne!(older["items"][0]["id"], rollouts["items"][0]["id"]);
    assert_eq!(older["items"][0]["to"], "1.0.0", "the newest first: {older}");

    let unit = format!("/api/v1/units/{UNIT}");
    let route = "/api/v1/units/{app}/{environment}/{target}";
    let visits = [
        ("/readyz".to_owned(), "/readyz".to_owned()),
        ("/api/v1/daemon".into(), "/api/v1/daemon".into()),
        ("/api/v1/check".into(), "/api/v1/check".into()),
        ("/api/v1/changes".into(), "/api/v1/changes?since=0".into()),
        ("/api/v1/environments".into(), "/api/v1/environments".into()),
        ("/api/v1/environments/{environment}".into(), "/api/v1/environments/dev".into()),
        ("/api/v1/apps".into(), "/api/v1/apps".into()),
        ("/api/v1/apps/{app}".into(), "/api/v1/apps/web".into()),
        ("/api/v1/releases".into(), "/api/v1/releases?app=web".into()),
        ("/api/v1/releases/{app}/{environment}".into(), "/api/v1/releases/web/dev".into()),
        ("/api/v1/units".into(), "/api/v1/units?environment=dev".into()),
        (route.into(), unit.clone()),
        (format!("{route}/history"), format!("{unit}/history")),
        ("/api/v1/rollouts/{id}".into(), format!("/api/v1/rollouts/{id}")),
        ("/api/v1/plans".into(), "/api/v1/plans".into()),
        ("/api/v1/events".into(), "/api/v1/events?app=web&limit=5".into()),
        ("/api/v1/audit".into(), "/api/v1/audit?limit=1".into()),
        ("/api/v1/audit/verify".into(), "/api/v1/audit/verify".into()),
        ("/api/v1/quarantine".into(), "/api/v1/quarantine".into()),
    ];
    for (route, path) in &visits {
        checked(&served, &description, route, path).await;
    }
    let release = served.read("/api/v1/releases/web/dev").await;
    assert_eq!(release["candidate"]["version"], "1.1.0");
    assert_eq!(release["targets"][0]["lastVerified"]["version"], "1.1.0");

    // Units that somebody rendered are taken as they are written, and in no other shape.
    let plans = served.read("/api/v1/plans").await;
    let mut desired = plans["items"][0]["after"].clone();
    let ask = async |desired: &Value| {
        let body = serde_json::json!({ "desired": [desired] }).to_string();
        let request = served.request(Method::POST, "/api/v1/plans").bearer_auth(READER);
        request.header("content-type", "application/json").body(body).send().await.unwrap()
    };
    assert_eq!(ask(&desired).await.status(), 200);
    let rules = desired["rollback"].clone();
    desired["rollback"] = serde_json::json!([rules["on"], rules["window"]]);
    let listed = problem(ask(&desired).await).await;
    assert_eq!(listed["status"], 422, "{listed}");
    assert!(listed["detail"].as_str().unwrap().contains("\"/desired/0/rollback\""), "{listed}");

    for (query, status) in [("", 200), ("?app=web", 200), ("?app=nope", 404), ("?app=web&environment=nope", 404)] {
        let done = served.request(Method::POST, &format!("/api/v1/reconcile{query}")).bearer_auth(OPERATOR);
        assert_eq!(done.send().await.unwrap().status(), status, "{query}");
    }
    let done = served.request(Method::POST, &format!("{unit}/command")).bearer_auth(OPERATOR);
    let done = done.header("content-type", "application/json").body("{\"command\":\"suspend\"}");
    assert_eq!(done.send().await.unwrap().status(), 200);
    assert_eq!(served.read(&unit).await["suspended"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_is_a_problem_and_only_tokens_let_in() {
    let served = daemon("").await;
    let unit = "/api/v1/units/web/dev/default/command";
    let status = async |method: Method, path: &str, token: Option<&str>, body: Option<(&str, String)>| {
        let mut request = served.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        problem(request.send().await.unwrap()).await["status"].as_u64().unwrap()
    };
    let kind = "application/json";
    assert_eq!(status(Method::GET, "/api/v1/units", None, None).await, 401);
    assert_eq!(status(Method::GET, "/api/v1/units", Some("reader-token-0123456780"), None).await, 401);
    assert_eq!(status(Method::POST, unit, Some(READER), Some((kind, "{}".into()))).await, 403);
    assert_eq!(status(Method::GET, "/api/v1/units/web/dev/none", Some(READER), None).await, 404);
    assert_eq!(status(Method::GET, "/nothing", None, None).await, 404);
    assert_eq!(status(Method::DELETE, "/api/v1/units", Some(READER), None).await, 405);
    assert_eq!(status(Method::GET, "/api/v1/units?limit=0", Some(READER), None).await, 400);
    assert_eq!(status(Method::GET, "/api/v1/units?limit=x", Some(READER), None).await, 400);
    assert_eq!(status(Method::GET, "/api/v1/units?cursor=x", Some(READER), None).await, 400);
    assert_eq!(status(Method::POST, unit, Some(OPERATOR), Some((kind, "{".into()))).await, 400);
    assert_eq!(status(Method::POST, unit, Some(OPERATOR), Some((kind, "{}".into()))).await, 422);
    assert_eq!(status(Method::POST, "/api/v1/plans", Some(READER), Some((kind, "[null]".into()))).await, 422);
    for unknown in [r#"{"command":"rollback","too":"abcd"}"#, r#"{"command":"pause","full":true}"#] {
        assert_eq!(status(Method::POST, unit, Some(OPERATOR), Some((kind, unknown.into()))).await, 422, "{unknown}");
    }
    assert_eq!(status(Method::GET, "/api/v1/changes?wait=61", Some(READER), None).await, 400);
    assert_eq!(status(Method::POST, unit, Some(OPERATOR), Some(("text/plain", "{}".into()))).await, 415);
    assert_eq!(status(Method::POST, unit, Some(OPERATOR), Some((kind, " ".repeat(17 << 20)))).await, 413);
    let answer = served.request(Method::DELETE, "/api/v1/units").bearer_auth(READER).send().await.unwrap();
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
    let answer = served.get("/api/v1/units").send().await.unwrap();
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let not_ready = served.get("/readyz").send().await.unwrap();
    assert_eq!(not_ready.status(), 503, "there is no supervisor and no router");
    let parts = json(not_ready).await;
    assert!(parts["reasons"].as_array().unwrap().iter().any(|reason| reason["part"] == "router"), "{parts}");
}
