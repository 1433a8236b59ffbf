//! Whether the READMEs are true, and whether the sources have the shape that they promise:
//! `cargo run -p checks`, or `cargo run -p checks -- rest cluster` for some lessons alone.
//!
//! It is no part of `cargo test`: whoever solves an exercise changes lines that a README quotes.
//!
//! | checked | in |
//! | --- | --- |
//! | both languages of a README have the same blocks | `readme.rs` |
//! | code in them is a quote of what is compiled | `quotes.rs` |
//! | commands in them print what stands below them | `commands.rs` |
//! | links lead somewhere; lessons and libraries are all named | `links.rs` |
//! | "Read the code" names files with their lines, and no lesson asks for too many | `ladder.rs` |
//! | no file imports one that imports it | `imports.rs` |
//! | every text for a person is there in Korean and in English | `texts.rs` |

mod commands;
mod imports;
mod ladder;
mod links;
mod quotes;
mod readme;
mod texts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What was found wrong: where, and what.
type Checked<T = ()> = Result<T, String>;

/// The lessons, each with its port when nobody sets `PORT`.
const LESSONS: [(&str, u16); 9] = [
    ("hello", 8080),
    ("fs-html", 8081),
    ("rest", 8082),
    ("cookie", 8083),
    ("cookie-login", 8084),
    ("session", 8085),
    ("https", 8443),
    ("http2", 8443),
    ("cluster", 8086),
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let mut failed = false;
    let mut check = |name: &str, checked: Checked| match checked {
        Ok(()) => println!("{name}: ok"),
        Err(problem) => {
            println!("{name}: {problem}");
            failed = true;
        }
    };
    if chosen.is_empty() {
        check("README.md", links::root(&root));
        check("imports", imports::check(&root));
        check("texts", texts::check(&root));
        check("production", check_production(&root));
    }
    for (lesson, _) in LESSONS {
        if chosen.is_empty() || chosen.iter().any(|name| name == lesson) {
            check(lesson, check_lesson(&root, lesson));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn check_lesson(root: &Path, name: &str) -> Checked {
    let folder = root.join("crates").join(name);
    let readmes = readme::both(&folder)?;
    for readme in &readmes {
        links::lead_somewhere(&folder, readme)?;
        links::exercises_are_described(&folder, name, readme)?;
        ladder::check(&folder, name, readme)?;
        quotes::check(root, name, readme)?;
        commands::check(root, name, &build(root, name)?, readme)?;
    }
    Ok(())
}

/// What comes after the lessons: its commands are run by its own tests.
fn check_production(root: &Path) -> Checked {
    let folder = root.join("examples/production");
    for readme in readme::both(&folder)? {
        links::lead_somewhere(&folder, &readme)?;
        links::commands_are_possible(root, &readme)?;
        quotes::of(&[folder.join("src"), folder.join("examples")], &readme)?;
    }
    Ok(())
}

/// The lesson's debug binary, built with its tests where it is out of date. Without `-p`, so that
/// there is nothing to build when `cargo test` has run.
fn build(root: &Path, lesson: &str) -> Checked<PathBuf> {
    let mut cargo = Command::new("cargo");
    let status = cargo
        .args(["test", "--quiet", "--no-run", "--test", lesson])
        .current_dir(root)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(format!("{lesson} does not build"));
    }
    Ok(target(root).join("debug").join(lesson))
}

/// Where cargo builds.
fn target(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or(root.join("target"))
}

/// A file as text.
fn read(path: &Path) -> Checked<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a folder has, in the order of names; nothing for one that is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// All `.rs` files of a folder and below, each with its text.
fn sources(folder: &Path) -> Checked<Vec<(PathBuf, String)>> {
    let mut all = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            all.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path)?;
            all.push((path, text));
        }
    }
    Ok(all)
}

/// A file without its tests: what stands before the first `#[cfg(test)]`.
fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
}
