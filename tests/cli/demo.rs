//! The example in the binary is the example in the repository.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use trimtab::demo::files::FILES;
use trimtab::demo::git::Git;
use trimtab::demo::layout::Layout;
use trimtab::demo::repository::Repository;

use crate::support::trimtab;

/// Every file below a folder: its path, whether it is executable, and its content.
fn files(root: &Path) -> BTreeMap<String, (bool, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let executable = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
            found.insert(name, (executable, fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn the_binary_carries_the_example_as_it_is() {
    let example = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo"));
    let carried: BTreeMap<_, _> = FILES
        .iter()
        .map(|(path, content)| ((*path).to_owned(), (content.starts_with(b"#!"), content.to_vec())))
        .collect();
    let names = |files: &BTreeMap<String, (bool, Vec<u8>)>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&carried), names(&example));
    for (name, file) in &example {
        assert!(carried[name] == *file, "{name} differs in content, or in whether it is a program");
    }
}

#[tokio::test]
async fn the_demos_repository_is_valid_and_has_ports_of_its_own() {
    let layout = Layout::create(None).unwrap();
    let repository = Repository::create(&layout, Path::new("/opt/a \"b\"/trimtab"), None).await.unwrap();
    let mut addresses: Vec<_> =
        repository.units().iter().filter_map(|unit| unit.desired.route.as_ref()).map(|route| route.listen).collect();
    assert!(addresses.len() >= 4, "{addresses:?}");
    addresses.dedup();
    let ports: Vec<_> = addresses.iter().map(std::net::SocketAddr::port).collect();
    assert!(!ports.contains(&8081), "{ports:?}");
    let output = trimtab().arg("validate").arg(layout.clone_dir()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let origin = Git::at(layout.origin());
    assert_eq!(origin.run(&["rev-list", "--count", "main"]).await.unwrap(), "1");
    let environment = origin.run(&["show", "main:environments/dev.yaml"]).await.unwrap();
    assert!(environment.contains(r#"TRIMTAB_DEMO_BIN: "/opt/a \"b\"/trimtab""#), "{environment}");
    layout.remove().unwrap();
}
