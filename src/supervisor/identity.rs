//! Who a process runs as.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};

/// A user, looked up completely before any fork: between fork and exec only [`Identity::take_on`] is called, which
/// neither allocates nor locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
    switch: bool,
}

/// Why a process can't run as a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nobody is called so.
    #[error("the user {0:?} is not known on this machine: create it, or name another in `user`")]
    Unknown(String),
    /// Only root may become somebody else.
    #[error(
        "only root can start a process as {user:?}, and the supervisor runs with uid {own}: run it as root, or leave `user` out"
    )]
    NotRoot {
        /// Who was asked for.
        user: String,
        /// Who the supervisor is.
        own: u32,
    },
    /// The user database could not be read.
    #[error("the user {user:?} can't be looked up: {reason}")]
    Lookup {
        /// Who was asked for.
        user: String,
        /// The system's word.
        reason: String,
    },
}

impl Identity {
    /// Looks a user up by name or number; `None` is whoever this process runs as.
    pub fn of(user: Option<&str>) -> Result<Identity, IdentityError> {
        let own = Uid::effective();
        let Some(name) = user else {
            let home = User::from_uid(own).ok().flatten().map_or_else(|| "/".into(), |user| user.dir);
            return Ok(Identity { uid: own, gid: Gid::effective(), groups: Vec::new(), home, switch: false });
        };
        let failed = |error: nix::Error| IdentityError::Lookup { user: name.to_owned(), reason: error.to_string() };
        let found = match name.parse::<u32>() {
            Ok(uid) => User::from_uid(Uid::from_raw(uid)),
            Err(_) => User::from_name(name),
        };
        let user = found.map_err(failed)?.ok_or_else(|| IdentityError::Unknown(name.to_owned()))?;
        if user.uid != own && !own.is_root() {
            return Err(IdentityError::NotRoot { user: name.to_owned(), own: own.as_raw() });
        }
        let login = CString::new(user.name).map_err(|_| IdentityError::Unknown(name.to_owned()))?;
        let groups = getgrouplist(&login, user.gid).map_err(failed)?;
        Ok(Identity { uid: user.uid, gid: user.gid, groups, home: user.dir, switch: user.uid != own || own.is_root() })
    }

    /// The user's home folder.
    pub fn home(&self) -> &PathBuf {
        &self.home
    }

    /// The owner that files of this user get, when it is another than this process's.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.switch.then(|| (self.uid.as_raw(), self.gid.as_raw()))
    }

    /// Becomes this user, for good. Safe between fork and exec.
    pub fn take_on(&self) -> nix::Result<()> {
        if !self.switch {
            return Ok(());
        }
        setgroups(&self.groups)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_found_by_name_and_number_and_a_stranger_is_not() {
        if Uid::effective().is_root() {
            let by_name = Identity::of(Some("nobody")).unwrap();
            assert_eq!(by_name, Identity::of(Some(&by_name.uid.to_string())).unwrap());
            assert!(by_name.switch);
        } else {
            assert!(matches!(Identity::of(Some("root")), Err(IdentityError::NotRoot { .. })));
        }
        let unknown = Identity::of(Some("no-such-user-here"));
        assert_eq!(unknown, Err(IdentityError::Unknown("no-such-user-here".into())));
        assert_eq!(Identity::of(None).unwrap().owner(), None);
    }
}
