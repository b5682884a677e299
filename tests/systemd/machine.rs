//! The machine with systemd that `tests/systemd/bed` keeps: a container whose name is in `TRIMTAB_BED_SYSTEMD`, behind the
//! Docker daemon at `TRIMTAB_BED_DOCKER`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::support::{PATIENCE, TRIMTAB, eventually};

/// There is one machine: tests that use it take turns.
static TURN: Mutex<()> = Mutex::new(());

/// The machine, cleaned, with this build installed and none of its units started.
pub struct Machine {
    name: String,
    docker: String,
    _turn: MutexGuard<'static, ()>,
}

impl Machine {
    /// The machine; `None` where the bed is not up, which is said.
    pub fn take() -> Option<Machine> {
        let (Ok(name), Ok(docker)) = (std::env::var("TRIMTAB_BED_SYSTEMD"), std::env::var("TRIMTAB_BED_DOCKER")) else {
            eprintln!("skipped: no machine with systemd (tests/run brings it up, as root)");
            return None;
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = Machine { name, docker, _turn: turn };
        machine.clean();
        machine.install();
        Some(machine)
    }

    /// Runs a shell script as root; its output, or what went wrong.
    pub fn sh(&self, script: &str) -> Result<String, String> {
        self.pipe(script, "")
    }

    /// Runs a shell script with an input.
    pub fn pipe(&self, script: &str, input: &str) -> Result<String, String> {
        let mut child = self
            .docker(&["exec", "-i", &self.name, "sh", "-ec", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|error| error.to_string())?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(format!("{script}: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Runs a shell script that must succeed; its output without the end of the last line.
    #[track_caller]
    pub fn must(&self, script: &str) -> String {
        match self.sh(script) {
            Ok(said) => said.trim_end().to_owned(),
            Err(error) => panic!("{error}\n{}", self.journal()),
        }
    }

    /// Waits until a shell script succeeds; its output.
    #[track_caller]
    pub fn until(&self, what: &str, script: &str) -> String {
        eventually(PATIENCE, what, || self.sh(script).map_err(|error| format!("{error}\n{}", self.journal())))
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &str) {
        self.pipe(&format!("mkdir -p $(dirname {path}); cat > {path}"), content).unwrap();
    }

    /// Asks a process over its Unix socket; the answer's body, or the status and what it says.
    pub fn ask(&self, socket: &str, method: &str, path: &str, body: &str) -> Result<String, String> {
        let url = format!("http://localhost{path}");
        let curl = format!(
            "curl -sS --fail-with-body --max-time 20 --unix-socket /run/trimtab/{socket}.sock -X {method} \
             -H 'content-type: application/json' --data-binary @- '{url}'"
        );
        self.pipe(&curl, body)
    }

    /// The main process of a unit.
    pub fn main_pid(&self, unit: &str) -> String {
        self.must(&format!("systemctl show -P MainPID {unit}"))
    }

    /// Cuts the power and starts again.
    pub fn power_cycle(&self) {
        self.run(&["kill", "-s", "KILL", &self.name]);
        self.boot();
    }

    /// Shuts down in order and starts again.
    pub fn reboot(&self) {
        self.run(&["stop", "--time", "60", &self.name]);
        self.boot();
    }

    fn boot(&self) {
        self.run(&["start", &self.name]);
        self.until("systemd is up again", "systemctl is-system-running --quiet");
    }

    /// The last words of the three units, for a failure's message.
    pub fn journal(&self) -> String {
        let units = "-u trimtab-daemon -u trimtab-router -u trimtab-supervisor";
        self.sh(&format!("journalctl --no-pager -n 60 {units}")).unwrap_or_else(|error| error)
    }

    /// Puts this build and its units in place.
    fn install(&self) {
        let units = format!("{}/systemd/.", env!("CARGO_MANIFEST_DIR"));
        self.must("mkdir -p /opt/trimtab");
        self.run(&["cp", &units, &format!("{}:/opt/trimtab/", self.name)]);
        self.run(&["cp", TRIMTAB, &format!("{}:/opt/trimtab/trimtab", self.name)]);
        self.upgrade();
    }

    /// Installs the same build once more, as another file: what an upgrade does to the running processes.
    pub fn upgrade(&self) {
        self.must("/opt/trimtab/install /opt/trimtab/trimtab");
    }

    /// Ends and removes everything of earlier tests.
    fn clean(&self) {
        self.must(
            "systemctl disable --now trimtab-daemon trimtab-router trimtab-supervisor 2>/dev/null || true
             systemctl stop 'tt-*.service' 2>/dev/null || true
             while pkill -KILL -f '^[^ ]*trimtab (shim|demo-app)'; do sleep 0.1; done
             rm -rf /var/lib/trimtab /run/trimtab /srv/* /etc/trimtab /etc/systemd/system/trimtab-*.d
             systemctl daemon-reload
             systemctl reset-failed",
        );
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.docker(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn docker(&self, arguments: &[&str]) -> Command {
        let client = ["/usr/bin/docker", "/usr/local/bin/docker"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(client.unwrap_or("docker"));
        command.args(["--host", &self.docker]).args(arguments);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A failed test leaves everything as it is, to be looked at; the next one cleans up.
        if !std::thread::panicking() {
            self.clean();
        }
    }
}
