//! Values that are left in clear, as the MAC counts them: as SOPS' own YAML and JSON readers understand them.

use super::super::plain::Scalar;

/// The text of a value in clear as it goes into the MAC.
pub(super) fn canonical(scalar: &Scalar, numbers_are_floats: bool) -> String {
    let text = scalar.text.as_str();
    if scalar.quoted {
        return text.to_owned();
    }
    match text {
        "true" | "True" | "TRUE" => return "True".to_owned(),
        "false" | "False" | "FALSE" => return "False".to_owned(),
        _ => {}
    }
    if !numbers_are_floats && let Some(whole) = integer(text) {
        return whole;
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(number) if number.is_finite() => decimal(number),
        _ if !numbers_are_floats && is_date(text) => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    }
}

/// YAML's dates count as the time that they stand for.
fn is_date(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(fits)
}

fn integer(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefix: &str, radix| digits.strip_prefix(prefix).map(|digits| i128::from_str_radix(digits, radix));
    let octal = || (digits.len() > 1 && digits.starts_with('0')).then(|| i128::from_str_radix(digits, 8));
    let number = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(octal)
        .unwrap_or_else(|| digits.parse());
    let number = number.ok()?;
    Some(if number == 0 { "0".to_owned() } else { format!("{sign}{number}") })
}

/// The shortest decimal digits that give the same number, never with an exponent.
fn decimal(number: f64) -> String {
    let text = format!("{number}");
    if text == "-0" { text } else { text.strip_suffix(".0").unwrap_or(&text).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::plain::{Format, Tree, read};

    #[test]
    fn numbers_and_booleans_count_as_sops_reads_them() {
        let cases = [
            ("12", "12", "12"),
            ("0x1F", "31", "0x1F"),
            ("010", "8", "10"),
            ("1_000", "1000", "1000"),
            ("1.50", "1.5", "1.5"),
            ("1e3", "1000", "1000"),
            ("-0.0", "-0", "-0"),
            ("true", "True", "True"),
            ("\"12\"", "12", "12"),
            ("text", "text", "text"),
            ("2020-01-02", "2020-01-02T00:00:00Z", "2020-01-02"),
            ("\"2020-01-02\"", "2020-01-02", "2020-01-02"),
        ];
        for (written, yaml, json) in cases {
            let tree = read(&format!("a: {written}\n"), Format::Yaml).unwrap();
            let Some(Tree::Scalar(scalar)) = tree.get("a") else { panic!("{written}") };
            assert_eq!(canonical(scalar, false), yaml, "{written}");
            assert_eq!(canonical(scalar, true), json, "{written}");
        }
    }
}
