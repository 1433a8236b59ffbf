//! Links lead somewhere, and nothing that a README must name is left out.

use std::path::Path;

use crate::commands::Step;
use crate::readme::{self, Readme};
use crate::{Checked, LESSONS, read};

/// Checks the README of the workspace, in both languages.
pub fn root(root: &Path) -> Checked {
    let manifest = read(&root.join("Cargo.toml"))?;
    for readme in readme::both(root)? {
        let (name, text) = (readme.name, &readme.text);
        lead_somewhere(root, &readme)?;
        commands_are_possible(root, &readme)?;
        for package in libraries(&manifest) {
            if !text.contains(&format!("| [{package}](")) {
                return Err(format!("{name} does not say why {package} is needed"));
            }
        }
        for (lesson, _) in LESSONS {
            let link = format!("(crates/{lesson}/{name})");
            if !text.contains(&link) {
                return Err(format!("{name}: no link to {lesson}, {link}"));
            }
        }
    }
    Ok(())
}

/// Commands name what is there; they are not run.
pub fn commands_are_possible(root: &Path, readme: &Readme) -> Checked {
    for block in readme.blocks.iter().filter(|block| block.language == "console") {
        for step in Step::all(block)? {
            step.is_possible(root)?;
        }
    }
    Ok(())
}

/// The workspace's dependencies that are not its own crates.
fn libraries(manifest: &str) -> Vec<&str> {
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| !line.contains("path = "))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect()
}

/// Relative links, outside of blocks.
pub fn lead_somewhere(folder: &Path, readme: &Readme) -> Checked {
    let mut in_block = false;
    for (number, line) in readme.text.lines().enumerate() {
        in_block ^= line.trim_start().starts_with("```");
        for link in line.split("](").skip(1).filter(|_| !in_block) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if !target.contains(':') && !folder.join(target).exists() {
                let (name, line) = (readme.name, number + 1);
                return Err(format!("{name}:{line}: the link to {target} leads nowhere"));
            }
        }
    }
    Ok(())
}

/// A lesson has an exercise: an ignored test, which both languages name.
pub fn exercises_are_described(folder: &Path, name: &str, readme: &Readme) -> Checked {
    let file = folder.join("tests").join(name).with_extension("rs");
    let tests = read(&file)?;
    let exercises: Vec<&str> = tests
        .split("#[ignore = \"exercise: ")
        .skip(1)
        .filter_map(|after| after.split("fn ").nth(1)?.split('(').next())
        .collect();
    if exercises.is_empty() {
        return Err(format!("{}: no #[ignore = \"exercise: …\"]", file.display()));
    }
    match exercises.iter().find(|exercise| !readme.text.contains(**exercise)) {
        Some(exercise) => {
            Err(format!("{} does not mention the exercise {exercise}", readme.name))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_from_elsewhere() {
        let manifest =
            "[workspace.dependencies]\nhyper = \"1\"\nc = { path = \"c\" }\n[x]\na = 1";
        assert_eq!(libraries(manifest), ["hyper"]);
    }

    #[test]
    fn a_link_outside_of_blocks_leads_somewhere() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let check = |text: &str| {
            let (name, locale) = ("README.md", "C");
            let readme = Readme { name, locale, text: text.into(), blocks: Vec::new() };
            lead_somewhere(folder, &readme)
        };
        for good in
            ["[a](src/main.rs)", "[a](https://a.b/c)", "```\n[a](b)\n```", "[a](#b)"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let problem = check("a\n[a](src/mane.rs#b)").unwrap_err();
        assert_eq!(problem, "README.md:2: the link to src/mane.rs leads nowhere");
    }
}
