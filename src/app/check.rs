//! Looks at everything the daemon depends on.

use super::platforms::Platforms;
use super::world::World;
use crate::api::types::CheckResult;
use crate::ports::objects::ObjectTools;

/// One result a part: Git, supervisor, routers, state. Where all units are `elsewhere`, nobody needs supervisor and router.
pub async fn check(world: &World, elsewhere: bool) -> Vec<CheckResult> {
    let (git, platform, traffic, state, secrets) = tokio::join!(
        world.source.fetch(),
        world.platforms.host().check(),
        world.traffic.check(),
        world.journal.verify(),
        world.secrets.check(),
    );
    let mut results = vec![
        result(
            "git",
            git.map(|head| {
                (format!("{} answers; {} is at {}", world.source.describe(), head.branch, head.revision), Vec::new())
            }),
        ),
        of_this_machine("supervisor", platform, elsewhere),
        of_this_machine("router", traffic, elsewhere),
        result("state", state.map(|count| (format!("{count} records match their checksums"), room(world)))),
        result("secrets", secrets.map(|found| (found, Vec::new()))),
    ];
    results.extend(clusters(&world.platforms).await);
    results.extend(tools(&world.platforms, world.tools.as_ref()).await);
    results
}

/// One result a cluster, all asked at once.
pub async fn clusters(platforms: &Platforms) -> Vec<CheckResult> {
    let asked = platforms.clusters().map(|(name, platform)| async move {
        let answer = platform.check().await;
        result(&format!("cluster {name}"), answer.map(|limitations| ("it answers".into(), limitations)))
    });
    futures_util::future::join_all(asked).await
}

/// What serves units of this machine alone.
fn of_this_machine<E: std::fmt::Display>(part: &str, answer: Result<Vec<String>, E>, elsewhere: bool) -> CheckResult {
    match answer {
        Err(_) if elsewhere => {
            result::<E>(part, Ok(("not there, nor needed: no unit is of this machine".into(), Vec::new())))
        }
        answer => result(part, answer.map(|limitations| ("it answers".into(), limitations))),
    }
}

/// What is wrong with the room for the state.
fn room(world: &World) -> Vec<String> {
    world.journal.short_of_room().into_iter().collect()
}

/// Whether the tools that make objects are there; nothing where there is no cluster that objects could go to.
pub async fn tools(platforms: &Platforms, tools: &dyn ObjectTools) -> Option<CheckResult> {
    platforms.clusters().next()?;
    Some(result("tools", tools.check().await))
}

/// A part's result from what it answered.
pub fn result<E: std::fmt::Display>(part: &str, answer: Result<(String, Vec<String>), E>) -> CheckResult {
    match answer {
        Ok((message, limitations)) => CheckResult { part: part.into(), ok: true, message, limitations },
        Err(error) => CheckResult { part: part.into(), ok: false, message: error.to_string(), limitations: Vec::new() },
    }
}
