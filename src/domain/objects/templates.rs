//! Which template a part of a chart's output comes from: Helm says so in a comment before each document.

/// What Helm writes before what it made of a template: `# Source: web/templates/deployment.yaml`.
const SOURCE: &str = "# Source: ";

/// The templates of one output, by the lines where what they made begins.
pub struct Templates(Vec<(u32, String)>);

impl Templates {
    /// Of an output. `name` is the chart's `Chart.yaml`, or what a chart of elsewhere is called.
    pub fn of(name: &str, output: &str) -> Templates {
        let folder = name.strip_suffix("/Chart.yaml").unwrap_or(name);
        let mut begins_document = true;
        let mut found = Vec::new();
        for (number, line) in (1..).zip(output.lines()) {
            if let Some((_, file)) =
                line.strip_prefix(SOURCE).filter(|_| begins_document).and_then(|it| it.split_once('/'))
            {
                found.push((number, format!("{folder}/{file}")));
            }
            begins_document = line == "---";
        }
        Templates(found)
    }

    /// The template that made a line, and which of the lines it made that is, counted from 1.
    pub fn at(&self, line: u32) -> Option<(&str, u32)> {
        let after = self.0.partition_point(|(begin, _)| *begin < line);
        let (begin, file) = self.0.get(after.checked_sub(1)?)?;
        Some((file, line - begin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_belongs_to_the_template_before_it() {
        let output = "---\n# Source: web/templates/a.yaml\nkind: A\ndata:\n  text: |\n    # Source: x/y\n---\n# Source: web/charts/db/templates/b.yaml\nkind: B\n";
        let templates = Templates::of("charts/web/Chart.yaml", output);
        assert_eq!(templates.at(1), None);
        assert_eq!(templates.at(3), Some(("charts/web/templates/a.yaml", 1)));
        assert_eq!(templates.at(6), Some(("charts/web/templates/a.yaml", 4)));
        assert_eq!(templates.at(9), Some(("charts/web/charts/db/templates/b.yaml", 1)));
        assert_eq!(
            Templates::of("https://charts.example.com/web:1.2.3", output).at(3),
            Some(("https://charts.example.com/web:1.2.3/templates/a.yaml", 1))
        );
        assert_eq!(Templates::of("folder", "kind: A\n").at(1), None);
    }
}
