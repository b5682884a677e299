//! The kill of what a dead shim left behind, so that no orphan holds on to the port or works beside its successor.

use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

use super::process::{self, Stat};
use super::shim::records::{AppRecord, Launch, ProcessId, TOKEN};

/// How long the kill may take; only a process stuck in the kernel withstands it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills every process of a launch whose shim is gone; whether none is left. They are found by their control group, by
/// the session of the main process, and by the token in their environment: no single one holds for a process that ran
/// away into another session, changed its environment, or lives where there are no control groups.
pub fn kill(launch: &Launch, app: &AppRecord) -> bool {
    let begun = Instant::now();
    loop {
        launch.cgroup.kill();
        let left = find(launch, app.process);
        for id in &left {
            process::signal(*id, libc::SIGKILL);
        }
        if left.is_empty() && launch.cgroup.members().is_empty() {
            launch.cgroup.remove();
            return true;
        }
        if begun.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn find(launch: &Launch, main: ProcessId) -> Vec<ProcessId> {
    let processes = process::all();
    // While a session has members its leader's id is given to nobody. If somebody else has the id, the session is gone.
    let session_is_ours = !processes.iter().any(|process| process.id.pid == main.pid && process.id != main);
    let ours = |process: &&Stat| {
        let in_session = session_is_ours && process.session == main.pid && process.id.start >= main.start;
        !process.zombie && (in_session || process::carries(process.id.pid, TOKEN, &launch.token))
    };
    processes.iter().filter(ours).map(|process| process.id).collect()
}
