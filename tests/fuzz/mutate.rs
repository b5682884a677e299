//! Mutations of an input: of bits, of pieces, and of what YAML and JSON are made of.

use crate::sim::dice::Dice;

/// Longer inputs are cut: what breaks is found in small ones.
const LONGEST: usize = 20_000;

/// Words that mean something to some parser.
const WORDS: &[&str] = &[
    "&a ",
    "*a",
    "<<: *a\n",
    "!!binary ",
    "!<tag:yaml.org,2002:str> ",
    "%YAML 1.2\n",
    "---\n",
    "...\n",
    "? ",
    ": ",
    "- ",
    "|+\n",
    ">-\n",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "\t",
    "\r\n",
    "\r",
    "\u{feff}",
    "\u{202e}",
    "\u{200b}",
    "\u{2028}",
    "\0",
    "\u{85}",
    "{{",
    "}}",
    "{{ version }}",
    "{{ config.x }}",
    "null",
    "~",
    ".inf",
    "-0",
    "1e999",
    "0x7fffffffffffffff",
    "99999999999999999999",
    "-1",
    "100%",
    "true",
    "metadata: {}\n",
    "spec: null\n",
    "kind: Release\n",
    "replicas: 18446744073709551615\n",
    "../",
    "/etc/passwd",
    "\\u0000",
    "𝕏",
    "ａ",
    "é",
    "\u{1f600}",
];

pub fn mutated(input: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input[..input.len().min(LONGEST)].to_vec();
    for _ in 0..dice.between(1, 4) {
        once(&mut bytes, other, dice);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn once(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let place = |bytes: &[u8], dice: &mut Dice| dice.below(bytes.len() as u64 + 1) as usize;
    let at = place(bytes, dice);
    let end = (at + dice.between(0, 40) as usize).min(bytes.len());
    match dice.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        2 => {
            bytes.drain(at..end);
        }
        3 => {
            let piece = bytes[at..end].to_vec();
            let times = dice.between(1, 50) as usize;
            bytes.splice(at..at, piece.repeat(times));
        }
        4 => {
            let from = place(other, dice);
            let piece = other[from..(from + dice.between(1, 200) as usize).min(other.len())].to_vec();
            bytes.splice(at..end, piece);
        }
        5 => bytes.truncate(at),
        6 => lines(bytes, dice),
        _ => {
            let word = dice.pick(WORDS).as_bytes();
            bytes.splice(at..at, word.iter().copied());
        }
    }
}

/// Lines change places, or their indentation.
fn lines(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (a, b) = (dice.below(lines.len() as u64) as usize, dice.below(lines.len() as u64) as usize);
    match dice.below(3) {
        0 => lines.swap(a, b),
        1 => {
            let line = lines[a].clone();
            lines.insert(b, line);
        }
        _ => {
            lines[a].splice(0..0, b"  ".iter().copied());
        }
    }
    *bytes = lines.join(&b'\n');
}
