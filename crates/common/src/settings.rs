//! What the environment asks of a server, and what is said where it asks for nonsense.

use std::env;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::CannotStart;
use crate::ko_en;

/// The value of the environment variable `name`; nothing where it is not set, or empty.
pub fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.to_string_lossy().into_owned())
}

/// The variable `name` as a number; nothing where it is not set, or empty.
///
/// # Errors
/// It is no number in `range`; the message shows `example`.
pub fn number<N>(
    name: &str,
    range: RangeInclusive<N>,
    example: N,
) -> Result<Option<N>, CannotStart>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(value) = variable(name) else { return Ok(None) };
    let parsed = digits(&value).filter(|number| range.contains(number));
    parsed.map(Some).ok_or_else(|| {
        let (from, to) = (range.start(), range.end());
        let right = ko_en!("{from}–{to} 사이의 숫자", "a number from {from} to {to}");
        wrong(name, &value, &right, &example.to_string())
    })
}

/// The variable `name` as one of these words, and what the word stands for; the first one where
/// it is not set, or empty.
///
/// # Errors
/// It is none of them.
pub fn one_of<T: Copy>(name: &str, words: &[(&str, T)]) -> Result<T, CannotStart> {
    let Some(value) = variable(name) else { return Ok(words[0].1) };
    let found = words.iter().find(|(word, _)| *word == value);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let right: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let all = right.join(", ");
        let right_one = ko_en!("{all} 가운데 하나", "one of {all}");
        wrong(name, &value, &right_one, words[words.len() - 1].0)
    })
}

/// A number of digits alone: `+80` is a number to Rust, but no port to anybody else.
pub fn digits<N: FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A variable whose value means nothing: what would be `right`, and an example. In Korean
/// `right` ends in a vowel, as 숫자 and 하나 do: 여야 follows it.
pub fn wrong(name: &str, value: &str, right: &str, example: &str) -> CannotStart {
    let what = ko_en!(
        "{name}={value:?}: {right}여야 합니다",
        "{name}={value:?} must be {right}"
    );
    cannot_start(what, name, example)
}

/// Why this program cannot start, and the command that gets round it: the same program with
/// another value for the variable `name`.
pub fn cannot_start(what: String, name: &str, value: impl Display) -> CannotStart {
    let command = format!("{name}={value} cargo run -p {}", program());
    CannotStart(ko_en!("{what}. 해결하려면: {command}", "{what}. Try: {command}"))
}

/// The folder of all pages: `HTML_DIR`, or `html/` of the workspace, which is two folders above
/// this crate: a path without `..`, as messages show it.
pub fn html_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let html = || workspace.unwrap_or(Path::new("..")).join("html");
    variable("HTML_DIR").map_or_else(html, PathBuf::from)
}

/// The program's own name.
pub fn program() -> String {
    let path = env::current_exe().unwrap_or_default();
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
