//! A client in the machine that counts what it does not get.

use super::machine::Machine;

/// Asks without pause, each time on a connection of its own, until it is stopped; lists every answer that is not 200.
pub struct Client<'m> {
    machine: &'m Machine,
}

impl<'m> Client<'m> {
    /// Starts it, and returns once it was served.
    pub fn start(machine: &'m Machine) -> Self {
        machine.write(
            "/srv/client",
            "while [ ! -e /srv/stop ]; do curl -s -o /dev/null --max-time 30 -w '%{http_code} %{errormsg}\\n' http://127.0.0.1/ >>/srv/answers || true; done",
        );
        machine.must("rm -f /srv/stop /srv/answers; systemd-run --quiet --unit tt-client sh /srv/client");
        machine.until("the client is served", "grep -q ^200 /srv/answers");
        Client { machine }
    }

    /// Stops it, once it was served after what happened meanwhile; the answers that were not 200.
    pub fn failures(self) -> String {
        let seen = self.machine.must("wc -l < /srv/answers");
        let more = format!("[ $(wc -l < /srv/answers) -gt $(( {seen} + 10 )) ]");
        self.machine.until("the client goes on being served", &more);
        self.machine.must("touch /srv/stop");
        self.machine.until("the client ends", "! systemctl is-active --quiet tt-client");
        self.machine.must("grep -v ^200 /srv/answers || true")
    }
}
