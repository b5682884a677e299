//! A control plane of a test's own, without nodes: an API server that can be stopped while nobody else needs it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// etcd, kube-apiserver and what else was asked for. They end with this, and with the test's process.
pub struct ControlPlane {
    child: Child,
    answers: BufReader<ChildStdout>,
    kubeconfig: PathBuf,
    _dir: TempDir,
}

impl ControlPlane {
    /// Starts one, with the parts asked for beside etcd and kube-apiserver.
    #[track_caller]
    pub fn start(parts: &[&str]) -> ControlPlane {
        let dir = tempfile::Builder::new().prefix("trimtab-kubernetes-").tempdir().unwrap();
        let mut child = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/bed"))
            .arg("control-plane")
            .arg(dir.path())
            .args(parts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut control_plane = ControlPlane { child, answers, kubeconfig: PathBuf::new(), _dir: dir };
        control_plane.kubeconfig = control_plane.answer("ready ").into();
        control_plane
    }

    /// How to reach it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Ends the API server and waits for its end.
    pub fn stop_api_server(&mut self) {
        self.tell("stop");
        self.answer("stopped");
    }

    /// Starts the API server again and waits until it serves.
    pub fn start_api_server(&mut self) {
        self.tell("start");
        self.answer("ready ");
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    /// The rest of the next line, which must begin so.
    fn answer(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().strip_prefix(beginning).unwrap_or_else(|| panic!("not {beginning:?}: {line:?}")).to_owned()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
