//! Testers: requests with a declared header or cookie, before anybody else meets the new version.

use trimtab::api::types::UnitCommand;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, web};
use super::strategies::{load, share};
use crate::support::{PATIENCE, eventually_async};

/// The versions that answer so many requests with this header.
async fn versions(bed: &Bed, header: (&str, &str), count: usize) -> Vec<String> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let mut versions = Vec::new();
    for _ in 0..count {
        let request = client.get(format!("http://127.0.0.1:{}/", bed.port)).header("host", "web.dev.localhost");
        let response = request.header(header.0, header.1).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        versions.push(response.headers()["x-version"].to_str().unwrap().to_owned());
    }
    versions.sort();
    versions.dedup();
    versions
}

const HEADER: (&str, &str) = ("x-version", "next");
const COOKIE: (&str, &str) = ("cookie", "theme=dark; tester=1");
const OTHERS: [(&str, &str); 3] = [("x-version", "nexT"), ("cookie", "tester=2"), ("accept", "*/*")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testers_meet_a_canary_that_nobody_else_meets() {
    let steps = "{ canary: { steps: [ { scale: 1 }, { pause: {} }, { weight: 50 }, { pause: {} } ] } }";
    let testers = "drain: 30s, testers: [ { header: X-Version, value: next }, { cookie: tester, value: \"1\" } ]";
    let (environment, app) = (environment("dev"), app("web", steps).replace("drain: 30s", testers));
    let bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]).start();
    bed.verified(UNIT, "1.0.0").await;
    assert_eq!(versions(&bed, HEADER, 1).await, ["1.0.0"], "a tester is a client like any other");

    let everybody = load(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    eventually_async(PATIENCE, "a tester meets the canary", || async { versions(&bed, HEADER, 1).await == ["1.1.0"] })
        .await;
    for tester in [HEADER, COOKIE] {
        assert_eq!(versions(&bed, tester, 20).await, ["1.1.0"], "{tester:?}");
    }
    for other in OTHERS {
        assert_eq!(versions(&bed, other, 20).await, ["1.0.0"], "{other:?}");
    }
    let report = everybody.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert_eq!(report.versions.keys().collect::<Vec<_>>(), ["1.0.0"], "{report}");

    let unit = UNIT.parse().unwrap();
    let status = bed.unit(UNIT).await.unwrap();
    assert_eq!((share(&status, "1.0.0"), share(&status, "1.1.0")), (100.0, 0.0));
    bed.api().command(&unit, &UnitCommand::Promote { full: false }).await.unwrap();
    bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 49.0).await;
    assert_eq!(versions(&bed, HEADER, 20).await, ["1.1.0"], "at any weight");
    assert_eq!(versions(&bed, OTHERS[0], 20).await, ["1.0.0", "1.1.0"], "by weight");
    bed.api().command(&unit, &UnitCommand::Abort {}).await.unwrap();
    bed.wait(UNIT, "the canary is gone", |status| status.groups.len() == 1).await;
    assert_eq!(versions(&bed, HEADER, 20).await, ["1.0.0"], "there is nothing to meet any more");
}
