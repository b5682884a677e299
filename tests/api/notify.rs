//! What the daemon tells systemd over its life.

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::e2e::bed::Bed;
use crate::support::{PATIENCE, Running, eventually, read, trimtab};

#[test]
fn readiness_life_reload_and_end_are_told() {
    let bed = Bed::new(&[("README.md", "nothing yet")]);
    let socket = UnixDatagram::bind(bed.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = trimtab();
    let config = std::fs::read_to_string(bed.config()).unwrap();
    std::fs::write(bed.config(), format!("{config}[log]\nformat = 'json'\n")).unwrap();
    command.args(["daemon", "--config"]).arg(bed.config());
    command.env("NOTIFY_SOCKET", bed.path("notify")).env("WATCHDOG_USEC", "150000").env_remove("WATCHDOG_PID");
    let log = bed.path("log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut daemon = Running::spawn(&mut command);
    let next = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; {:?}", read(&log)));
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    // Beside what is waited for, only that it lives may be told.
    let until = |wanted: &str| loop {
        let message = next();
        if message.starts_with(wanted) {
            break message;
        }
        assert_eq!(message, "WATCHDOG=1", "before {wanted}");
    };
    assert_eq!(next(), "READY=1");
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    let pid = Pid::from_raw(daemon.pid() as i32);
    kill(pid, Signal::SIGHUP).unwrap();
    let reloading = until("RELOADING=1");
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|text| text.parse::<u64>().ok());
    assert!(micros.is_some_and(|micros| micros > 0), "{reloading}");
    until("READY=1");
    kill(pid, Signal::SIGTERM).unwrap();
    until("STOPPING=1");
    let status = eventually(PATIENCE, "the daemon ends", || daemon.0.try_wait().unwrap());
    assert!(status.success(), "{status}: {:?}", read(&log));
    for line in read(&log).unwrap().lines() {
        let told: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(told["timestamp"].is_string() && told["level"].is_string() && told["message"].is_string(), "{line}");
    }
}
