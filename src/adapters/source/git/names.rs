//! Which names and links in a tree are safe, and which paths, branches and pins callers may name.

use crate::ports::source::{RefusedReason, SourceError};

/// The longest path that is taken, in bytes: below what the kernel takes, so that an export below any folder works.
const MAX_PATH: usize = 2048;

/// Checks one name of a tree: text, one component, nothing that Git or a file system takes for something else.
pub(super) fn component(name: &[u8]) -> Result<&str, RefusedReason> {
    let refuse = |why: &str| Err(RefusedReason::Name(why.to_owned()));
    let Ok(text) = std::str::from_utf8(name) else {
        return refuse("not valid UTF-8");
    };
    if text.is_empty() || text == "." || text == ".." || text.contains('/') {
        return refuse("empty, `.`, `..`, or with a `/` in it");
    }
    if text.contains(char::is_control) {
        return refuse("control characters");
    }
    if text.len() > 255 {
        return refuse("longer than 255 bytes");
    }
    if is_dot_git(text) {
        return refuse("it stands for Git's own folder on some file system");
    }
    Ok(text)
}

/// Whether some file system takes the name for `.git`: without case, with characters that HFS+ ignores, with the
/// trailing dots, spaces and streams that NTFS ignores, or by its short name.
fn is_dot_git(name: &str) -> bool {
    let ignored =
        |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let folded: String = name.chars().filter(|c| !ignored(*c)).flat_map(char::to_lowercase).collect();
    let stem = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    stem == ".git" || stem == "git~1"
}

/// A path joined from checked components; refused where it gets too long.
pub(super) fn join(folder: &str, name: &str) -> Result<String, RefusedReason> {
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    if path.len() > MAX_PATH {
        return Err(RefusedReason::Name(format!("path longer than {MAX_PATH} bytes")));
    }
    Ok(path)
}

/// A path for people when its name was not safe.
pub(super) fn escaped(folder: &str, name: &[u8]) -> String {
    let name: String = String::from_utf8_lossy(name).chars().take(255).flat_map(char::escape_default).collect();
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// A path for comparing: as it is where it is safe.
pub(super) fn escaped_if_unsafe(folder: &str, name: &[u8]) -> String {
    match component(name) {
        Ok(name) if folder.is_empty() => name.to_owned(),
        Ok(name) => format!("{folder}/{name}"),
        Err(_) => escaped(folder, name),
    }
}

/// Where a symbolic link leads, relative to the root folder.
///
/// A link may climb first and then descend. Once it descends it may not climb again: a folder on its way down may
/// itself be a link, and `..` after that would be relative to the place that it leads to, which may be outside although
/// the text is not. With this rule every link leads to a path inside, and by induction so does every chain of links.
pub(super) fn link_target(folder: &str, target: &[u8]) -> Result<String, RefusedReason> {
    let refuse = || RefusedReason::Link(format!("`{}`", escaped("", target)));
    let text = std::str::from_utf8(target).map_err(|_| refuse())?;
    if text.is_empty() || text.starts_with('/') || text.len() > MAX_PATH || text.contains(char::is_control) {
        return Err(refuse());
    }
    let mut path: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let mut descended = false;
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if descended => return Err(refuse()),
            ".." => {
                path.pop().ok_or_else(refuse)?;
            }
            name => {
                component(name.as_bytes()).map_err(|_| refuse())?;
                descended = true;
                path.push(name);
            }
        }
    }
    Ok(path.join("/"))
}

/// Checks a path that a caller names, relative to the root folder, and returns it without a trailing `/`.
pub(super) fn normal_path(path: &str) -> Result<String, SourceError> {
    let bad = |why: String| SourceError::BadName { what: "path", text: escaped("", path.as_bytes()), why };
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if trimmed.is_empty() && path.is_empty() {
        return Ok(String::new());
    }
    if trimmed.len() > MAX_PATH {
        return Err(bad(format!("longer than {MAX_PATH} bytes")));
    }
    for part in trimmed.split('/') {
        component(part.as_bytes()).map_err(|reason| bad(reason.to_string()))?;
    }
    Ok(trimmed.to_owned())
}

/// Checks a branch name.
pub(super) fn branch(name: &str) -> Result<(), SourceError> {
    if !name.starts_with('-') && !name.is_empty() && git2::Reference::is_valid_name(&format!("refs/heads/{name}")) {
        return Ok(());
    }
    Err(SourceError::BadName {
        what: "branch",
        text: escaped("", name.as_bytes()),
        why: "see `git help check-ref-format`".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "app.yaml", ".gitignore", ".github", "git", "ä b", "dev\\x2d", "..."] {
            assert!(component(good.as_bytes()).is_ok(), "{good} was refused");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            ".git",
            ".GIT",
            ".gi\u{200c}t",
            ".git.",
            ".git ",
            ".git::$INDEX",
            "git~1",
            "GIT~1",
            "a\nb",
            "a\rb",
            "a\u{7f}",
        ] {
            assert!(component(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
        assert!(component(b"\xff").is_err());
        assert!(component(&[b'a'; 256]).is_err());
    }

    #[test]
    fn links() {
        for (folder, target, want) in [
            ("", "a", Some("a")),
            ("a/b", "../c/d", Some("a/c/d")),
            ("a/b", "../../c", Some("c")),
            ("a/b", "../..", Some("")),
            ("a", "./x//y", Some("a/x/y")),
            ("a/b", "../../../c", None),
            ("", "..", None),
            ("", "/etc/passwd", None),
            ("a", "b/../c", None),
            ("a", "", None),
            ("a", "../.git/config", None),
            ("a", "x\ny", None),
        ] {
            assert_eq!(link_target(folder, target.as_bytes()).ok().as_deref(), want, "{folder} -> {target}");
        }
    }

    #[test]
    fn paths_and_branches_of_callers() {
        for (path, want) in [
            ("", Some("")),
            ("a/b", Some("a/b")),
            ("a/", Some("a")),
            ("/a", None),
            ("a//b", None),
            ("a/../b", None),
            ("/", None),
        ] {
            assert_eq!(normal_path(path).ok().as_deref(), want, "{path}");
        }
        for (name, good) in [
            ("main", true),
            ("a/b", true),
            ("", false),
            ("-f", false),
            ("a..b", false),
            ("a b", false),
            ("a.lock", false),
        ] {
            assert_eq!(branch(name).is_ok(), good, "{name}");
        }
    }
}
