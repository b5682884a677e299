//! The protocol: what is refused, what is waited for, and the wire format, pinned word for word.

use std::path::Path;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trimtab::domain::id::Epoch;
use trimtab::net::client::ClientError;
use trimtab::protocol::supervisor::{
    Exit, ExitHow, GroupList, GroupStatus, InstanceState, InstanceStatus, PutGroup, PutRun, RunState, RunStatus,
};
use trimtab::protocol::{ErrorBody, ErrorCode, Hello};

use super::bed::{Bed, group_path};

fn refusal<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> (u16, ErrorBody) {
    let error = outcome.unwrap_err();
    let ClientError::Refused { status, .. } = &error else { panic!("{error}") };
    (status.as_u16(), error.refusal().unwrap())
}

#[test]
fn a_stale_epoch_is_refused_also_after_a_restart() {
    let mut bed = Bed::start();
    let spec = bed.group("sleep 1000");
    bed.try_put(5, &spec, 0).unwrap();
    let stale = |bed: &Bed| refusal(bed.try_put(4, &spec, 1));
    let (status, body) = stale(&bed);
    assert_eq!((status, body.code), (409, ErrorCode::StaleEpoch));
    assert!(body.message.contains("epoch 4 is stale: a holder with epoch 5"), "{}", body.message);
    bed.kill_supervisor();
    bed.start_again(None);
    assert_eq!(stale(&bed).0, 409);
    assert_eq!(bed.hello().unwrap().epoch, Epoch(5));
    let delete = bed.send::<()>(Method::DELETE, &format!("{}?epoch=4", group_path(&spec.key)), None::<&()>);
    assert_eq!(refusal(delete).0, 409);
    assert_eq!(bed.status(&spec).replicas, 0);
}

#[test]
fn a_group_never_changes_its_spec_but_its_markers_may() {
    let bed = Bed::start();
    let mut spec = bed.group("sleep 1000");
    bed.put(&spec, 0);
    spec.markers.version = "1.4.3".into();
    assert_eq!(bed.put(&spec, 0).markers.version, "1.4.3");
    spec.process.env.insert("NEW".into(), "secret value".into());
    let (status, body) = refusal(bed.try_put(1, &spec, 0));
    assert_eq!((status, body.code), (400, ErrorCode::Invalid));
    assert!(body.message.contains("process.env.NEW") && !body.message.contains("secret value"), "{}", body.message);
}

#[test]
fn what_can_not_be_carried_out_is_refused() {
    let bed = Bed::start();
    let mut spec = bed.group("sleep 1000");
    spec.artifact_dir = Some("/nowhere/at/all".into());
    let (status, body) = refusal(bed.try_put(1, &spec, 1));
    assert_eq!((status, body.code), (400, ErrorCode::Invalid));
    assert!(body.message.contains("/nowhere/at/all"), "{}", body.message);
    assert!(bed.groups().groups.is_empty());
    let newer =
        PutGroup { version: 2, epoch: Epoch(1), spec: bed.group("x"), replicas: 1, secrets: Default::default() };
    let (status, body) = refusal(bed.send::<GroupStatus>(Method::PUT, &group_path(&newer.spec.key), Some(&newer)));
    assert_eq!((status, body.code), (426, ErrorCode::Version));
    let (status, body) = refusal(bed.send::<GroupStatus>(Method::PUT, &group_path("a"), Some(&"no group")));
    assert_eq!((status, body.code), (400, ErrorCode::Invalid));
    assert_eq!(refusal(bed.get::<GroupStatus>(&group_path("none"))).0, 404);
    assert_eq!(refusal(bed.get::<RunStatus>("/v1/runs/none")).0, 404);
    assert_eq!(refusal(bed.get::<()>("/v2")).0, 404);
    assert_eq!(bed.text("/healthz"), "ok\n");
}

#[test]
fn who_waits_for_a_change_is_told_of_it() {
    let bed = Bed::start();
    let seq = bed.groups().seq;
    let list: GroupList = bed.get(&format!("/v1/groups?since={seq}&wait=10ms")).unwrap();
    assert_eq!((list.seq, list.groups.len()), (seq, 0), "nothing changed");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bed.get::<GroupList>(&format!("/v1/groups?since={seq}&wait=5m")).unwrap());
        bed.put(&bed.group("sleep 1000"), 0);
        assert!(waiting.join().unwrap().seq > seq);
    });
}

/// Compares with the file that pins a message, and reads it back.
fn pinned<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, message: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/supervisor/golden").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(message).unwrap() + "\n";
    if std::env::var_os("GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    assert_eq!(text, golden, "{name}: the wire format is a promise to older and newer builds");
    assert_eq!(&serde_json::from_str::<T>(&golden).unwrap(), message);
    // A newer build may say more.
    let mut more: serde_json::Value = serde_json::from_str(&golden).unwrap();
    more["saidByANewerBuild"] = serde_json::json!({ "x": 1 });
    assert_eq!(&serde_json::from_value::<T>(more).unwrap(), message);
}

#[test]
fn the_wire_format_is_pinned() {
    let put: PutGroup = serde_json::from_str(include_str!("golden/put-group.json")).unwrap();
    pinned("put-group", &put);
    let run: PutRun = serde_json::from_str(include_str!("golden/put-run.json")).unwrap();
    pinned("put-run", &run);
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let ends = [
        ExitHow::Code(3),
        ExitHow::Signal(9),
        ExitHow::OutOfMemory,
        ExitHow::NotStarted("the program is missing".into()),
        ExitHow::Unknown("its shim was killed".into()),
    ];
    let states = [
        InstanceState::Starting,
        InstanceState::Running,
        InstanceState::BackOff,
        InstanceState::Stopping,
        InstanceState::Stopped,
    ];
    let instance = |(slot, (state, how)): (u32, (InstanceState, ExitHow))| InstanceStatus {
        id: format!("g1-{slot}"),
        slot,
        state,
        ready: state == InstanceState::Running,
        pid: (slot > 0).then_some(4711),
        port: (slot > 0).then_some(20_001),
        started: (slot > 0).then_some(at),
        restarts: slot,
        last_exit: Some(Exit { how, at }),
        message: (slot > 0).then(|| "it exited with code 3".into()),
    };
    let group = GroupStatus {
        key: put.spec.key.clone(),
        group: put.spec.group.clone(),
        markers: put.spec.markers.clone(),
        replicas: 5,
        retiring: false,
        instances: (0..).zip(states.into_iter().zip(ends.clone())).map(instance).collect(),
        limitations: vec!["the memory limit of 1 bytes is not enforced: no controller".into()],
    };
    pinned("group-list", &GroupList { seq: 7, start: "0190".into(), groups: vec![group] });
    let states = [RunState::Running, RunState::TimedOut, RunState::Killed].into_iter().chain(ends.map(RunState::Ended));
    for (number, state) in states.enumerate() {
        let ended = (state != RunState::Running).then_some(at);
        let status = RunStatus { id: run.spec.id.clone(), state, started: at, ended, output: "done\n".into() };
        pinned(&format!("run-status-{number}"), &status);
    }
    let hello = Hello {
        protocol: 1,
        version: "0.1.0".into(),
        start: "0190".into(),
        pid: 17,
        epoch: Epoch(3),
        limitations: vec!["not root".into()],
    };
    pinned("hello", &hello);
    pinned("error", &ErrorBody { code: ErrorCode::StaleEpoch, message: "stop".into() });
}
