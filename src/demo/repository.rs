//! The demo's Git repositories: the example of the binary, made to fit this machine, in a bare repository and a clone of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::DemoError;
use super::files::FILES;
use super::git::Git;
use super::layout::Layout;
use crate::domain::desired::DesiredUnit;
use crate::domain::manifest::DocumentSet;
use crate::domain::render::render;

/// The line of an Environment that names the program which the example's apps start.
const PROGRAM: &str = "TRIMTAB_DEMO_BIN: trimtab";

/// The repository, and what it asks for.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The clone to work in.
    pub clone: Git,
    dir: PathBuf,
    units: Vec<Unit>,
}

/// A unit of the example and the file of its Release.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it asks for.
    pub desired: Arc<DesiredUnit>,
    /// Its Release's file, from the root of the repository.
    pub release: String,
}

impl Repository {
    /// Makes both repositories. The first listener gets `port`, where one is named.
    pub async fn create(layout: &Layout, binary: &Path, port: Option<u16>) -> Result<Self, DemoError> {
        let fitted = fit(binary, port)?;
        Git::init(&layout.origin(), true).await?;
        let dir = layout.clone_dir();
        let clone = Git::init(&dir, false).await?;
        for file in &fitted {
            file.write(&dir)?;
        }
        let origin = layout.origin().to_string_lossy().into_owned();
        clone.run(&["remote", "add", "origin", &origin]).await?;
        // Whoever tries the demo may not have told Git their name yet.
        clone.run(&["config", "user.name", "You"]).await?;
        clone.run(&["config", "user.email", "you@localhost"]).await?;
        clone.publish("The example").await?;
        Ok(Repository { clone, dir, units: units(&fitted) })
    }

    /// The units that take requests, in order of their addresses.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// A unit by its name.
    pub fn unit(&self, id: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.desired.unit.to_string() == id)
    }

    /// A file of the clone.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Replaces a text in a file of the clone; it must be there exactly once.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<(), DemoError> {
        let path = self.path(file);
        let failed = |reason: String| DemoError::Edit { path: path.clone(), reason };
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        match text.matches(from).count() {
            1 => fs::write(&path, text.replacen(from, to, 1)).map_err(|error| failed(error.to_string())),
            count => Err(failed(format!("{from:?} is in it {count} times"))),
        }
    }
}

/// One file of the example, made to fit.
struct Fitted {
    path: &'static str,
    content: Vec<u8>,
}

impl Fitted {
    fn write(&self, dir: &Path) -> Result<(), DemoError> {
        let path = dir.join(self.path);
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, &self.content)?;
            // What begins like a program is one; `include_bytes!` keeps no file modes.
            if self.content.starts_with(b"#!") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
            Ok(())
        };
        write().map_err(|error| DemoError::Edit { path: path.clone(), reason: error.to_string() })
    }
}

/// Gives every listener a free port, and the apps this program.
fn fit(binary: &Path, port: Option<u16>) -> Result<Vec<Fitted>, DemoError> {
    let mut ports = Ports { first: port, given: BTreeMap::new() };
    let mut fitted = Vec::new();
    for (path, content) in FILES {
        let content = match std::str::from_utf8(content) {
            Ok(text) if path.ends_with(".yaml") => {
                let program = serde_json::Value::String(binary.to_string_lossy().into_owned());
                let text = text.replace(PROGRAM, &format!("TRIMTAB_DEMO_BIN: {program}"));
                ports.replace(&text)?.into_bytes()
            }
            _ => content.to_vec(),
        };
        fitted.push(Fitted { path, content });
    }
    Ok(fitted)
}

/// The ports that the example's listeners get.
struct Ports {
    first: Option<u16>,
    given: BTreeMap<u16, (u16, Option<TcpListener>)>,
}

impl Ports {
    /// Replaces every `127.0.0.1:PORT`: the same one by the same one everywhere.
    fn replace(&mut self, text: &str) -> Result<String, DemoError> {
        const HOST: &str = "127.0.0.1:";
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(HOST) {
            let (before, after) = rest.split_at(at + HOST.len());
            out.push_str(before);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            match after[..digits].parse() {
                Ok(port) => out.push_str(&self.get(port)?.to_string()),
                Err(_) => out.push_str(&after[..digits]),
            }
            rest = &after[digits..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn get(&mut self, of: u16) -> Result<u16, DemoError> {
        if let Some((port, _)) = self.given.get(&of) {
            return Ok(*port);
        }
        let wanted = self.first.take();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted.unwrap_or(0)));
        let refused = |source| DemoError::Port { address, source };
        // Kept until all have one, so that no two get the same.
        let listener = TcpListener::bind(address).map_err(refused)?;
        let port = listener.local_addr().map_err(refused)?.port();
        self.given.insert(of, (port, Some(listener)));
        Ok(port)
    }
}

/// What the fitted documents ask for. The artifacts' object names do not matter here: only routes and strategies are read.
fn units(fitted: &[Fitted]) -> Vec<Unit> {
    let text = |file: &Fitted| String::from_utf8(file.content.clone()).ok().map(|text| (file.path.to_owned(), text));
    let yaml = fitted.iter().filter(|file| file.path.ends_with(".yaml"));
    let documents = DocumentSet::from(yaml.filter_map(text).collect());
    let rendered = render(&documents, &|_| Some("0".repeat(40)));
    let unit = |rendered: crate::domain::render::Rendered| {
        let desired = rendered.outcome.ok()?;
        desired.route.as_ref()?;
        Some(Unit { desired, release: rendered.release_file })
    };
    let mut units: Vec<Unit> = rendered.into_iter().filter_map(unit).collect();
    units.sort_by_key(|unit| unit.desired.route.as_ref().map(|route| route.listen));
    units
}
