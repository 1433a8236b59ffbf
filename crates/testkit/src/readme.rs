//! Checks that the READMEs are true: code in them is a quote of what is compiled, commands
//! are run and print what stands below them, and both languages have the same blocks.
//!
//! | block | must be |
//! | --- | --- |
//! | `rust` | a quote of the lesson's `src/` or `tests/`, or of `common`; a line `// …` stands for lines left out |
//! | `js` | the same of the lesson's Node twin in `examples/node/` |
//! | `toml` | the same of the lesson's `Cargo.toml`; `# …` stands for lines left out |
//! | `console` | lines `$ command`, each with the output expected of it; `…` stands for anything within a line, alone on a line for any lines |
//! | `text`, `mermaid` | anything |
//!
//! Commands run in order, with `sh`, against one fresh server of the lesson, in a folder of
//! their own that has a copy of `html/`: they may edit it. The lesson's usual port in them is
//! replaced by the real one. `cargo` and `just` are not run; that their packages, tests and
//! recipes exist is checked, and what `cargo run -p LESSON` prints is.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use crate::{PATIENCE, Server, TempDir};

/// The port of each lesson when nobody sets `PORT`.
const PORTS: [(&str, u16); 9] = [
    ("hello", 8080),
    ("fs-html", 8081),
    ("rest", 8082),
    ("cookie", 8083),
    ("cookie-login", 8084),
    ("session", 8085),
    ("cluster", 8086),
    ("https", 8443),
    ("http2", 8443),
];

/// Checks `README.md` and `README.ko.md` of a lesson: `check(env!("CARGO_MANIFEST_DIR"), BIN)`.
#[track_caller]
pub fn check(lesson: &str, binary: &str) {
    if let Err(problem) = lesson_problem(Path::new(lesson), binary) {
        panic!("{problem}");
    }
}

/// Checks `README.md` and `README.ko.md` of the workspace.
#[track_caller]
pub fn check_root(root: &str) {
    if let Err(problem) = root_problem(Path::new(root)) {
        panic!("{problem}");
    }
}

type Checked<T = ()> = Result<T, String>;

fn lesson_problem(lesson: &Path, binary: &str) -> Checked {
    let name = lesson.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let root = lesson.join("../..");
    let readmes = Readmes::read(lesson)?;
    let mut rust = Vec::new();
    for folder in ["src", "tests", "../common/src"] {
        rust.extend(sources(&lesson.join(folder))?);
    }
    let twin = root.join("examples/node").join(&name).with_extension("js");
    let js: Vec<String> = fs::read_to_string(twin).into_iter().collect();
    let toml = vec![read(&lesson.join("Cargo.toml"))?];
    let mut workshop = None;
    for block in &readmes.blocks {
        match &*block.language {
            "rust" => block.is_quote_of(&rust, "// …")?,
            "js" => block.is_quote_of(&js, "// …")?,
            "toml" => block.is_quote_of(&toml, "# …")?,
            "console" => {
                for step in block.steps()? {
                    match step.tool() {
                        Some(tool) => {
                            step.exists(tool, &root)?;
                            step.prints_what_it_says(tool, &name, binary)?;
                        }
                        None => {
                            if workshop.is_none() {
                                workshop = Some(Workshop::open(&root, &name, binary)?);
                            }
                            workshop.as_ref().map_or(Ok(()), |w| w.run(&step))?;
                        }
                    }
                }
            }
            "text" | "mermaid" => {}
            _ => return Err(block.unknown()),
        }
    }
    exercises_are_described(lesson, &name, &readmes)
}

fn root_problem(root: &Path) -> Checked {
    let readmes = Readmes::read(root)?;
    for block in &readmes.blocks {
        match &*block.language {
            "console" => {
                for step in block.steps()? {
                    match step.tool() {
                        Some(tool) => step.exists(tool, root)?,
                        None if step.command.starts_with("git clone ")
                            || step.command.starts_with("cd ") => {}
                        None => {
                            return Err(
                                step.wrong("not checked here; a lesson's README could")
                            );
                        }
                    }
                }
            }
            "text" | "mermaid" => {}
            _ => return Err(block.unknown()),
        }
    }
    let manifest = read(&root.join("Cargo.toml"))?;
    for package in libraries(&manifest) {
        for (readme, text) in readmes.names.iter().zip(&readmes.texts) {
            if !text.contains(&format!("| [{package}](")) {
                return Err(format!("{readme} does not say why {package} is needed"));
            }
        }
    }
    for (lesson, _) in PORTS {
        if root.join("crates").join(lesson).join("README.md").exists() {
            for (readme, text) in readmes.names.iter().zip(&readmes.texts) {
                let link = format!("(crates/{lesson}/{readme})");
                if !text.contains(&link) {
                    return Err(format!("{readme}: no link to {lesson}, {link}"));
                }
            }
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

/// Both languages of one README.
struct Readmes {
    names: [&'static str; 2],
    texts: [String; 2],
    /// The same in both.
    blocks: Vec<Block>,
}

impl Readmes {
    fn read(folder: &Path) -> Checked<Self> {
        let names = ["README.md", "README.ko.md"];
        let texts = [read(&folder.join(names[0]))?, read(&folder.join(names[1]))?];
        let [blocks, korean] =
            [blocks(names[0], &texts[0])?, blocks(names[1], &texts[1])?];
        same(&blocks, &korean)?;
        for (name, text) in names.iter().zip(&texts) {
            links_lead_somewhere(folder, name, text)?;
        }
        Ok(Self { names, texts, blocks })
    }
}

/// What stands between two fences.
#[derive(Debug)]
struct Block {
    /// `README.md:12`, the opening fence.
    place: String,
    language: String,
    lines: Vec<String>,
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
        blocks.push(Block { place, language: language.trim().to_owned(), lines: inside });
    }
    Ok(blocks)
}

fn same(english: &[Block], korean: &[Block]) -> Checked {
    for (en, ko) in english.iter().zip(korean) {
        if en.language != ko.language || en.lines != ko.lines {
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

/// Relative links, outside of blocks.
fn links_lead_somewhere(folder: &Path, name: &str, text: &str) -> Checked {
    let mut in_block = false;
    for (number, line) in text.lines().enumerate() {
        in_block ^= line.trim_start().starts_with("```");
        for link in line.split("](").skip(1).filter(|_| !in_block) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if !target.contains(':') && !folder.join(target).exists() {
                let line = number + 1;
                return Err(format!("{name}:{line}: the link to {target} leads nowhere"));
            }
        }
    }
    Ok(())
}

/// A lesson has an exercise: an ignored test, which both languages name.
fn exercises_are_described(lesson: &Path, name: &str, readmes: &Readmes) -> Checked {
    let file = lesson.join("tests").join(name).with_extension("rs");
    let tests = read(&file)?;
    let exercises: Vec<&str> = tests
        .split("#[ignore = \"exercise: ")
        .skip(1)
        .filter_map(|after| after.split("fn ").nth(1)?.split('(').next())
        .collect();
    if exercises.is_empty() {
        return Err(format!("{}: no #[ignore = \"exercise: …\"]", file.display()));
    }
    for exercise in exercises {
        for (readme, text) in readmes.names.iter().zip(&readmes.texts) {
            if !text.contains(exercise) {
                return Err(format!("{readme} does not mention the exercise {exercise}"));
            }
        }
    }
    Ok(())
}

impl Block {
    fn unknown(&self) -> String {
        let Self { place, language, .. } = self;
        format!(
            "{place}: no check for {language:?} (rust, js, toml, console, text, mermaid)"
        )
    }

    /// Whether one of the sources has these lines: as they are, or all of them indented alike.
    fn is_quote_of(&self, sources: &[String], left_out: &str) -> Checked {
        let parts: Vec<Vec<&str>> = self
            .lines
            .split(|line| line.trim() == left_out)
            .map(|part| part.iter().map(String::as_str).collect())
            .filter(|part: &Vec<&str>| part.iter().any(|line| !line.is_empty()))
            .collect();
        if parts.is_empty() {
            return Err(format!("{}: quotes nothing", self.place));
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
        Err(format!("{}: nothing compiled has these lines:\n{part}", self.place))
    }

    /// The commands, each with what it should print.
    fn steps(&self) -> Checked<Vec<Step>> {
        let mut steps: Vec<Step> = Vec::new();
        for line in &self.lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    place: self.place.clone(),
                    command: command.to_owned(),
                    expected: Vec::new(),
                }),
                (None, Some(step)) if step.expected.is_empty() && step.is_continued() => {
                    step.command += "\n";
                    step.command += line;
                }
                (None, Some(step)) => step.expected.push(line.clone()),
                (None, None) => {
                    return Err(format!("{}: begins without a `$ `", self.place));
                }
            }
        }
        Ok(steps)
    }
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

/// One command of a `console` block.
#[derive(Debug)]
struct Step {
    place: String,
    command: String,
    expected: Vec<String>,
}

impl Step {
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
        if !["run", "test", "build", "install"].contains(&verb) {
            return Err(self.wrong("only cargo run, test, build and install are checked"));
        }
        let Some(package) = self.after("-p") else { return Ok(()) };
        let folder = match root.join("crates").join(package) {
            folder if folder.exists() => folder,
            _ => root.join(package), // examples
        };
        if !folder.join("Cargo.toml").exists() {
            return Err(self.wrong(format_args!("there is no package {package:?}")));
        }
        let test = self.after("--test").map(|test| folder.join("tests").join(test));
        match test.map(|path| path.with_extension("rs")) {
            Some(path) if !path.exists() => {
                Err(self.wrong(format_args!("there is no {}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// What a lesson prints at its start is what stands below `cargo run -p LESSON`.
    fn prints_what_it_says(&self, tool: &str, lesson: &str, binary: &str) -> Checked {
        let runs = match tool {
            "cargo" => {
                self.words().get(1) == Some(&"run") && self.after("-p") == Some(lesson)
            }
            _ => self.words().get(1..) == Some(&["run", lesson]),
        };
        if !runs || self.expected.is_empty() {
            return Ok(());
        }
        let mut variables = self.variables();
        let starts = self.expected.iter().any(|line| line.contains("서버 대기 중입니다"));
        if !starts {
            let (_, stderr) = Server::fails(Server::command(binary, &variables));
            return self.compare(&stderr);
        }
        let port = variables.iter().find(|(name, _)| *name == "PORT");
        let port =
            port.map_or(usual_port(lesson).to_string(), |(_, port)| (*port).into());
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
    fn open(root: &Path, lesson: &str, binary: &str) -> Checked<Self> {
        let folder = TempDir::new();
        let [html, certs] = ["html", "certs"].map(|name| folder.path().join(name));
        copy(&root.join("html"), &html)
            .map_err(|error| format!("copy of html/: {error}"))?;
        fs::create_dir(&certs).map_err(|error| format!("certs/: {error}"))?;
        // At a terminal curl shows no progress; here it would.
        let curlrc = "silent\nshow-error\nnoproxy = \"*\"\n";
        fs::write(folder.path().join(".curlrc"), curlrc)
            .map_err(|error| format!(".curlrc: {error}"))?;
        let mut command = Server::command(binary, &[]);
        command.env("HTML_DIR", html).env("CERTS_DIR", certs);
        let server = Server::start_command(command);
        Ok(Self { server, folder, port: usual_port(lesson).to_string() })
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

    /// What a command prints, on both outputs.
    fn sh(&self, command: &str) -> Checked<String> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.folder.path())
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
        let output = output.recv_timeout(PATIENCE);
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
    PORTS.iter().find(|(name, _)| *name == lesson).map_or(0, |(_, port)| *port)
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

fn read(path: &Path) -> Checked<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// All `.rs` files of a folder and below, as text.
fn sources(folder: &Path) -> Checked<Vec<String>> {
    let mut all = Vec::new();
    for path in entries(folder) {
        if path.is_dir() {
            all.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(read(&path)?);
        }
    }
    Ok(all)
}

/// What a folder has, in the order of names; nothing for one that is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
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

    fn block(text: &str) -> Block {
        blocks("README.md", text).unwrap().remove(0)
    }

    #[test]
    fn blocks_have_a_place_a_language_and_lines() {
        let found =
            blocks("R.md", "a\n```rust\nlet x;\n```\n\n- b\n  ```text\n```\n").unwrap();
        assert_eq!(found[0].place, "R.md:2");
        assert_eq!(
            (&*found[0].language, &*found[0].lines),
            ("rust", &["let x;".into()][..])
        );
        assert_eq!((&*found[1].language, found[1].lines.len()), ("text", 0));
        assert!(blocks("R.md", "```rust\nlet x;").unwrap_err().contains("R.md:1"));
    }

    #[test]
    fn quotes() {
        let source = "fn a() {\n    one();\n\n    two();\n    three();\n}\n".to_owned();
        let is_quote = |quote: &str| {
            block(&format!("```rust\n{quote}\n```"))
                .is_quote_of(std::slice::from_ref(&source), "// …")
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

    #[test]
    fn the_root_names_all_lessons_and_libraries() {
        const TRUE: &str = "[a](crates/hello/README.md)[a](crates/hello/README.ko.md)\n\
            | [hyper](https://hyper.rs) | why |\n\n```console\n$ cargo test -p hello\n```\n";
        let folder = TempDir::new();
        let hello = folder.path().join("crates/hello");
        fs::create_dir_all(&hello).unwrap();
        for (path, text) in [
            (
                "Cargo.toml",
                "[workspace.dependencies]\nhyper = \"1\"\nc = { path = \"c\" }\n[x]\n",
            ),
            ("crates/hello/Cargo.toml", ""),
            ("crates/hello/README.md", ""),
            ("crates/hello/README.ko.md", ""),
        ] {
            fs::write(folder.path().join(path), text).unwrap();
        }
        let check = |text: &str| {
            fs::write(folder.path().join("README.md"), text).unwrap();
            fs::write(folder.path().join("README.ko.md"), text).unwrap();
            root_problem(folder.path())
        };
        assert_eq!(check(TRUE), Ok(()));
        for (text, instead, problem) in [
            ("hello/README.ko.md", "hello/README.md", "README.ko.md: no link to hello"),
            ("| [hyper]", "| [hypo]", "why hyper is needed"),
            ("-p hello", "-p hallo", "no package"),
            ("cargo test", "make test", "not checked here"),
            ("```console", "```rust", "no check"),
        ] {
            let found = check(&TRUE.replace(text, instead)).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
    }

    /// A lesson of its own: its server is a script, so that no crate need be built for it.
    #[cfg(unix)]
    #[test]
    fn whatever_is_not_true_is_found() {
        use std::os::unix::fs::PermissionsExt;
        const TRUE: &str = "# A\n[root](../../justfile)\n\nExercise: `say_more`\n\n\
            ```rust\nfn main() {}\n```\n\n```js\nserve();\n```\n\n```toml\nname = 1\n```\n\n\
            ```console\n$ cargo run -p hello\n8080번 포트에서 서버 대기 중입니다 http://localhost:8080/\n\
            $ just run hello\n$ cargo test -p hello --test hello\n```\n\n\
            ```console\n$ echo at :8080 \\\n  and more; cat html/a\nat :8080 and more\nA\n\
            $ PORT=0 sh -c 'echo $PORT; echo b >&2'\n…\nb\n```\n";
        let folder = TempDir::new();
        let lesson = folder.path().join("crates/hello");
        let script = lesson.join("server");
        for (path, text) in [
            ("html/a", "A\n"),
            ("justfile", "# x\nrun LESSON:\n\tcargo run -p {{LESSON}}\n"),
            ("examples/node/hello.js", "serve();\n"),
            ("crates/hello/Cargo.toml", "name = 1\n"),
            ("crates/hello/src/main.rs", "fn main() {}\n"),
            (
                "crates/hello/tests/hello.rs",
                "#[ignore = \"exercise: more\"]\nfn say_more() {}\n",
            ),
            (
                "crates/hello/server",
                "#!/bin/sh\necho '41234번 포트에서 서버 대기 중입니다 http://localhost:41234/'\nexec sleep 60\n",
            ),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let check = |english: &str, korean: &str| {
            fs::write(lesson.join("README.md"), english).unwrap();
            fs::write(lesson.join("README.ko.md"), korean).unwrap();
            lesson_problem(&lesson, script.to_str().unwrap())
        };
        assert_eq!(check(TRUE, &TRUE.replace("# A", "# 가")), Ok(()));
        for (text, instead, problem) in [
            ("fn main() {}", "fn main() { }", "README.md:6: nothing compiled"),
            ("serve();", "served();", "README.md:10: nothing compiled"),
            ("name = 1", "name = 2", "README.md:14: nothing compiled"),
            ("대기 중입니다 http", "대기 중입니다! http", "-- expected --"),
            ("at :8080 and more\n", "at :8081 and more\n", "-- expected --"),
            ("…\nb", "…\nc", "-- expected --"),
            ("…\nb", "…", ""),
            ("just run", "just walk", "no recipe \"walk\""),
            ("test -p hello", "test -p hallo", "no package \"hallo\""),
            ("--test hello", "--test hallo", "there is no"),
            ("cargo test", "cargo publish", "only cargo run"),
            ("```js", "```ts", "no check for \"ts\""),
            ("```js", "```", "no check for \"\""),
            ("$ echo", "echo", "begins without"),
            ("say_more", "say_less", "does not mention the exercise say_more"),
            ("../../justfile", "../justfile", "leads nowhere"),
        ] {
            let changed = TRUE.replace(text, instead);
            assert_ne!(changed, TRUE, "{text}");
            match (check(&changed, &changed), problem) {
                (Ok(()), "") => {}
                (Err(found), problem) if !problem.is_empty() => {
                    assert!(found.contains(problem), "{found}");
                }
                (result, _) => panic!("{instead:?}: {result:?}"),
            }
        }
        // Both are true, but they differ.
        let shorter = TRUE.replace("```toml\nname = 1\n```\n\n", "");
        let problem = check(TRUE, &shorter).unwrap_err();
        assert!(problem.contains("README.md:14 and README.ko.md:14 differ"), "{problem}");
        let longer = format!("{TRUE}```text\n```\n");
        assert!(check(TRUE, &longer).unwrap_err().contains("only one language"));
        fs::write(lesson.join("tests/hello.rs"), "").unwrap();
        assert!(check(TRUE, TRUE).unwrap_err().contains("no #[ignore"));
    }
}
