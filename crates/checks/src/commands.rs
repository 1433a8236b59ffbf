//! Commands in a README are run and print what stands below them.
//!
//! | block | must be |
//! | --- | --- |
//! | `console` | lines `$ command`, each with the output expected of it; `…` stands for anything within a line, alone on a line for any lines |
//!
//! Commands run in order, with `sh`, against one fresh server of the lesson in the README's
//! language, in a folder of their own that has a copy of the sources: they may edit it. The
//! lesson's usual port in them is replaced by the real one. `cargo` and `just` are not run; that
//! their packages, tests and recipes exist is checked, and what `cargo run -p LESSON` prints is.
//! `cd FOLDER` enters a workspace that earlier commands have made: cargo must understand it, and
//! a `cargo test` that follows in the same block is run, once for both languages, where no other
//! lesson's binary is.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use testkit::{PATIENCE, Server, TempDir};

use crate::readme::{Block, Readme};
use crate::{Checked, LESSONS, entries, read, target};

/// How long a `cargo test` may take that builds everything.
const BUILD: Duration = Duration::from_secs(30 * 60);

/// A lesson, and the language in which it speaks.
struct Lesson<'a> {
    name: &'a str,
    binary: &'a str,
    locale: &'a str,
}

/// Checks the commands of a lesson's README.
pub fn check(root: &Path, name: &str, binary: &Path, readme: &Readme) -> Checked {
    let binary = binary.to_str().ok_or("the path of the binary is no UTF-8")?;
    let lesson = Lesson { name, binary, locale: readme.locale };
    let mut workshop: Option<Workshop> = None;
    for block in readme.blocks.iter().filter(|block| block.language == "console") {
        let mut entered: Option<String> = None;
        for step in Step::all(block)? {
            if let Some(tool) = step.tool() {
                step.exists(tool, root)?;
                step.prints_what_it_says(tool, &lesson)?;
                if let (Some(folder), Some(workshop)) = (&entered, &workshop)
                    && step.command.starts_with("cargo test")
                    && readme.name != "README.ko.md"
                {
                    workshop.tests_pass(folder, &target(root), &step)?;
                }
                continue;
            }
            if workshop.is_none() {
                workshop = Some(Workshop::open(root, &lesson)?);
            }
            let Some(workshop) = &workshop else { continue };
            match step.command.strip_prefix("cd ") {
                Some(folder) => {
                    workshop.is_workspace(folder, &step)?;
                    entered = Some(folder.to_owned());
                }
                None => workshop.run(&step)?,
            }
        }
    }
    Ok(())
}

/// One command of a `console` block.
#[derive(Debug)]
pub struct Step {
    place: String,
    command: String,
    expected: Vec<String>,
}

impl Step {
    /// The commands of a block, each with what it should print.
    pub fn all(block: &Block) -> Checked<Vec<Self>> {
        let mut steps: Vec<Self> = Vec::new();
        for line in &block.lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Self {
                    place: block.place.clone(),
                    command: command.to_owned(),
                    expected: Vec::new(),
                }),
                (None, Some(step)) if step.expected.is_empty() && step.is_continued() => {
                    step.command += "\n";
                    step.command += line;
                }
                (None, Some(step)) => step.expected.push(line.clone()),
                (None, None) => {
                    return Err(format!("{}: begins without a `$ `", block.place));
                }
            }
        }
        Ok(steps)
    }

    /// For the root's README, where commands are not run.
    pub fn is_possible(&self, root: &Path) -> Checked {
        match self.tool() {
            Some(tool) => self.exists(tool, root),
            None if ["git clone ", "cd "].iter().any(|c| self.command.starts_with(c)) => {
                Ok(())
            }
            None => Err(self.wrong("not checked here; a lesson's README could")),
        }
    }

    fn is_continued(&self) -> bool {
        self.command.ends_with('\\')
    }

    fn wrong(&self, what: impl std::fmt::Display) -> String {
        format!("{}: $ {}\n{what}", self.place, self.command)
    }

    /// `NAME=value` before the command itself.
    fn variables(&self) -> Vec<(&str, &str)> {
        let words = self.command.split_whitespace();
        words.map_while(|word| word.split_once('=')).collect()
    }

    fn words(&self) -> Vec<&str> {
        self.command.split_whitespace().skip(self.variables().len()).collect()
    }

    /// `cargo` or `just`, which a test does not run.
    fn tool(&self) -> Option<&'static str> {
        let first = self.words().first().copied().unwrap_or_default();
        ["cargo", "just"].into_iter().find(|tool| *tool == first)
    }

    fn after(&self, option: &str) -> Option<&str> {
        let words = self.words();
        let position = words.iter().position(|word| *word == option)?;
        words.get(position + 1).copied()
    }

    /// What a line for `cargo` or `just` names must be there.
    fn exists(&self, tool: &str, root: &Path) -> Checked {
        let words = self.words();
        let verb = words.get(1).copied().unwrap_or_default();
        if tool == "just" {
            let justfile = read(&root.join("justfile"))?;
            let is_recipe = |line: &str| {
                line.split([' ', ':']).next() == Some(verb) && line.contains(':')
            };
            return if verb.is_empty() || justfile.lines().any(is_recipe) {
                Ok(())
            } else {
                Err(self.wrong(format_args!("the justfile has no recipe {verb:?}")))
            };
        }
        if !["run", "test", "build", "install", "vendor"].contains(&verb) {
            return Err(self.wrong("only cargo run, test, build and install are checked"));
        }
        let Some(package) = self.after("-p") else { return Ok(()) };
        let folders = ["crates", "", "examples"]; // examples, and examples/production
        let mut folders = folders.iter().map(|folder| root.join(folder).join(package));
        let folder = folders.find(|folder| folder.join("Cargo.toml").exists());
        let Some(folder) = folder else {
            return Err(self.wrong(format_args!("there is no package {package:?}")));
        };
        let test = self.after("--test").map(|test| folder.join("tests").join(test));
        match test.map(|path| path.with_extension("rs")) {
            Some(path) if !path.exists() => {
                Err(self.wrong(format_args!("there is no {}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// What a lesson prints at its start is what stands below `cargo run -p LESSON`.
    fn prints_what_it_says(&self, tool: &str, lesson: &Lesson<'_>) -> Checked {
        let Lesson { name, binary, locale } = *lesson;
        let runs = match tool {
            "cargo" => {
                self.words().get(1) == Some(&"run") && self.after("-p") == Some(name)
            }
            _ => self.words().get(1..) == Some(&["run", name]),
        };
        if !runs || self.expected.is_empty() {
            return Ok(());
        }
        let mut variables = self.variables();
        variables.push(("LC_ALL", locale));
        let starts = self.expected.iter().any(|line| line.contains("서버 대기 중입니다"));
        if !starts {
            let (_, stderr) = Server::fails(Server::command(binary, &variables));
            return self.compare(&stderr);
        }
        let port = variables.iter().find(|(name, _)| *name == "PORT");
        let port = port.map_or(usual_port(name).to_string(), |(_, port)| (*port).into());
        variables.retain(|(name, _)| *name != "PORT");
        let server = Server::start_with(binary, &variables);
        self.compare(&in_text(&server.stdout(), server.port(), &port))
    }

    fn compare(&self, output: &str) -> Checked {
        let lines: Vec<&str> = output.lines().map(str::trim_end).collect();
        let end =
            lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        if lines_match(&self.expected, &lines[..end]) {
            return Ok(());
        }
        let (expected, got) = (self.expected.join("\n"), lines[..end].join("\n"));
        Err(self.wrong(format_args!("-- expected --\n{expected}\n-- got --\n{got}")))
    }
}

/// A server, and a folder in which commands can do what they like.
struct Workshop {
    server: Server,
    folder: TempDir,
    port: String,
}

impl Workshop {
    fn open(root: &Path, lesson: &Lesson<'_>) -> Checked<Self> {
        let folder = TempDir::new();
        let [html, certs] = ["html", "certs"].map(|name| folder.path().join(name));
        copy_sources(root, folder.path())
            .map_err(|error| format!("copy of the sources: {error}"))?;
        fs::create_dir(&certs).map_err(|error| format!("certs/: {error}"))?;
        // At a terminal curl shows no progress; here it would.
        let curlrc = "silent\nshow-error\nnoproxy = \"*\"\n";
        fs::write(folder.path().join(".curlrc"), curlrc)
            .map_err(|error| format!(".curlrc: {error}"))?;
        let mut command = Server::command(lesson.binary, &[("LC_ALL", lesson.locale)]);
        command.env("HTML_DIR", html).env("CERTS_DIR", certs);
        let server = Server::start_command(command);
        Ok(Self { server, folder, port: usual_port(lesson.name).to_string() })
    }

    fn run(&self, step: &Step) -> Checked {
        let words = step.words();
        let program = words.first().copied().unwrap_or_default();
        if let Err(missing) =
            self.sh(&format!("command -v {program}")).and_then(|found| {
                if found.is_empty() {
                    Err(format!("{program} is not installed"))
                } else {
                    Ok(())
                }
            })
        {
            // A fresh machine may have no curl, and its tests pass; CI has it.
            if std::env::var_os("CI").is_some() {
                return Err(step.wrong(missing));
            }
            eprintln!("not checked, {missing}: {}", step.command);
            return Ok(());
        }
        let real = self.server.port();
        let command =
            step.command.replace(&format!(":{}", self.port), &format!(":{real}"));
        let output = self.sh(&command).map_err(|error| step.wrong(error))?;
        step.compare(&in_text(&output, real, &self.port))
    }

    /// Whether cargo finds all packages of the workspace in `folder`.
    fn is_workspace(&self, folder: &str, step: &Step) -> Checked {
        let tree = format!("cd {folder} && cargo tree --quiet --offline --workspace");
        let output = self.sh(&format!("{tree} >tree && echo found"))?;
        if output == "found\n" { Ok(()) } else { Err(step.wrong(output)) }
    }

    /// Whether all tests of the workspace in `folder` pass, once it was moved elsewhere. There
    /// it is built where nothing else is, and always there, so that libraries are built once.
    fn tests_pass(&self, folder: &str, target: &Path, step: &Step) -> Checked {
        eprintln!("{}: {} in {folder}, a minute or two", step.place, step.command);
        let command = format!(
            "copied='{}' && rm -rf \"$copied/{folder}\" && mkdir -p \"$copied\" &&
            cp -r {folder} \"$copied\" && cd \"$copied/{folder}\" &&
            CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=\"$copied/target\" {} && echo passed",
            target.join("copied").display(),
            step.command
        );
        let output =
            self.sh_within(BUILD, &command).map_err(|error| step.wrong(error))?;
        if output.ends_with("\npassed\n") {
            return Ok(());
        }
        let lines: Vec<&str> = output.lines().collect();
        Err(step.wrong(lines[lines.len().saturating_sub(40)..].join("\n")))
    }

    /// What a command prints, on both outputs.
    fn sh(&self, command: &str) -> Checked<String> {
        self.sh_within(PATIENCE, command)
    }

    fn sh_within(&self, patience: Duration, command: &str) -> Checked<String> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.folder.path())
            .env("LC_ALL", "C.UTF-8")
            .env("CURL_HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let mut pipe = child.stdout.take().ok_or("no pipe")?;
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = pipe.read_to_end(&mut bytes);
            let _ =
                sender.send(read.map(|_| String::from_utf8_lossy(&bytes).into_owned()));
        });
        let output = output.recv_timeout(patience);
        let _ = child.kill();
        let _ = child.wait();
        match output {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it did not end in time".into()),
        }
    }
}

/// Output with the port that stands in the text instead of the real one.
fn in_text(output: &str, real: u16, port: &str) -> String {
    output
        .replace(&format!(":{real}"), &format!(":{port}"))
        .replace(&format!("{real}번 포트"), &format!("{port}번 포트"))
}

fn usual_port(lesson: &str) -> u16 {
    LESSONS.iter().find(|(name, _)| *name == lesson).map_or(0, |(_, port)| *port)
}

/// `…` alone stands for any lines.
fn lines_match(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=lines.len()).any(|skip| lines_match(rest, &lines[skip..]))
        }
        Some((first, rest)) => lines.split_first().is_some_and(|(line, others)| {
            line_matches(first, line) && lines_match(rest, others)
        }),
    }
}

/// `…` stands for anything within a line.
fn line_matches(expected: &str, line: &str) -> bool {
    match expected.split_once('…') {
        None => expected == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            let mut starts =
                rest.char_indices().map(|(start, _)| start).chain([rest.len()]);
            starts.any(|start| line_matches(after, &rest[start..]))
        }),
    }
}

/// The files of the workspace's root, `crates/` and `html/`.
fn copy_sources(root: &Path, to: &Path) -> std::io::Result<()> {
    for name in ["crates", "html"] {
        copy(&root.join(name), &to.join(name))?;
    }
    for path in entries(root).iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default();
        // In a worktree of git `.git` is a file, and leads back to the real sources.
        if name != ".git" {
            fs::copy(path, to.join(name))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for path in entries(from) {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_with_gaps() {
        let matches = |expected: &str, output: &str| {
            let expected: Vec<String> = expected.lines().map(Into::into).collect();
            lines_match(&expected, &output.lines().collect::<Vec<_>>())
        };
        for (expected, output) in [
            ("", ""),
            ("a\nb", "a\nb"),
            ("a…", "abc"),
            ("…c", "abc"),
            ("a…c", "ac"),
            ("date: …GMT", "date: 한 GMT"),
            ("…", ""),
            ("a\n…\nd", "a\nb\nc\nd"),
            ("a\n…\n…\nd", "a\nd"),
        ] {
            assert!(matches(expected, output), "{expected:?} {output:?}");
        }
        for (expected, output) in [
            ("", "a"),
            ("a", ""),
            ("a", "ab"),
            ("a…c", "ab"),
            ("a…", "b"),
            ("a\n…", "b\nc"),
            ("…\nd", "a\nb"),
        ] {
            assert!(!matches(expected, output), "{expected:?} {output:?}");
        }
    }

    /// A server that is a script.
    #[cfg(unix)]
    fn scripted(root: &Path) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let server = root.join("server");
        let script = "#!/bin/sh\necho '41234번 포트에서 서버 대기 중입니다 http://localhost:41234/'\nexec sleep 60\n";
        fs::write(&server, script).unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
        server
    }

    #[cfg(unix)]
    fn check_block(root: &Path, server: &Path, text: &str) -> Checked {
        let lines = text.lines().map(Into::into).collect();
        let block = Block { place: "R:1".into(), language: "console".into(), lines };
        let (name, locale, text) = ("R", "C", String::new());
        let readme = Readme { name, locale, text, blocks: vec![block] };
        check(root, "hello", server, &readme)
    }

    /// A package that commands make, and that has a test.
    #[cfg(unix)]
    #[test]
    fn a_copy_whose_tests_fail_is_found() {
        let root = TempDir::new();
        let server = scripted(root.path());
        for folder in ["crates", "html"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let run = |test: &str| {
            let lines = [
                "$ mkdir -p w/src",
                "$ printf '[package]\\nname = \"w\"\\n[workspace]\\n' > w/Cargo.toml",
                &format!("$ echo '#[test] fn t() {{ {test} }}' > w/src/lib.rs"),
                "$ cd w",
                "$ cargo test",
            ];
            check_block(root.path(), &server, &lines.join("\n"))
        };
        assert_eq!(run(""), Ok(()));
        let found = run("panic!(\"no such server\")").unwrap_err();
        assert!(
            found.contains("$ cargo test") && found.contains("no such server"),
            "{found}"
        );
    }

    /// A lesson of its own: its server is a script, so that no crate need be built for it.
    #[cfg(unix)]
    #[test]
    fn whatever_is_not_true_is_found() {
        const TRUE: &str = "$ cargo run -p hello\n\
            8080번 포트에서 서버 대기 중입니다 http://localhost:8080/\n\
            $ just run hello\n$ cargo test -p hello --test hello\n\
            $ echo at :8080 \\\n  and more; cat html/a\nat :8080 and more\nA\n\
            $ PORT=0 sh -c 'echo $PORT; echo b >&2'\n…\nb";
        let root = TempDir::new();
        for (path, text) in [
            ("html/a", "A\n"),
            ("justfile", "# x\nrun LESSON:\n\tcargo run -p {{LESSON}}\n"),
            ("crates/hello/Cargo.toml", ""),
            ("crates/hello/tests/hello.rs", ""),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let server = scripted(root.path());
        let check_text = |text: &str| check_block(root.path(), &server, text);
        assert_eq!(check_text(TRUE), Ok(()));
        for (text, instead, problem) in [
            ("대기 중입니다 http", "대기 중입니다! http", "-- expected --"),
            ("at :8080 and more\n", "at :8081 and more\n", "-- expected --"),
            ("…\nb", "…\nc", "-- expected --"),
            ("just run", "just walk", "no recipe \"walk\""),
            ("test -p hello", "test -p hallo", "no package \"hallo\""),
            ("--test hello", "--test hallo", "there is no"),
            ("cargo test", "cargo publish", "only cargo run"),
            ("$ cargo run", "cargo run", "begins without"),
        ] {
            let changed = TRUE.replacen(text, instead, 1);
            assert_ne!(changed, TRUE, "{text}");
            let found = check_text(&changed).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
    }
}
