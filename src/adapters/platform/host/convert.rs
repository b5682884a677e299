//! What the supervisor says, in the domain's words.

use std::net::{Ipv4Addr, SocketAddr};

use crate::domain::observed::{ObservedGroup, ObservedInstance, ObservedRun};
use crate::protocol::supervisor::{ExitHow, GroupStatus, InstanceState, InstanceStatus, RunState};

/// A group.
pub(super) fn group(status: GroupStatus) -> ObservedGroup {
    ObservedGroup {
        group: status.group,
        rendered: status.markers.rendered,
        version: status.markers.version,
        replicas: status.replicas,
        retiring: status.retiring,
        in_place: false,
        found: false,
        leaving: Vec::new(),
        instances: status.instances.into_iter().map(instance).collect(),
    }
}

fn instance(status: InstanceStatus) -> ObservedInstance {
    ObservedInstance {
        id: status.id,
        slot: status.slot,
        running: matches!(status.state, InstanceState::Running | InstanceState::Stopping),
        stopping: status.state == InstanceState::Stopping,
        ready: status.ready,
        address: status.port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        started: status.started,
        restarts: status.restarts,
        given_up: false,
        message: status.message,
    }
}

/// A run.
pub(super) fn run(state: &RunState) -> ObservedRun {
    match state {
        RunState::Running => ObservedRun::Running,
        RunState::TimedOut => ObservedRun::Failed("it was killed for its timeout".into()),
        RunState::Killed => ObservedRun::Failed("it was killed on request".into()),
        RunState::Ended(how) => match how {
            ExitHow::Code(code) => ObservedRun::Exited(*code),
            ExitHow::Signal(signal) => ObservedRun::Failed(format!("it was ended by signal {signal}")),
            ExitHow::OutOfMemory => ObservedRun::Failed("it was killed for its memory limit".into()),
            ExitHow::NotStarted(why) => ObservedRun::Failed(format!("it could not be started: {why}")),
            ExitHow::Unknown(why) => ObservedRun::Unknown(why.clone()),
        },
    }
}
