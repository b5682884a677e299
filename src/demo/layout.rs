//! The demo's folder: short enough for the sockets in it, private, and removed in the end.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::DemoError;

/// A socket's path may have 107 bytes; this is what the longest one below the folder needs, those of the shims included.
const LONGEST_ROOT: usize = 50;

/// Where the folder is made when nobody names one: the first of these that takes it.
const PLACES: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

/// The folder and what lies where in it.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes a new folder, in the one that was named or in the usual place for temporary ones.
    pub fn create(named: Option<&Path>) -> Result<Self, DemoError> {
        let root = match named {
            Some(path) => {
                let path = std::path::absolute(path)
                    .map_err(|error| DemoError::Folder { path: path.to_owned(), reason: error.to_string() })?;
                make(&path)?;
                path
            }
            None => temporary()?,
        };
        let layout = Layout { root };
        for folder in [layout.logs(), layout.run(), layout.state()] {
            make_private(&folder)?;
        }
        Ok(layout)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bare repository that the daemon follows.
    pub fn origin(&self) -> PathBuf {
        self.root.join("origin.git")
    }

    /// The clone of it to work in.
    pub fn clone_dir(&self) -> PathBuf {
        self.root.join("config")
    }

    /// The daemon's configuration.
    pub fn config(&self) -> PathBuf {
        self.root.join("trimtab.toml")
    }

    /// What the processes write.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The state of the three processes.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The sockets.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// A process's socket.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.sock"))
    }

    /// Writes the daemon's configuration.
    pub fn write_config(&self) -> Result<(), DemoError> {
        let origin = toml::Value::String(self.origin().to_string_lossy().into_owned());
        let text = format!(
            "\
# The configuration of this demo's daemon. Paths are relative to this file.
installation = \"demo\"
state_dir = \"state/daemon\"

[source]
url = {origin}
branch = \"main\"

[api]
socket = \"run/daemon.sock\"

[supervisor]
socket = \"run/supervisor.sock\"

[router]
sockets = [\"run/router.sock\"]
"
        );
        let path = self.config();
        fs::write(&path, text).map_err(|error| DemoError::Folder { path, reason: error.to_string() })
    }

    /// Removes the folder with everything in it.
    pub fn remove(&self) -> Result<(), DemoError> {
        fs::remove_dir_all(&self.root)
            .map_err(|error| DemoError::Folder { path: self.root.clone(), reason: format!("not removed: {error}") })
    }
}

/// Makes the folder that was named; it may be there, but must be empty.
fn make(path: &Path) -> Result<(), DemoError> {
    let refuse = |reason: String| DemoError::Folder { path: path.to_owned(), reason };
    if path.as_os_str().len() > LONGEST_ROOT {
        return Err(refuse(format!("its path is longer than {LONGEST_ROOT} bytes, too long for the sockets in it")));
    }
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(refuse("it is not empty".into())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_private(path),
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn make_private(path: &Path) -> Result<(), DemoError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| DemoError::Folder { path: path.to_owned(), reason: error.to_string() })
}

/// Makes a new folder with a name that nobody can foresee.
fn temporary() -> Result<PathBuf, DemoError> {
    let mut last = None;
    let usual = std::env::temp_dir();
    for place in std::iter::once(usual.as_path()).chain(PLACES.iter().map(Path::new)) {
        let path = place.join(format!("trimtab-demo-{:08x}", rand::random::<u32>()));
        if path.as_os_str().len() > LONGEST_ROOT {
            continue;
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) => last = Some(DemoError::Folder { path, reason: error.to_string() }),
        }
    }
    Err(last.unwrap_or_else(|| DemoError::Folder { path: usual, reason: "its path is too long".into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::Config;

    #[test]
    fn the_folder_is_private_and_its_configuration_is_read() {
        use std::os::unix::fs::PermissionsExt;
        let layout = Layout::create(None).unwrap();
        assert_eq!(fs::metadata(layout.root()).unwrap().permissions().mode() & 0o777, 0o700);
        layout.write_config().unwrap();
        let config = Config::read(&layout.config()).unwrap();
        assert_eq!(config.api.socket, layout.socket("daemon"));
        assert_eq!(config.router.sockets, [layout.socket("router")]);
        assert_eq!(Path::new(&config.source.url), layout.origin());
        layout.remove().unwrap();
        assert!(!layout.root().exists());
    }

    #[test]
    fn a_folder_in_use_and_one_too_deep_are_refused() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::write(dir.path().join("mine"), "").unwrap();
        let error = Layout::create(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("not empty") && dir.path().join("mine").exists(), "{error}");
        let error = Layout::create(Some(&dir.path().join("d".repeat(60)))).unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
    }
}
