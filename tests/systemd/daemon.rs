//! The daemon under systemd: reloaded, and started anew where it makes no progress.

use super::machine::Machine;

const CONFIG: &str = "[source]\nurl = \"/srv/config.git\"\npoll = \"1s\"\n[api]\nmode = \"0660\"\n";

fn configure(machine: &Machine, more: &str) {
    machine.write("/etc/trimtab/trimtab.toml", &format!("{CONFIG}{more}"));
}

/// Waits for a line of the daemon's log that holds all of these.
fn told(machine: &Machine, words: &[&str]) {
    let filter: String = words.iter().map(|word| format!(" | grep -F -- '{word}'")).collect();
    machine.until(
        &format!("the log has {words:?}"),
        &format!("journalctl --no-pager -o cat -u trimtab-daemon{filter} >/dev/null"),
    );
}

#[test]
fn a_reload_keeps_the_process_and_a_daemon_that_hangs_is_started_anew() {
    let Some(machine) = Machine::take() else { return };
    configure(&machine, "");
    machine.must(
        "chgrp trimtab /etc/trimtab/trimtab.toml && chmod 0640 /etc/trimtab/trimtab.toml
         git init -q --bare --shared=group -b main /srv/config.git
         git clone -q /srv/config.git /srv/work 2>/dev/null; cd /srv/work; echo nothing > README
         git add -A; git -c user.name=me -c user.email=me@localhost commit -qm first; git push -q origin HEAD:main
         chgrp -R trimtab /srv/config.git
         systemctl start trimtab-daemon",
    );
    let pid = machine.main_pid("trimtab-daemon");

    configure(&machine, "[log]\nlevel = \"debug\"\n");
    machine.must("systemctl reload trimtab-daemon");
    told(&machine, &["was read again", "[log] level"]);
    configure(&machine, "[sourc\n");
    machine.must("systemctl reload trimtab-daemon");
    told(&machine, &["was not taken", "trimtab.toml"]);
    machine.until("people see it", "trimtab status --socket /run/trimtab/daemon.sock | grep -F 'stays in force'");
    assert_eq!(machine.main_pid("trimtab-daemon"), pid, "{}", machine.journal());

    configure(&machine, "");
    machine.write("/etc/systemd/system/trimtab-daemon.service.d/watchdog.conf", "[Service]\nWatchdogSec=5\n");
    machine.must("systemctl daemon-reload; systemctl restart trimtab-daemon");
    let pid = machine.main_pid("trimtab-daemon");
    machine.must(&format!("kill -STOP {pid}"));
    machine.until(
        "another daemon runs",
        &format!(
            "systemctl is-active --quiet trimtab-daemon && [ $(systemctl show -P MainPID trimtab-daemon) != {pid} ]"
        ),
    );
    machine.must("journalctl --no-pager -o cat -u trimtab-daemon | grep -Fi 'watchdog timeout' >/dev/null");
    machine.until("it answers", "trimtab status");
}
