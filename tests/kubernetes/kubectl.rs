//! kubectl, the client that everybody has.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::PATIENCE;

/// Runs it with something on its standard input, for so long at most as anything is waited for; its output, or what it complained of.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
    // Whatever it waits for: a test that hangs tells nothing.
    let mut child = Command::new("timeout")
        .args([&PATIENCE.as_secs().to_string(), "kubectl", "--kubeconfig"])
        .arg(kubeconfig)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("kubectl: {error}"))?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let told = String::from_utf8_lossy(&output.stderr);
            Err(format!("kubectl {arguments:?}: {}: {told}", output.status))
        }
    }
}
