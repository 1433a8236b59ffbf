//! One direction: no file imports one that imports it, directly or by way of others. A module
//! and its own child may know each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{Checked, entries, read, sources, without_tests};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Checks the files of each crate, and the crates.
pub fn check(root: &Path) -> Checked {
    let workspace = read(&root.join("Cargo.toml"))?;
    let mut crates = Graph::new();
    for folder in entries(&root.join("crates")) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        no_circle(&name, &files(&folder.join("src"))?)?;
        let manifest = read(&folder.join("Cargo.toml"))?;
        crates.insert(name, dependencies(&manifest, &workspace));
    }
    no_circle("crates", &crates)
}

/// Which of our crates a manifest names as dependencies, those of its tests apart.
fn dependencies(manifest: &str, workspace: &str) -> BTreeSet<String> {
    let section = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ']).next());
    // The library `cookie` is not the lesson `cookie`.
    let is_ours = |name: &&str| workspace.contains(&format!("\n{name} = {{ path = "));
    names.filter(is_ours).map(Into::into).collect()
}

/// Each file of a folder, named as a module, with those that it imports.
fn files(src: &Path) -> Checked<Graph> {
    let mut texts = BTreeMap::new();
    for (path, text) in sources(src)? {
        let path = path.strip_prefix(src).unwrap_or(&path).with_extension("");
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts.join("::");
        let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
        if !matches!(&*name, "lib" | "main") && !name.ends_with("tests") {
            let code: Vec<&str> = without_tests(&text)
                .map(|line| line.split("//").next().unwrap_or_default())
                .collect();
            texts.insert(name, code.join("\n"));
        }
    }
    let uses = |text: &str, from: &str| {
        let mut found = BTreeSet::new();
        for after in text.split("crate::").skip(1) {
            // `a::b`, or `{a, b::c}` after `use`.
            let list = after.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let paths = match list {
                Some(list) => list.split(',').map(str::trim).collect(),
                None => vec![after],
            };
            for path in paths {
                let is_in_path = |name: &&String| {
                    let rest = path.strip_prefix(name.as_str());
                    rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
                };
                // The longest name: `guard::stream` and not `guard`.
                let module = texts.keys().filter(is_in_path).max_by_key(|n| n.len());
                found.extend(module.filter(|name| *name != from).cloned());
            }
        }
        found
    };
    Ok(texts.iter().map(|(name, text)| (name.clone(), uses(text, name))).collect())
}

fn no_circle(what: &str, graph: &Graph) -> Checked {
    for start in graph.keys() {
        let mut todo = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while let Some(path) = todo.pop() {
            let last = path[path.len() - 1];
            for next in graph.get(last).into_iter().flatten() {
                let kin = path.len() == 2 && is_child(path[0], path[1]);
                if next == start && !kin {
                    let shown: Vec<&str> =
                        path.iter().map(|name| name.as_str()).collect();
                    return Err(format!("{what}: {} → {next}", shown.join(" → ")));
                }
                if seen.insert(next) {
                    todo.push([&path[..], &[next]].concat());
                }
            }
        }
    }
    Ok(())
}

fn is_child(a: &str, b: &str) -> bool {
    a.starts_with(&format!("{b}::")) || b.starts_with(&format!("{a}::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).into()).or_default().insert((*to).into());
        }
        graph
    }

    #[test]
    fn circles_are_found_and_families_are_none() {
        for good in
            [&[("a", "b"), ("a", "c"), ("b", "c")][..], &[("a", "a::b"), ("a::b", "a")]]
        {
            assert_eq!(no_circle("x", &graph(good)), Ok(()));
        }
        for bad in [
            &[("a", "b"), ("b", "a")][..],
            &[("a", "b"), ("b", "c"), ("c", "a")],
            &[("a", "a::b"), ("a::b", "c"), ("c", "a")],
        ] {
            assert!(no_circle("x", &graph(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn imports_are_read() {
        let folder = testkit::TempDir::new();
        for (name, text) in [
            ("a.rs", "use crate::b::X;\nuse crate::{c, d::Y};\n// crate::e\n"),
            ("b.rs", "#[cfg(test)]\nuse crate::a;\n"),
            ("c.rs", "fn f() { crate::d::g() }"),
            ("d.rs", ""),
            ("e.rs", ""),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let found = files(folder.path()).unwrap();
        let expected = graph(&[("a", "b"), ("a", "c"), ("a", "d"), ("c", "d")]);
        let edges = |graph: &Graph| -> Vec<_> {
            let each =
                graph.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
            each.map(|(from, to)| format!("{from} {to}")).collect()
        };
        assert_eq!(edges(&found), edges(&expected));
    }
}
