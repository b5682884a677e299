//! Armored age files in the text of documents: found and replaced, everything else byte for byte as it was.

const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";

/// One armored file in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inline {
    /// The line it begins at, from 1.
    pub(super) line: usize,
    /// The armored text, without the indentation that it has in the document.
    pub(super) armored: String,
}

/// Rewrites every armored file of a text by `change`, which leaves one alone by giving nothing.
pub(super) fn rewrite<E>(
    text: &str,
    mut change: impl FnMut(&Inline) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((index, line)) = lines.next() {
        if line.trim() != BEGIN {
            out.push_str(line);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut block = line.to_owned();
        let mut armored = format!("{BEGIN}\n");
        for (_, line) in lines.by_ref() {
            block.push_str(line);
            armored.push_str(line.trim());
            armored.push('\n');
            if line.trim() == END {
                break;
            }
        }
        match change(&Inline { line: index + 1, armored })? {
            None => out.push_str(&block),
            Some(new) => {
                let indented: Vec<String> = new.trim_end().lines().map(|line| format!("{indent}{line}")).collect();
                out.push_str(&indented.join("\n"));
                if block.ends_with('\n') {
                    out.push('\n');
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_changed_changes() {
        let text = format!("a: |\n    {BEGIN}\n    QQ==\n    {END}\n# after\nb: |\n  {BEGIN}\n  Qg==\n  {END}\n");
        let mut seen = Vec::new();
        let next = rewrite(&text, |inline| {
            seen.push((inline.line, inline.armored.clone()));
            Ok::<_, ()>(inline.armored.contains("Qg==").then(|| format!("{BEGIN}\nQw==\n{END}\n")))
        });
        assert_eq!(next.unwrap(), text.replace("Qg==", "Qw=="));
        assert_eq!(seen[0], (2, format!("{BEGIN}\nQQ==\n{END}\n")));
        assert_eq!(seen[1].0, 7);
    }
}
