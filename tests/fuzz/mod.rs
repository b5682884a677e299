//! Whatever comes from outside, mutated: nothing panics, nothing runs away, and what is said about it is harmless to print.
//!
//! Every body runs over its saved corpus (`tests/fuzz/corpus/BODY/`) and over mutations of it that a fixed seed decides.
//! `FUZZ_RUNS=100000` tries more of them, `FUZZ_SEED` others; an input that breaks a body is written to the folder that
//! `FUZZ_KEEP` names, to be made small and saved.

mod bodies;
mod mutate;
mod webhooks;

use std::path::{Path, PathBuf};

use crate::sim::dice::Dice;

/// How many mutations of each saved input are tried.
const RUNS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The saved inputs of a body.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus for {name}");
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs a body over everything.
fn fuzz(name: &str, body: fn(&[u8])) {
    let corpus = corpus(name);
    let mut dice = Dice::new(number("FUZZ_SEED").unwrap_or(1));
    for (path, input) in &corpus {
        run(name, &path.display().to_string(), body, input);
        for round in 0..number("FUZZ_RUNS").unwrap_or(RUNS) {
            let other = &dice.clone().pick(&corpus).1;
            let mutated = mutate::mutated(input, other, &mut dice);
            run(name, &format!("{} mutated, round {round}", path.display()), body, &mutated);
        }
    }
}

fn run(name: &str, what: &str, body: fn(&[u8]), input: &[u8]) {
    let ended = std::panic::catch_unwind(|| body(input));
    if let Err(panic) = ended {
        if let Some(folder) = std::env::var_os("FUZZ_KEEP") {
            let sum = trimtab::domain::digest::Digest::of_bytes("f1", input);
            std::fs::write(Path::new(&folder).join(format!("{name}-{}", sum.short())), input).unwrap();
        }
        let text = String::from_utf8_lossy(&input[..input.len().min(2_000)]).into_owned();
        eprintln!("{name}: {what}:\n{text:?}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn manifests() {
    fuzz("manifest", bodies::manifest);
}

#[test]
fn objects() {
    fuzz("objects", bodies::objects);
}

#[test]
fn events() {
    fuzz("event", bodies::event);
}

#[test]
fn sops_files() {
    fuzz("sops", bodies::sops);
}

#[test]
fn commit_messages() {
    fuzz("message", bodies::message);
}

#[test]
fn deliveries_of_webhooks() {
    fuzz("webhook", webhooks::webhook);
}
