//! A README in one language, and its blocks: what stands between two fences.

use std::path::Path;

use crate::{Checked, read};

/// A README in one language.
pub struct Readme {
    /// `README.md` or `README.ko.md`.
    pub name: &'static str,
    /// The locale in which its commands are run.
    pub locale: &'static str,
    pub text: String,
    pub blocks: Vec<Block>,
}

#[derive(Debug)]
pub struct Block {
    /// `README.md:12`, the opening fence.
    pub place: String,
    pub language: String,
    pub lines: Vec<String>,
}

/// The README of a folder in both languages, which must have the same blocks: the same code and
/// the same commands. What commands print may differ, as it is in the reader's language.
pub fn both(folder: &Path) -> Checked<[Readme; 2]> {
    let one = |name, locale| -> Checked<Readme> {
        let text = read(&folder.join(name))?;
        Ok(Readme { name, locale, blocks: blocks(name, &text)?, text })
    };
    let readmes = [one("README.md", "C.UTF-8")?, one("README.ko.md", "ko_KR.UTF-8")?];
    same(&readmes[0].blocks, &readmes[1].blocks)?;
    Ok(readmes)
}

fn blocks(file: &str, text: &str) -> Checked<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let place = format!("{file}:{}", number + 1);
        let mut inside = Vec::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.trim() == "```" => break,
                Some((_, line)) => inside.push(line.trim_end().to_owned()),
                None => return Err(format!("{place}: the block never ends")),
            }
        }
        let language = language.trim().to_owned();
        if !["rust", "js", "toml", "console", "text", "mermaid"].contains(&&*language) {
            return Err(format!(
                "{place}: no check for {language:?} (rust, js, toml, console, text, mermaid)"
            ));
        }
        blocks.push(Block { place, language, lines: inside });
    }
    Ok(blocks)
}

fn same(english: &[Block], korean: &[Block]) -> Checked {
    for (en, ko) in english.iter().zip(korean) {
        let same = match &*en.language {
            "text" | "mermaid" => true,
            "console" => en.commands().eq(ko.commands()),
            _ => en.lines == ko.lines,
        };
        if en.language != ko.language || !same {
            return Err(format!(
                "{} and {} differ; both languages have the same blocks in the same order",
                en.place, ko.place
            ));
        }
    }
    match english.get(korean.len()).or(korean.get(english.len())) {
        Some(block) => Err(format!("{}: only one language has this block", block.place)),
        None => Ok(()),
    }
}

impl Block {
    fn commands(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().filter(|line| line.starts_with("$ "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Checked<Vec<Block>> {
        blocks("R.md", text)
    }

    #[test]
    fn blocks_have_a_place_a_language_and_lines() {
        let found = parse("a\n```rust\nlet x;\n```\n\n- b\n  ```text\n```\n").unwrap();
        assert_eq!(found[0].place, "R.md:2");
        assert_eq!(
            (&*found[0].language, &*found[0].lines),
            ("rust", &["let x;".into()][..])
        );
        assert_eq!((&*found[1].language, found[1].lines.len()), ("text", 0));
        assert!(parse("```rust\nlet x;").unwrap_err().contains("R.md:1"));
        assert!(parse("```ts\n```").unwrap_err().contains("no check for \"ts\""));
    }

    #[test]
    fn languages_differ_in_what_is_printed_alone() {
        let check = |en: &str, ko: &str| same(&parse(en).unwrap(), &parse(ko).unwrap());
        let one = "```rust\na();\n```\n```console\n$ b\nc\n```\n";
        assert_eq!(check(one, one), Ok(()));
        assert_eq!(check(one, &one.replace("\nc\n", "\n가\n")), Ok(()));
        for (text, instead) in [("a()", "b()"), ("$ b", "$ d"), ("rust", "js")] {
            let problem = check(one, &one.replace(text, instead)).unwrap_err();
            assert!(problem.contains("differ"), "{problem}");
        }
        let longer = format!("{one}```text\n```");
        assert!(check(one, &longer).unwrap_err().contains("only one language"));
    }
}
