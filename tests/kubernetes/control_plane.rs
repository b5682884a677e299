//! A control plane of a test's own, without nodes: an API server that can be stopped while nobody else needs it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use tempfile::TempDir;

/// How long a word of its may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// etcd, kube-apiserver and what else was asked for. They end with this, and with the test's process.
pub struct ControlPlane {
    child: Child,
    answers: Mutex<Receiver<String>>,
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
        let (tell, answers) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let answers = Mutex::new(answers);
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
        let answered = self.answers.lock().unwrap().recv_timeout(PATIENCE);
        let line = answered.unwrap_or_else(|error| panic!("not {beginning:?}: {error}"));
        line.trim_end().strip_prefix(beginning).unwrap_or_else(|| panic!("not {beginning:?}: {line:?}")).to_owned()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
