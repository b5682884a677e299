//! Analyses that decide over versions side by side.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use tokio::task::JoinHandle;
use trimtab::api::types::UnitStatus;

use super::{alone, app, push, selected, web, went_back};
use crate::kubernetes::documents::{SERVICE, UNIT};
use crate::kubernetes::installation::{Installation, tells};
use crate::support::{PATIENCE, eventually};

type Answers = Arc<Mutex<BTreeMap<String, u16>>>;

/// Something that analyses ask: each of its paths answers what it is told to, and 200 before.
struct Asked {
    address: String,
    answers: Answers,
    task: JoinHandle<()>,
}

impl Asked {
    async fn start() -> Asked {
        let answers = Answers::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(status).with_state(answers.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Asked { address, answers, task }
    }

    fn answer(&self, path: &str, code: u16) {
        self.answers.lock().unwrap().insert(path.to_owned(), code);
    }

    /// The app with a strategy and these analyses.
    fn app(&self, strategy: &str, analyses: &[&str]) -> String {
        let one = |name: &&str| {
            format!(
                "    {name}: {{ http: \"http://{}/{name}\", interval: 200ms, count: 2, inconclusiveLimit: 2 }}\n",
                self.address
            )
        };
        let all: String = analyses.iter().map(one).collect();
        app(strategy).replace("on: [unhealthy]", "on: [unhealthy, analysis]") + "  analyses:\n" + &all
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn status(State(answers): State<Answers>, uri: Uri) -> StatusCode {
    let code = answers.lock().unwrap().get(uri.path().trim_start_matches('/')).copied();
    StatusCode::from_u16(code.unwrap_or(200)).unwrap()
}

/// It fails of version 2 alone.
const LOOKS: &str =
    "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: looks }\nspec: { run: \"test '{{ version }}' != 2\" }\n";

fn start(app: &str) -> Option<Installation> {
    let first = web("1");
    let service = ("deploy/service.yaml", SERVICE);
    Installation::start(&[("app.yaml", app), ("looks.yaml", LOOKS), ("deploy/web.yaml", &first), service])
}

/// argo-rollouts 3850: an analysis in the background of which nothing was known promoted all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_analysis_of_which_nothing_is_known_promotes_nothing() {
    let asked = Asked::start().await;
    asked.answer("errors", 304);
    let canary = "{ canary: { steps: [ { weight: 50 }, { pause: 100ms } ], gate: [errors], scaleDownDelay: 1s } }";
    let Some(installation) = start(&asked.app(canary, &["errors"])) else { return };
    installation.verified(UNIT, "1").await;
    push(&installation, "2", &web("2"));
    let stopped = |status: &UnitStatus| tells(status, &["errors", "nothing could be concluded"]);
    let status = installation.wait(UNIT, "it stops", stopped).await;
    let shares: Vec<_> = status.groups.iter().map(|group| (group.replicas, group.ready)).collect();
    assert_eq!(shares, [(1, 1), (1, 1)], "it stays where it is: {status:#?}");
    assert_eq!(selected(&installation, "web"), "", "both versions have requests");
    asked.answer("errors", 200);
    installation.told(&["rollout", "retry", "web"]);
    installation.verified(UNIT, "2").await;
    assert_eq!(alone(&installation), format!("web-{}", selected(&installation, "web")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_analysis_before_or_after_the_switch_leads_back() {
    let asked = Asked::start().await;
    let strategy = "{ blueGreen: { prePromotion: [before], postPromotion: [after], scaleDownDelay: 10m } }";
    let Some(installation) = start(&(asked.app(strategy, &["after"]) + "    before: { script: looks }\n")) else {
        return;
    };
    installation.verified(UNIT, "1").await;
    let first = selected(&installation, "web");
    asked.answer("after", 500);
    for (failing, version, commits) in [("before", "2", 3), ("after", "3", 5)] {
        push(&installation, version, &web(version));
        eventually(PATIENCE, "the revert is there", || installation.log().len() == commits);
        let rollout = went_back(&installation, "1").await.rollout.unwrap();
        assert!(rollout.summary.reason.as_ref().is_some_and(|reason| reason.contains(failing)), "{rollout:#?}");
        let switched = rollout.phases.iter().any(|phase| phase.name == "the switch");
        assert_eq!(switched, failing == "after", "{rollout:#?}");
        assert_eq!((alone(&installation), selected(&installation, "web")), (format!("web-{first}"), first.clone()));
    }
}
