//! "Read the code": the files that are new in a lesson, in reading order, with their lines of
//! code. The lines must be right, and no lesson may ask for too many.

use std::path::Path;

use crate::readme::Readme;
use crate::{Checked, read, without_tests};

/// Lines of code that a lesson may ask its reader to read; the last lesson is the longest.
const LIMIT: usize = 350;
const CLUSTER_LIMIT: usize = 700;

/// Checks the table of a lesson's README: `| [users.rs](src/users.rs) | what it is for | 63 |`.
pub fn check(folder: &Path, lesson: &str, readme: &Readme) -> Checked {
    let mut sum = 0;
    for (number, line) in readme.text.lines().enumerate() {
        let Some((path, said)) = row(line) else { continue };
        let place = format!("{}:{}", readme.name, number + 1);
        if path.contains("common/src/guard/") || path.contains("testkit/") {
            return Err(format!("{place}: {path} is on no ladder"));
        }
        let lines = lines_of_code(&read(&folder.join(path))?);
        if lines != said {
            return Err(format!("{place}: {path} has {lines} lines of code, not {said}"));
        }
        sum += lines;
    }
    let limit = if lesson == "cluster" { CLUSTER_LIMIT } else { LIMIT };
    match sum {
        0 => Err(format!("{}: no table of files to read", readme.name)),
        sum if sum > limit => Err(format!(
            "{}: {sum} lines to read, and {limit} are the limit",
            readme.name
        )),
        _ => Ok(()),
    }
}

/// The path and the number of a row.
fn row(line: &str) -> Option<(&str, usize)> {
    let mut cells = line.strip_prefix("| [")?.split(" | ");
    let (_, link) = cells.next()?.split_once("](")?;
    let path = link.strip_suffix(')').filter(|path| path.ends_with(".rs"))?;
    let lines = cells.last()?.trim_end_matches([' ', '|']).parse().ok()?;
    Some((path, lines))
}

/// Neither blank nor a comment, and no test.
pub fn lines_of_code(text: &str) -> usize {
    let code = |line: &&str| !line.is_empty() && !line.starts_with("//");
    without_tests(text).map(str::trim).filter(code).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_neither_blank_nor_comment_nor_test() {
        let text = "//! a\n\nuse b; // c\n/// d\nfn e() {\n    // f\n}\n\n#[cfg(test)]\nmod t {}\n";
        assert_eq!(lines_of_code(text), 3);
    }

    #[test]
    fn rows() {
        assert_eq!(
            row("| [a.rs](src/a.rs) | what it does | 63 |"),
            Some(("src/a.rs", 63))
        );
        for none in
            ["| [a](b.md) | c | 1 |", "| a | 1 |", "[a.rs](a.rs)", "| [a.rs](a.rs) | x |"]
        {
            assert_eq!(row(none), None, "{none}");
        }
    }
}
