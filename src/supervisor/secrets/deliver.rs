//! Handing secrets over: variables go through a pipe to the shim, files into a folder in memory that only the process's
//! user may enter, and that is removed when the process is gone.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::SecretsError;
use super::places::{Places, clear, make};
use crate::domain::secret::{Delivery, SecretRef};
use crate::secrets::SecretBytes;
use crate::secrets::value::SecretValues;

/// Where a program finds its credentials.
pub const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Who gets files.
pub type Owner = Option<(u32, u32)>;

/// What a start is handed beside its launch, which is written to disk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Handed {
    /// Variables.
    pub env: BTreeMap<String, SecretBytes>,
    /// Values that must not be in its output.
    pub hide: Vec<SecretBytes>,
}

/// Lays the files of a process out, and says what it is handed otherwise. `dir` is its folder in the state.
pub fn lay_out(
    places: &Places,
    dir: &Path,
    secrets: &BTreeMap<String, SecretRef>,
    values: &SecretValues,
    owner: Owner,
) -> Result<Handed, SecretsError> {
    let folder = places.of(dir);
    let handed = handed(places, dir, secrets, values)?;
    if secrets.values().all(|secret| matches!(secret.deliver, Delivery::Env { .. })) {
        return Ok(handed);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| SecretsError::Layout { path, reason: error.to_string() }
    };
    clear(&folder)?;
    make(&places.folder).map_err(failed(&places.folder))?;
    let (files, credentials) = (folder.join("files"), folder.join("credentials"));
    for part in [&folder, &files, &credentials] {
        fs::DirBuilder::new().mode(0o700).create(part).map_err(failed(part))?;
    }
    for (index, (name, secret)) in secrets.iter().enumerate() {
        let value = values.get(name).ok_or_else(|| SecretsError::Missing(name.clone()))?;
        let (path, mode) = match &secret.deliver {
            Delivery::Env { .. } | Delivery::Object {} => continue,
            Delivery::File { mode, .. } => (files.join(index.to_string()), *mode),
            Delivery::Credential { name } => (credentials.join(name), 0o400),
        };
        write(&path, value, mode, owner).map_err(failed(&path))?;
    }
    for part in [&files, &credentials, &folder] {
        fs::set_permissions(part, Permissions::from_mode(0o500)).map_err(failed(part))?;
        if let Some((uid, gid)) = owner {
            chown(part, Some(uid), Some(gid)).map_err(failed(part))?;
        }
    }
    Ok(handed)
}

fn write(path: &Path, value: &SecretBytes, mode: u32, owner: Owner) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(value.expose())?;
    file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    owner.map_or(Ok(()), |(uid, gid)| std::os::unix::fs::fchown(&file, Some(uid), Some(gid)))
}

/// What a process is handed as variables, without laying anything out: for what joins a process that runs.
pub fn handed(
    places: &Places,
    dir: &Path,
    secrets: &BTreeMap<String, SecretRef>,
    values: &SecretValues,
) -> Result<Handed, SecretsError> {
    let mut handed = Handed { env: BTreeMap::new(), hide: values.values().cloned().collect() };
    for (name, secret) in secrets {
        match &secret.deliver {
            Delivery::Env { name: variable } => {
                let value = values.get(name).ok_or_else(|| SecretsError::Missing(name.clone()))?;
                let text = value.as_variable().ok_or_else(|| SecretsError::Value {
                    name: name.clone(),
                    reason: "a variable holds text without NUL; hand it over as a file or a credential".into(),
                })?;
                handed.env.insert(variable.clone(), text.into());
            }
            Delivery::Credential { .. } => {
                let folder = places.of(dir).join("credentials");
                handed.env.insert(CREDENTIALS.into(), folder.to_string_lossy().as_ref().into());
            }
            Delivery::File { .. } | Delivery::Object {} => {}
        }
    }
    Ok(handed)
}

/// Puts links to the files into a working directory that nobody has used yet. What stands at a path is replaced; no
/// link is followed on the way.
pub fn link(
    places: &Places,
    dir: &Path,
    work: &Path,
    secrets: &BTreeMap<String, SecretRef>,
    owner: Owner,
) -> Result<(), SecretsError> {
    for (index, secret) in secrets.values().enumerate() {
        let Delivery::File { path, .. } = &secret.deliver else { continue };
        let target = places.of(dir).join("files").join(index.to_string());
        let failed = |reason: String| SecretsError::Layout { path: work.join(path), reason };
        link_one(work, path, &target, owner).map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

fn link_one(work: &Path, path: &str, target: &Path, owner: Owner) -> std::io::Result<()> {
    let own = |path: &Path| owner.map_or(Ok(()), |(uid, gid)| lchown(path, Some(uid), Some(gid)));
    let mut at = work.to_owned();
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        let found = fs::symlink_metadata(&at);
        if parts.peek().is_none() {
            if found.is_ok() {
                fs::remove_file(&at)?;
            }
            symlink(target, &at)?;
            return own(&at);
        }
        match found {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(std::io::Error::other("something on the way is no folder")),
            Err(_) => {
                fs::create_dir(&at)?;
                own(&at)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn secret(deliver: Delivery) -> SecretRef {
        SecretRef { from: String::new(), digest: None, deliver }
    }

    fn all() -> (BTreeMap<String, SecretRef>, SecretValues) {
        let secrets = [
            ("A".to_owned(), secret(Delivery::Env { name: "A_VARIABLE".into() })),
            ("b".to_owned(), secret(Delivery::File { path: "config/key.pem".into(), mode: 0o440 })),
            ("c".to_owned(), secret(Delivery::Credential { name: "token".into() })),
        ];
        let values = [("A", "one\n"), ("b", "two"), ("c", "three")];
        (secrets.into(), values.map(|(name, value)| (name.to_owned(), value.into())).into())
    }

    #[test]
    fn each_way_leads_to_the_value_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::plain(dir.path().join("memory"));
        let (state, work) = (dir.path().join("slot"), dir.path().join("work"));
        fs::create_dir_all(work.join("config")).unwrap();
        fs::write(work.join("config/key.pem"), "placeholder").unwrap();
        let (secrets, values) = all();
        link(&places, &state, &work, &secrets, None).unwrap();
        let handed = lay_out(&places, &state, &secrets, &values, None).unwrap();
        assert_eq!(handed.env["A_VARIABLE"], "one".into());
        assert_eq!(fs::read_to_string(work.join("config/key.pem")).unwrap(), "two");
        let folder = PathBuf::from(std::str::from_utf8(handed.env[CREDENTIALS].expose()).unwrap());
        assert_eq!(fs::read_to_string(folder.join("token")).unwrap(), "three");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("token"))), (0o500, 0o400));
        assert_eq!(mode(&work.join("config/key.pem")), 0o440);
        // Again, as for a restart.
        lay_out(&places, &state, &secrets, &values, None).unwrap();
        places.remove(&state);
        assert!(!folder.exists());
    }

    #[test]
    fn a_link_on_the_way_is_not_followed_and_what_is_no_text_is_no_variable() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::plain(dir.path().join("memory"));
        let work = dir.path().join("work");
        fs::create_dir_all(&work).unwrap();
        fs::create_dir_all(dir.path().join("elsewhere")).unwrap();
        symlink("../elsewhere", work.join("config")).unwrap();
        let (secrets, mut values) = all();
        assert!(matches!(link(&places, dir.path(), &work, &secrets, None), Err(SecretsError::Layout { .. })));
        assert_eq!(fs::read_dir(dir.path().join("elsewhere")).unwrap().count(), 0);
        values.insert("A".into(), vec![0xff].into());
        assert!(matches!(lay_out(&places, dir.path(), &secrets, &values, None), Err(SecretsError::Value { .. })));
        values.remove("A");
        assert!(matches!(lay_out(&places, dir.path(), &secrets, &values, None), Err(SecretsError::Missing(_))));
    }
}
