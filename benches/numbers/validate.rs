//! `trimtab validate` over many documents.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;

use crate::figure::{Figure, median, millis};
use crate::world::{TRIMTAB, documents};

const RUNS: usize = 5;

pub fn measure(manifests: usize) -> anyhow::Result<Vec<Figure>> {
    eprintln!("measuring validate with {manifests} manifests");
    let dir = tempfile::Builder::new().prefix("trimtab-bench-").tempdir()?;
    for (path, text) in documents(manifests) {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir.path()))?;
        std::fs::write(path, text)?;
    }
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let output = Command::new(TRIMTAB).arg("validate").arg(dir.path()).stdin(Stdio::null()).output()?;
        times.push(millis(begun.elapsed()));
        ensure!(output.status.success(), "validate: {}", String::from_utf8_lossy(&output.stderr));
    }
    let note = format!(
        "wall time of the process, warm files, {manifests} manifests (half Apps, half Releases); median of {RUNS}"
    );
    let figure = Figure::at_most(format!("validate/{manifests}-manifests"), median(times), "ms", 1000.0, note);
    Ok(vec![if manifests > 10 * crate::APPS { figure.without_target() } else { figure }])
}
