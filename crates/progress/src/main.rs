//! How far you have come: `cargo run -p progress` runs the exercises of all lessons, says which
//! of them pass, and which is next.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use common::ko_en;
use testkit::LESSONS;

/// An ignored test of a lesson: `#[ignore = "exercise: WHAT"] fn NAME()`.
struct Exercise {
    lesson: &'static str,
    name: String,
    what: String,
    /// The first one of its lesson; the others are for who wants more.
    first: bool,
    passes: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let root = root();
    let mut all = Vec::new();
    for (number, lesson) in (1..).zip(LESSONS) {
        let tests = root.join(format!("crates/{lesson}/tests/{lesson}.rs"));
        let mut exercises = exercises(lesson, &fs::read_to_string(tests)?);
        let row = format!("{number} {lesson:<13}");
        let output = run_exercises(&root, lesson, &row)?;
        print!("{row}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        if stdout.contains("\ntest result: ") {
            for exercise in &mut exercises {
                let line = format!("test exercise::{} ... ok", exercise.name);
                exercise.passes = stdout.lines().any(|l| l == line);
                print!("  {} {}", mark(exercise.passes), exercise.name);
            }
            println!();
        } else {
            println!(
                "  · {}",
                ko_en!(
                    "컴파일되지 않습니다: cargo test -p {lesson}",
                    "does not compile: cargo test -p {lesson}"
                )
            );
        }
        all.extend(exercises);
    }
    println!("\n{}", next(&all));
    Ok(())
}

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs a lesson's exercises. At a terminal the row says meanwhile for how many seconds, and is
/// empty again afterwards.
fn run_exercises(root: &Path, lesson: &str, row: &str) -> io::Result<Output> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "-p", lesson, "--test", lesson, "--"]);
    // Not quiet itself: one line for each test.
    cargo.args(["--ignored", "--format", "pretty", "--color", "never"]);
    cargo.current_dir(root).stdin(Stdio::null());
    // `cargo run` has set these for this program. Some build scripts (ring's) look at them, and
    // would be run, and everything above them be compiled, anew.
    for (name, _) in env::vars_os() {
        let set_by_cargo = |name: &str| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p))
        };
        if name.to_str().is_some_and(set_by_cargo) {
            cargo.env_remove(name);
        }
    }
    let tests = thread::spawn(move || cargo.output());
    let (start, at_terminal) = (Instant::now(), io::stdout().is_terminal());
    while !tests.is_finished() {
        if at_terminal {
            let seconds = start.elapsed().as_secs();
            print!("\r{row}  {}", ko_en!("{seconds}초", "{seconds} s"));
            io::stdout().flush()?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    if at_terminal {
        print!("\r{:width$}\r", "", width = row.len() + 10);
    }
    tests.join().map_err(|_| io::Error::other("cargo test"))?
}

/// The exercises in a lesson's tests, in order.
fn exercises(lesson: &'static str, tests: &str) -> Vec<Exercise> {
    let parts = tests.split("#[ignore = \"exercise: ").skip(1);
    let found = parts.filter_map(|part| {
        let (what, rest) = part.split_once("\"]")?;
        let name = rest.split_once("fn ")?.1.split_once('(')?.0;
        Some((name.to_owned(), what.to_owned()))
    });
    found
        .enumerate()
        .map(|(number, (name, what))| Exercise {
            lesson,
            name,
            what,
            first: number == 0,
            passes: false,
        })
        .collect()
}

fn mark(passes: bool) -> char {
    if passes { '✓' } else { '·' }
}

/// What to do next: the first exercises of all lessons, then the others.
fn next(all: &[Exercise]) -> String {
    let solved = |first| all.iter().filter(|e| e.first == first && e.passes).count();
    let (firsts, others) = (solved(true), solved(false));
    let lessons = LESSONS.len();
    let sum = ko_en!(
        "수업 {lessons}개 가운데 {firsts}개를 풀었습니다. 더 해 보기: {others}개.",
        "{firsts} of {lessons} lessons solved; of the exercises for more, {others}."
    );
    let open = |first| all.iter().find(|e| e.first == first && !e.passes);
    let Some(Exercise { lesson, name, what, .. }) = open(true).or_else(|| open(false))
    else {
        return sum + &ko_en!("\n모두 풀었습니다.", "\nThat is all of them.");
    };
    let readme = ko_en!(
        "crates/{lesson}/README.ko.md, \"해 보기\"",
        "crates/{lesson}/README.md, \"Try it\""
    );
    let next = ko_en!("다음", "next");
    format!(
        "{sum}\n{next}: {lesson}, {what}\n  {readme}\n  cargo test -p {lesson} -- --ignored {name}\n  \
         just exercise {lesson} {name}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Exercise> {
        let tests = "#[test]\n#[ignore = \"exercise: one\"]\nfn a() {}\n\
                     #[ignore = \"slow\"]\nfn b() {}\n\
                     #[ignore = \"exercise: two\"]\n    fn c() {}\n";
        exercises("rest", tests)
    }

    #[test]
    fn exercises_are_the_ignored_tests_that_say_so() {
        let names: Vec<_> =
            some().into_iter().map(|e| (e.name, e.what, e.first)).collect();
        let expected =
            [("a".into(), "one".into(), true), ("c".into(), "two".into(), false)];
        assert_eq!(names, expected);
    }

    #[test]
    fn first_exercises_come_before_those_for_more() {
        let mut all = some();
        all.extend(exercises("cookie", "#[ignore = \"exercise: x\"]\nfn d() {}"));
        for name in ["a", "d", "c"] {
            assert!(
                next(&all).contains(&format!("-- --ignored {name}\n")),
                "{}",
                next(&all)
            );
            all.iter_mut().find(|e| e.name == name).unwrap().passes = true;
        }
        assert!(!next(&all).contains("cargo test"), "{}", next(&all));
    }
}
