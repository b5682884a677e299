//! Who may know whom: the domain is pure, strategies know no platform, only the wiring knows concrete adapters.

use super::source::{Keep, blank, files, named_paths, read, within};

/// Fails with all places below `folder` that name a path in one of the modules, `except` in files whose path begins so.
fn forbid(folder: &str, modules: &[&str], except: &[&str], why: &str) {
    let mut broken = Vec::new();
    for file in files(folder, ".rs") {
        if except.iter().any(|prefix| file.starts_with(prefix)) {
            continue;
        }
        for named in named_paths(&file, &read(&file)) {
            if modules.iter().any(|module| within(&named.path, module)) {
                broken.push(format!("{}:{}: {}", file.display(), named.line, named.path));
            }
        }
    }
    assert!(broken.is_empty(), "{why}:\n{}", broken.join("\n"));
}

#[test]
fn domain_is_pure() {
    assert!(!files("src/domain", ".rs").is_empty());
    // The address types of `core::net` are fine: they are values, and nothing can be reached with them.
    let outside = [
        "tokio",
        "tokio_stream",
        "tokio_util",
        "futures_util",
        "async_trait",
        "axum",
        "hyper",
        "hyper_util",
        "reqwest",
        "git2",
        "rusqlite",
        "notify",
        "nix",
        "socket2",
        "rand",
        "clap",
        "tracing",
        "prometheus",
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::thread",
        "std::os",
        "std::io",
        "std::time::Instant",
        "std::time::SystemTime",
    ];
    forbid("src/domain", &outside, &[], "src/domain does no I/O and knows no runtime (architecture.md, rule 1)");
    let inside = [
        "crate::ports",
        "crate::adapters",
        "crate::app",
        "crate::net",
        "crate::api",
        "crate::cli",
        "crate::clock",
        "crate::protocol",
        "crate::router",
        "crate::supervisor",
        "crate::wiring",
    ];
    forbid("src/domain", &inside, &[], "src/domain knows nothing outside of itself");
}

#[test]
fn domain_reads_no_clock() {
    let mut broken = Vec::new();
    for file in files("src/domain", ".rs") {
        for named in named_paths(&file, &read(&file)) {
            if named.path.ends_with("::now") || named.path.ends_with("::now_v7") || named.path.ends_with("::new_v4") {
                broken.push(format!("{}:{}: {}", file.display(), named.line, named.path));
            }
        }
    }
    assert!(broken.is_empty(), "time and chance come in as arguments:\n{}", broken.join("\n"));
}

/// Fails with all places below `folder` whose code or strings begin a name with one of the words.
fn forbid_words(folder: &str, words: &[&str], why: &str) {
    let found = files(folder, ".rs");
    assert!(!found.is_empty(), "{folder} is empty");
    let mut broken = Vec::new();
    for file in found {
        for (index, line) in blank(&read(&file), Keep::Strings).lines().enumerate() {
            if identifiers(line).any(|identifier| words.contains(&first_word(identifier).as_str())) {
                broken.push(format!("{}:{}: {}", file.display(), index + 1, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{why}:\n{}", broken.join("\n"));
}

/// Names that only a platform has.
const PLATFORMS: [&str; 10] =
    ["docker", "swarm", "compose", "kubernetes", "k8s", "kube", "ecs", "aws", "azure", "systemd"];

#[test]
fn strategies_name_no_platform() {
    let words = ["host", "aci", "vm", "ssh", "supervisor", "process", "container"];
    let words = [&PLATFORMS[..], &words].concat();
    forbid_words("src/domain/strategy", &words, "strategies know capabilities, never platforms");
}

#[test]
fn planner_and_saga_name_no_platform() {
    for folder in ["src/domain/planner", "src/domain/converge", "src/domain/rollout", "src/domain/unit", "src/app/unit"]
    {
        forbid_words(folder, &PLATFORMS, "planner and saga know capabilities, never platforms");
    }
}

#[test]
fn ports_and_use_cases_know_no_adapter() {
    let outside = ["git2", "rusqlite", "notify", "hyper", "hyper_util", "reqwest", "axum", "nix", "clap"];
    forbid(
        "src/ports",
        &outside,
        &[],
        "a port is a trait over domain types; the library behind it belongs to its adapter",
    );
    forbid("src/app", &outside, &[], "a use case speaks through ports");
    let inside = ["crate::adapters", "crate::cli", "crate::router", "crate::supervisor", "crate::wiring"];
    forbid("src/ports", &[&inside[..], &["crate::app", "crate::api"]].concat(), &[], "ports know the domain alone");
    // The API's plain types are what use cases answer with; its server and client are not for them.
    forbid(
        "src/app",
        &[&inside[..], &["crate::api::server", "crate::api::client"]].concat(),
        &[],
        "use cases know domain and ports",
    );
}

#[test]
fn only_the_wiring_names_adapters() {
    forbid(
        "src",
        &["crate::adapters"],
        &["src/wiring.rs", "src/wiring", "src/adapters"],
        "src/wiring.rs names concrete adapters",
    );
}

#[test]
fn router_and_supervisor_stand_alone() {
    let brain = ["crate::app", "crate::ports", "crate::adapters", "crate::api", "crate::wiring", "git2", "rusqlite"];
    for folder in ["src/router", "src/supervisor"] {
        forbid(
            folder,
            &brain,
            &[],
            "router and supervisor run without the daemon: they share its protocol and plain types",
        );
    }
}

fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|identifier| !identifier.is_empty())
}

/// `host` of `HostPlatform` and of `host_platform`, but `preview` of `preview_host`, which is the name in a request.
fn first_word(identifier: &str) -> String {
    let start = identifier.trim_start_matches('_');
    let end = start.char_indices().skip(1).find(|(_, c)| *c == '_' || c.is_ascii_uppercase()).map(|(at, _)| at);
    start[..end.unwrap_or(start.len())].to_ascii_lowercase()
}

#[test]
fn first_words_are_found() {
    let words: Vec<String> = identifiers("let HostPlatform = host_of(preview_host, k8s)").map(first_word).collect();
    assert_eq!(words, ["let", "host", "host", "preview", "k8s"]);
}
