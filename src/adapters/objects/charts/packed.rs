//! A packed chart, taken apart in memory: bounded, files only, and nothing on any disk that would have to be cleaned away.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use tar::{Archive, EntryType};

use crate::domain::objects::{MAX_BYTES, MAX_FILES};

/// What the headers of an archive may take, beyond its files.
const HEADERS: u64 = 4_096;

/// The files of a chart, by their paths within its folder.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let budget = MAX_BYTES + HEADERS * MAX_FILES as u64;
    let plain = flate2::read::MultiGzDecoder::new(packed).take(budget);
    let broken = |error: std::io::Error| format!("it can't be unpacked: {error}");
    let mut archive = Archive::new(plain);
    let (mut files, mut left, mut seen) = (BTreeMap::new(), MAX_BYTES, 0);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        seen += 1;
        if seen > MAX_FILES {
            return Err(format!("it has more than {MAX_FILES} files"));
        }
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Directory | EntryType::XGlobalHeader) {
            continue;
        }
        let path = entry.path().map_err(broken)?.into_owned();
        if kind != EntryType::Regular {
            return Err(format!("its {} is no plain file", shown(&path)));
        }
        let Some(inner) = within(&path) else {
            return Err(format!("its {} does not lie in the chart's folder", shown(&path)));
        };
        let mut bytes = Vec::new();
        (&mut entry).take(left + 1).read_to_end(&mut bytes).map_err(broken)?;
        left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| format!("unpacked it has more than {MAX_BYTES} bytes"))?;
        if bytes.len() as u64 != entry.size() {
            return Err(format!("it ends within {}", shown(&path)));
        }
        if files.insert(inner, bytes).is_some() {
            return Err(format!("it has {} twice", shown(&path)));
        }
    }
    match files.contains_key("Chart.yaml") {
        true => Ok(files.into_iter().collect()),
        false => Err("it is no chart: it has no Chart.yaml".into()),
    }
}

/// The path below the one folder that a packed chart is, where it is a plain one.
fn within(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    (2..=100).contains(&parts.len()).then(|| parts[1..].join("/"))
}

/// A name from outside, safe to show.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&builder.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: EntryType, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // `set_path` refuses what an attacker would write.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if kind == EntryType::Symlink || kind == EntryType::Link {
            header.set_link_name("../../etc/passwd").unwrap();
        }
        header.set_cksum();
        builder.append(&header, bytes).unwrap();
    }

    #[test]
    fn a_chart_is_its_files() {
        let chart = packed(|builder| {
            add(builder, "web/Chart.yaml", EntryType::Regular, b"name: web\n");
            add(builder, "web/templates/a.yaml", EntryType::Regular, b"a: 1\n");
        });
        let files = unpack(&chart).unwrap();
        assert_eq!(files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["Chart.yaml", "templates/a.yaml"]);
    }

    #[test]
    fn what_leads_out_is_refused() {
        for (path, kind) in [
            ("web/../../etc/x", EntryType::Regular),
            ("/etc/x", EntryType::Regular),
            ("Chart.yaml", EntryType::Regular),
            ("web/link", EntryType::Symlink),
            ("web/link", EntryType::Link),
            ("web/pipe", EntryType::Fifo),
        ] {
            let chart = packed(|builder| {
                add(builder, "web/Chart.yaml", EntryType::Regular, b"");
                add(builder, path, kind, b"");
            });
            assert!(unpack(&chart).is_err(), "{path} {kind:?}");
        }
        assert!(
            unpack(&packed(|builder| add(builder, "web/a", EntryType::Regular, b""))).unwrap_err().contains("no Chart")
        );
        assert!(unpack(b"no archive").is_err());
    }

    #[test]
    fn a_bomb_is_left_as_soon_as_it_is_known_for_one() {
        let zeros = vec![0; 48 << 20];
        let one = packed(|builder| add(builder, "web/Chart.yaml", EntryType::Regular, &zeros));
        assert!(one.len() < 1 << 20, "it is small as it comes: {}", one.len());
        assert!(unpack(&one).unwrap_err().contains("more than"));
        let many = packed(|builder| {
            (0..3_000).for_each(|index| add(builder, &format!("web/{index}"), EntryType::Regular, b""));
        });
        assert!(unpack(&many).unwrap_err().contains("more than"));
    }
}
