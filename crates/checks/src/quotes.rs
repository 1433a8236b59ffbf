//! Code in a README is a quote of what is compiled, or of the lesson's Node twin.
//!
//! | block | must be |
//! | --- | --- |
//! | `rust` | a quote of the lesson's `src/` or `tests/`, or of `common`; a line `// …` stands for lines left out |
//! | `js` | the same of the lesson's Node twin in `examples/node/` |
//! | `toml` | the same of the lesson's `Cargo.toml`; `# …` stands for lines left out |

use std::path::{Path, PathBuf};

use crate::readme::{Block, Readme};
use crate::{Checked, read, sources};

/// Checks the quotes of a lesson's README.
pub fn check(root: &Path, lesson: &str, readme: &Readme) -> Checked {
    let folder = root.join("crates").join(lesson);
    let mut rust = Vec::new();
    for folder in ["src", "tests", "../common/src"] {
        let found = sources(&root.join("crates").join(lesson).join(folder))?;
        rust.extend(found.into_iter().map(|(_, text)| text));
    }
    let twin = root.join("examples/node").join(lesson).with_extension("js");
    let js: Vec<String> = read(&twin).into_iter().collect();
    let toml = vec![read(&folder.join("Cargo.toml"))?];
    for block in &readme.blocks {
        match &*block.language {
            "rust" => is_quote_of(block, &rust, "// …")?,
            "js" => is_quote_of(block, &js, "// …")?,
            "toml" => is_quote_of(block, &toml, "# …")?,
            _ => {}
        }
    }
    Ok(())
}

/// Checks quotes of the Rust in these folders.
pub fn of(folders: &[PathBuf], readme: &Readme) -> Checked {
    let mut rust = Vec::new();
    for folder in folders {
        rust.extend(sources(folder)?.into_iter().map(|(_, text)| text));
    }
    let quotes = readme.blocks.iter().filter(|block| block.language == "rust");
    { quotes }.try_for_each(|block| is_quote_of(block, &rust, "// …"))
}

/// Whether one of the sources has these lines: as they are, or all of them indented alike.
fn is_quote_of(block: &Block, sources: &[String], left_out: &str) -> Checked {
    let parts: Vec<Vec<&str>> = block
        .lines
        .split(|line| line.trim() == left_out)
        .map(|part| part.iter().map(String::as_str).collect())
        .filter(|part: &Vec<&str>| part.iter().any(|line| !line.is_empty()))
        .collect();
    if parts.is_empty() {
        return Err(format!("{}: quotes nothing", block.place));
    }
    // Where the search came to nothing: the most helpful of all tries.
    let mut best = 0;
    for source in sources {
        for indent in 0..=6 {
            let found = quoted_parts(source, &parts, &"    ".repeat(indent));
            if found == parts.len() {
                return Ok(());
            }
            best = best.max(found);
        }
    }
    let part = parts[best].join("\n");
    Err(format!("{}: nothing compiled has these lines:\n{part}", block.place))
}

/// How many of the parts a source has, one after the other, when all of a part's lines are
/// indented by `indent` more than in the quote.
fn quoted_parts(source: &str, parts: &[Vec<&str>], indent: &str) -> usize {
    let source: Vec<&str> = source.lines().map(str::trim_end).collect();
    let same = |theirs: &&str, ours: &&str| match theirs.strip_prefix(indent) {
        Some(theirs) if !ours.is_empty() => theirs == *ours,
        _ => theirs.is_empty() && ours.is_empty(),
    };
    let mut from = 0;
    for (count, part) in parts.iter().enumerate() {
        let rest = &source[from..];
        let found = rest.windows(part.len()).position(|window| {
            window.iter().zip(part).all(|(theirs, ours)| same(theirs, ours))
        });
        match found {
            Some(position) => from += position + part.len(),
            None => return count,
        }
    }
    parts.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes() {
        let source = "fn a() {\n    one();\n\n    two();\n    three();\n}\n".to_owned();
        let is_quote = |quote: &str| {
            let lines = quote.lines().map(Into::into).collect();
            let block = Block { place: "R.md:1".into(), language: "rust".into(), lines };
            is_quote_of(&block, std::slice::from_ref(&source), "// …")
        };
        for good in [
            "fn a() {",
            "    one();\n\n    two();",
            "one();\n\ntwo();",
            "fn a() {\n    one();\n    // …\n    three();\n}",
            "// …\n    two();",
        ] {
            assert_eq!(is_quote(good), Ok(()), "{good}");
        }
        for bad in [
            "one()",
            "one();\ntwo();",
            "two();\n// …\none();",
            "fn a() {\none();",
            "four();",
            "// …",
            "",
        ] {
            assert!(is_quote(bad).is_err(), "{bad}");
        }
    }
}
