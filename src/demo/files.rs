//! `examples/repo`, as it is in the binary. A test compares the list with the folder.

macro_rules! example {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/repo/", $path)))),*]
    };
}

/// Each file's path from the root of the repository, and its content.
pub const FILES: &[(&str, &[u8])] = example![
    "README.md",
    "apps/hello.yaml",
    "apps/hello/bin/hello",
    "apps/notes.yaml",
    "apps/notes/bin/notes",
    "environments/dev.yaml",
    "environments/production.yaml",
    "environments/staging.yaml",
    "releases/dev/hello.yaml",
    "releases/dev/notes.yaml",
    "releases/production/hello.yaml",
    "releases/production/notes.yaml",
    "releases/staging/hello.yaml",
    "releases/staging/notes.yaml",
    "scripts/migrate.yaml",
    "scripts/smoke.yaml",
];
