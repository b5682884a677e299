//! Faults 36 and 37 of docs/faults.md: an API server that is too busy, fails, is slow, has forgotten what it told, tells a part, and
//! an apply that stops half-way.

use std::time::Duration;

use trimtab::api::types::{UnitHealth, UnitStatus};

use super::cluster::Namespace;
use super::documents::{UNIT, config, release};
use super::installation::Installation;
use super::proxy::{Answer, Asked, Proxy};
use crate::support::{PATIENCE, eventually};

/// An installation with some ConfigMaps of one word that reaches its cluster through a proxy.
async fn start(names: &[&str]) -> Option<(Proxy, Installation)> {
    let namespace = Namespace::new()?;
    let proxy = Proxy::before(namespace.kubeconfig()).await;
    let manifests = all(names, "a");
    let manifests: Vec<_> = manifests.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let installation = Installation::through(&proxy.kubeconfig(), "", &manifests, namespace);
    installation.verified(UNIT, "1").await;
    Some((proxy, installation))
}

fn all(names: &[&str], word: &str) -> Vec<(String, String)> {
    names.iter().map(|name| (format!("deploy/{name}.yaml"), config(name, word))).collect()
}

/// Pushes the second version, with one word in some ConfigMaps, and without others.
fn push(installation: &Installation, names: &[&str], word: &str, without: &[&str]) {
    let mut files = all(names, word);
    files.extend(without.iter().map(|name| (format!("deploy/{name}.yaml"), String::new())));
    files.push(("release.yaml".into(), release("2")));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    installation.push("second", &files);
}

fn word(installation: &Installation, name: &str) -> String {
    installation.namespace.object(&format!("configmap/{name}"))["data"]["word"].as_str().unwrap_or_default().to_owned()
}

/// What was asked of some sort, in its order.
fn of(proxy: &Proxy, sort: impl Fn(&Asked) -> bool) -> Vec<Asked> {
    proxy.asked().into_iter().filter(|asked| sort(asked)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_36_a_server_that_is_too_busy_is_asked_again_when_it_says() {
    let Some((proxy, installation)) = start(&["one", "two"]).await else { return };
    let watch = |asked: &Asked| asked.watches("/configmaps?") && asked.path.contains("%21trimtab.dev");
    eventually(PATIENCE, "it is watched", || !of(&proxy, watch).is_empty());
    let (mut writes, mut watches) = (0, 0);
    proxy.answer(move |asked| {
        if asked.patches("/configmaps/one") {
            writes += 1;
            return [Answer::Failure(429, Some(2)), Answer::Failure(500, None), Answer::Failure(503, None)]
                .get(writes - 1)
                .cloned();
        }
        watches += usize::from(watch(asked));
        (watch(asked) && watches == 1).then_some(Answer::Failure(429, Some(2)))
    });
    let before = of(&proxy, watch).len();
    proxy.cut();
    eventually(PATIENCE, "it is watched again", || of(&proxy, watch).len() >= before + 2);
    let watched = of(&proxy, watch);
    let pause = watched[before + 1].at - watched[before].at;
    assert!(pause >= Duration::from_secs(2), "watched again after {pause:?}");

    push(&installation, &["one", "two"], "b", &[]);
    installation.verified(UNIT, "2").await;
    assert_eq!((word(&installation, "one"), word(&installation, "two")), ("b".into(), "b".into()));
    let sent = of(&proxy, |asked| asked.patches("/configmaps/one"));
    let (first, second) = (&sent[sent.len() - 4], &sent[sent.len() - 3]);
    assert!(second.at - first.at >= Duration::from_secs(2), "sent again after {:?}", second.at - first.at);
    assert_eq!(installation.log().len(), 2, "a busy server is no bad release");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_36_a_slow_server_is_waited_for() {
    let Some((proxy, installation)) = start(&["one", "two"]).await else { return };
    proxy.answer(|_| Some(Answer::Late(Duration::from_secs(1))));
    proxy.cut();
    push(&installation, &["one"], "b", &["two"]);
    installation.verified(UNIT, "2").await;
    assert_eq!(word(&installation, "one"), "b");
    assert!(installation.namespace.get("configmap/two").is_err_and(|error| error.contains("NotFound")));
    assert_eq!(of(&proxy, |asked| asked.patches("/configmaps/one")).len(), 2, "each version is sent once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_36_what_is_forgotten_is_listed_again_and_a_part_of_a_list_is_none() {
    let Some((proxy, installation)) = start(&["one", "three", "two"]).await else { return };
    let namespace = &installation.namespace;
    let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}"#;
    // In both ways of saying so; what has changed meanwhile is seen.
    for (edit, told) in [("b", Answer::Failure(410, None)), ("c", Answer::Text(format!("{gone}\n")))] {
        let mut left = 2;
        proxy.answer(move |asked| {
            let due = asked.watches("/configmaps?") && left > 0;
            left -= usize::from(due);
            due.then(|| told.clone())
        });
        let listed = of(&proxy, |asked| asked.path.contains("limit=")).len();
        proxy.cut();
        namespace.must(&[
            "patch",
            "configmap/one",
            "--type",
            "merge",
            "--patch",
            &format!(r#"{{"data":{{"word":"{edit}"}}}}"#),
        ]);
        eventually(PATIENCE, "what changed meanwhile is put back", || word(&installation, "one") == "a");
        eventually(PATIENCE, "it was listed again", || {
            of(&proxy, |asked| asked.path.contains("limit=")).len() > listed
        });
    }
    installation.verified(UNIT, "1").await;

    // Pages of one object, and after the first of them none; or what is no list at all.
    for broken in [Answer::Failure(500, None), Answer::Text("{}".into())] {
        let stopped = broken.clone();
        proxy.answer(move |asked| {
            let page = asked.path.contains("limit=500");
            match page && (asked.path.contains("continue=") || matches!(stopped, Answer::Text(_))) {
                true => Some(stopped.clone()),
                false if page => Some(Answer::Instead(asked.path.replace("limit=500", "limit=1"))),
                false if asked.path.contains("watch=true") => Some(Answer::Failure(410, None)),
                false => None,
            }
        });
        let lists = || of(&proxy, |asked| asked.path.contains("limit=500")).len();
        let before = lists();
        proxy.cut();
        eventually(PATIENCE, "it is listed in vain", || lists() >= before + 6);
        let unseen =
            |status: &UnitStatus| status.health == UnitHealth::Unknown && status.message.contains("can't be seen");
        installation.wait(UNIT, "it is told that it can't be seen", unseen).await;
    }
    let changes = |proxy: &Proxy| of(proxy, |asked| asked.method != http::Method::GET).len();
    let before = changes(&proxy);
    push(&installation, &["one", "two"], "b", &["three"]);
    let known = |status: &UnitStatus| status.candidate.as_ref().is_some_and(|candidate| candidate.version == "2");
    let status = installation.wait(UNIT, "the push is known", known).await;
    assert!(status.health != UnitHealth::InSync, "{status:#?}");
    assert_eq!(changes(&proxy), before, "nothing is changed by what is seen in part");
    namespace.object("configmap/three");

    proxy.pass_on();
    installation.verified(UNIT, "2").await;
    assert!(namespace.get("configmap/three").is_err_and(|error| error.contains("NotFound")));
    assert_eq!((word(&installation, "one"), word(&installation, "two")), ("b".into(), "b".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_37_an_apply_that_stops_half_way_is_told_by_object_and_taken_up_again() {
    let names = ["five", "four", "one", "three", "two"];
    let Some((proxy, mut installation)) = start(&names).await else { return };
    let refused = |asked: &Asked| {
        let failure = if asked.patches("/configmaps/three") { Answer::Failure(500, None) } else { Answer::Lost };
        (asked.patches("/configmaps/three") || asked.patches("/configmaps/four")).then_some(failure)
    };
    proxy.answer(refused);
    push(&installation, &names, "b", &[]);
    let instance = |status: &UnitStatus, name: &str| {
        let mut all = status.groups.iter().flat_map(|group| &group.instances);
        all.find(|one| one.id == format!("ConfigMap/{name}")).cloned()
    };
    let half = |status: &UnitStatus| {
        let done = ["five", "one", "two"].iter().all(|name| instance(status, name).is_some_and(|one| one.ready));
        let three = instance(status, "three").and_then(|one| one.message).unwrap_or_default();
        let version = status.groups.iter().any(|group| group.version == "2");
        version && done && three.contains("the proxy says 500")
    };
    let status = installation.wait(UNIT, "each object's result is told", half).await;
    assert!(status.health != UnitHealth::InSync, "{status:#?}");
    assert!(status.last_verified.as_ref().is_some_and(|verified| verified.version == "1"), "{status:#?}");
    assert!(!instance(&status, "three").is_some_and(|one| one.ready), "{status:#?}");
    let told = installation.told(&["status"]);
    assert!(!told.contains("in sync"), "{told}");

    installation.kill_daemon();
    installation.start_daemon();
    let still = installation.wait(UNIT, "it is known again", half).await;
    assert!(still.health != UnitHealth::InSync, "{still:#?}");
    proxy.pass_on();
    installation.verified(UNIT, "2").await;
    for name in names {
        assert_eq!(word(&installation, name), "b", "{name}");
    }
    // Twice: for each version once. What is there already is not sent again.
    for name in ["five", "one", "two"] {
        let sent = of(&proxy, |asked| asked.patches(&format!("/configmaps/{name}")));
        assert_eq!(sent.len(), 2, "{name}: {sent:#?}");
    }
    assert_eq!(installation.log().len(), 2);
}
