//! Which module of `src` imports which: no two modules import each other, by whatever detour, and no
//! module calls the root of the crate.

use crate::architecture::{Source, sources};
use std::collections::{BTreeMap, BTreeSet};

/// The modules that each module imports, by their paths; that of the crate's root is empty.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The path of the module in a file: `a::b` for `a/b.rs` and for `a/b/mod.rs`.
fn module_of(file: &str) -> String {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    match path {
        "lib" | "main" => String::new(),
        path => path.replace('/', "::"),
    }
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

fn join(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        module => format!("{module}::{name}"),
    }
}

/// All paths of the tree of a `use`: `a::b` and `a::c` for `a::{b, c}`.
fn paths(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, char) in inside.char_indices().chain([(inside.len(), ',')]) {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let found = found.into_iter().flat_map(paths);
    found
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// The paths that the code of a file names.
fn named(source: &Source) -> Vec<String> {
    let lines = source
        .code
        .lines()
        .map(|line| line.split("//").next().unwrap());
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for statement in code.split(';') {
        if let Some((_, tree)) = statement.rsplit_once("use ") {
            found.extend(paths(tree));
        }
    }
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    // What ends with `::` goes on with a tree, which has been seen.
    let words = words.filter(|word| word.contains("::") && !word.ends_with("::"));
    found.extend(words.map(str::to_owned));
    found
}

/// The module that a path leads to from another one; `None` for what is outside of the crate.
fn resolve(from: &str, path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut names = path.split("::").peekable();
    let first = *names.peek()?;
    let mut at = match first {
        "crate" => String::new(),
        "self" | "super" => from.to_owned(),
        name if modules.contains(&join(from, name)) => from.to_owned(),
        _ => return None,
    };
    for name in names {
        match name {
            "crate" | "self" => {}
            "super" => at = parent(&at).to_owned(),
            name if modules.contains(&join(&at, name)) => at = join(&at, name),
            _ => break,
        }
    }
    Some(at)
}

fn graph(sources: &[Source]) -> Graph {
    let modules: BTreeSet<_> = sources.iter().map(|file| module_of(&file.path)).collect();
    let mut graph = Graph::new();
    for source in sources
        .iter()
        .filter(|file| !file.path.contains("properties"))
    {
        let from = module_of(&source.path);
        let paths = named(source);
        let to = paths
            .iter()
            .filter_map(|path| resolve(&from, path, &modules));
        let to = to.filter(|to| *to != from).collect::<BTreeSet<_>>();
        graph.entry(from).or_default().extend(to);
    }
    graph
}

/// The modules that can be reached from one.
fn reached<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut todo: Vec<&str> = graph[from].iter().map(String::as_str).collect();
    while let Some(next) = todo.pop() {
        if found.insert(next) {
            todo.extend(graph.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

/// The imports that are part of a circle.
fn circles(graph: &Graph) -> Vec<String> {
    let imports = graph
        .iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    imports
        .filter(|(from, to)| graph.contains_key(*to) && reached(graph, to).contains(from.as_str()))
        .map(|(from, to)| format!("{from} imports {to}"))
        .collect()
}

#[test]
fn no_modules_import_each_other() {
    let mut graph = graph(&sources());
    // The root dispatches; that nothing calls it is a test of its own.
    graph.remove("");
    assert!(
        graph.values().flatten().count() > 300,
        "imports were not found"
    );
    let circles = circles(&graph);
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn no_module_calls_the_root_of_the_crate() {
    let graph = graph(&sources());
    let callers: Vec<_> = graph.iter().filter(|(_, to)| to.contains("")).collect();
    assert!(callers.is_empty(), "{callers:?}");
}

#[test]
fn a_circle_is_found_through_trees_parents_and_children() {
    let file = |path: &str, code: &str| Source {
        path: path.to_owned(),
        code: code.to_owned(),
    };
    let sources = [
        file("lib.rs", "mod a; mod b;"),
        file("a/mod.rs", "mod deep; fn f() { deep::g() }"),
        file(
            "a/deep.rs",
            "use std::{fmt, io};\nuse crate::{b::{self, C}, d::E};",
        ),
        file("b.rs", "pub struct C; fn h() { super::a::f() }"),
        file("d.rs", "// use crate::a;\npub struct E;"),
    ];
    assert_eq!(
        circles(&graph(&sources)),
        ["a imports a::deep", "a::deep imports b", "b imports a"]
    );
}
