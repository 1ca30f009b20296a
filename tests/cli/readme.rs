//! The README and docs/: commands are run, tables are compared, links lead somewhere, promises name tests.

use crate::documents::{
    REPOSITORY, anchor, blocks, document, is_of_the_preview, is_of_the_sandbox, is_of_the_tests,
    readme, section, tour,
};
use crate::folder::Folder;
use k8s_bootstrap::domain::checks::check::Id;
use k8s_bootstrap::domain::table::{BUNDLES, InputRule, Origin, Presence};
use std::path::{Path, PathBuf};

/// The cells of the rows of the first table in a text, without the head.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The README and the documents beside it, with their paths.
fn documents() -> Vec<(String, String)> {
    let folder = std::fs::read_dir(Path::new(REPOSITORY).join("docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut paths: Vec<_> = names.map(|name| format!("docs/{name}")).collect();
    for top in ["README", "CHANGELOG", "CONTRIBUTING", "SECURITY"] {
        paths.push(format!("{top}.md"));
    }
    let read = |path: String| {
        let text = document(&path);
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_command_of_the_documents_is_run() {
    let stories = [
        tour(),
        document("docs/path2.md"),
        document("docs/rotate.md"),
    ];
    let in_stories: Vec<_> = stories.iter().flat_map(|text| blocks(text, "sh")).collect();
    let check = document(".ci/run");
    assert!(check.contains("cargo install --locked --path . "));
    // Commands of this checkout, of which a comment may follow.
    let of_the_check = |block: &str| {
        let mut lines = block
            .lines()
            .map(|line| line.split(" #").next().unwrap().trim());
        let others = ["bash .ci/run", "cargo install --locked --path ."];
        lines.all(|line| is_of_the_tests(line) || others.contains(&line))
    };
    for (path, text) in documents() {
        for block in blocks(&text, "sh") {
            let runs = is_of_the_preview(&block)
                || is_of_the_sandbox(&block)
                || of_the_check(&block)
                // See every_step_of_the_checks_is_run_by_a_test.
                || path == "docs/checks.md"
                || in_stories.contains(&block);
            assert!(runs, "{path}: no test runs this:\n{block}");
        }
    }
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for (path, text) in documents() {
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("https://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let mut place = Path::new(REPOSITORY).join(&path);
            if !file.is_empty() {
                place = place.parent().unwrap().join(file);
            }
            assert!(place.exists(), "{path}: {target} is not there");
            if !heading.is_empty() {
                let page = std::fs::read_to_string(&place).unwrap();
                let headings = page.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
                assert!(
                    anchors.any(|it| it == heading),
                    "{path}: no heading for {target}"
                );
            }
            links += 1;
        }
    }
    assert!(links > 20, "only {links} links have been found");
}

/// The rest of the command after `cargo run --` is what the tests of the preview run.
#[test]
fn the_first_command_is_the_preview() {
    let first = blocks(&readme(), "sh").swap_remove(0);
    assert!(is_of_the_preview(&first), "{first}");
    let arguments = first.trim().strip_prefix("cargo run -- ").unwrap();
    let arguments: Vec<_> = arguments.split(' ').collect();
    let run = Folder::new().run(&arguments);
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn the_whole_check_calls_the_command_that_runs_all_tests() {
    let all = blocks(&readme(), "sh");
    assert!(is_of_the_sandbox(&all[1]), "the second is the real thing");
    assert_eq!(all[2].trim(), "cargo test");
    assert!(is_of_the_tests(&all[3]), "the fourth runs all tests");
    let check = std::fs::read_to_string(Path::new(REPOSITORY).join(".ci/run")).unwrap();
    let tests = check.lines().filter(|line| line.starts_with("cargo test"));
    assert_eq!(tests.collect::<Vec<_>>(), [all[3].trim()]);
}

#[test]
fn the_table_is_the_one_of_the_program() {
    let rows = rows(&document("docs/secrets.md"));
    let mut told: Vec<(String, String, String)> = Vec::new();
    for row in rows {
        let [secret, key, value, _reader] = row.try_into().expect("four columns");
        let secret = match secret.as_str() {
            "" => told.last().expect("the first row names a Secret").0.clone(),
            _ => secret.trim_matches('`').to_owned(),
        };
        told.push((secret, key.trim_matches('`').to_owned(), value));
    }
    let mut rows = told.into_iter();
    for bundle in BUNDLES {
        for key in bundle.keys {
            let (secret, name, value) = rows.next().expect("a row for each key");
            assert_eq!((secret.as_str(), name.as_str()), (bundle.secret, key.name));
            let wanted = match key.origin {
                Origin::Token(_) => "token".to_owned(),
                Origin::TokenList(token, presence) => match presence {
                    Presence::Always => format!("list with the token `{token}`"),
                    Presence::UnlessLeftOut => "the same list, which the service reads; \
                                            `--without-api-keys` leaves it out"
                        .to_owned(),
                    Presence::IfFound => {
                        format!("list with the token `{token}`; kept in step where it exists")
                    }
                },
                Origin::Input(InputRule::Required) => "input, required".to_owned(),
                Origin::Input(InputRule::Default("")) => "input, default empty".to_owned(),
                Origin::Input(InputRule::Default(text)) => format!("input, default `{text}`"),
                Origin::Input(InputRule::EnvFileOnly) => "input, from `--env-file` only".to_owned(),
            };
            assert_eq!(value, wanted, "{name}");
        }
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn every_check_has_its_heading() {
    let text = document("docs/checks.md");
    let headings: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let ids: Vec<_> = Id::ALL.iter().map(|id| id.as_str()).collect();
    assert_eq!(headings, ids);
}

#[test]
fn every_link_of_a_hint_leads_to_its_heading() {
    for id in Id::ALL {
        let link = format!("see docs/checks.md#{}", anchor(id.as_str()));
        assert_eq!(id.docs_link(), link);
    }
    // No other code makes such a link.
    let printed = sources().into_iter().filter(|(path, text)| {
        path.starts_with(Path::new(REPOSITORY).join("src")) && text.contains("docs/checks.md#{")
    });
    let printed: Vec<_> = printed.map(|(path, _)| path).collect();
    let check = Path::new(REPOSITORY).join("src/domain/checks/check.rs");
    assert_eq!(printed, [check]);
    let anchors: Vec<_> = Id::ALL.iter().map(|id| anchor(id.as_str())).collect();
    let is_of_anchor = |c: char| c.is_ascii_alphanumeric() || c == '-';
    for (path, text) in sources() {
        for rest in text.split("docs/checks.md#").skip(1) {
            let end = rest.find(|c| !is_of_anchor(c)).unwrap_or(rest.len());
            let known = end == 0 || anchors.iter().any(|anchor| *anchor == rest[..end]);
            assert!(known, "{}: {}", path.display(), &rest[..end]);
        }
    }
}

#[test]
fn every_step_of_the_checks_is_run_by_a_test() {
    let mut parts = Vec::new();
    for (_, text) in sources() {
        for call in text.split(" steps(").skip(1) {
            // The first argument is a literal.
            let literal = call.trim_start().strip_prefix('"');
            let literal = literal.and_then(|rest| rest.split('"').next());
            parts.extend(literal.map(str::to_owned));
        }
    }
    for block in blocks(&document("docs/checks.md"), "sh") {
        let runs = parts.iter().any(|part| block.contains(part));
        assert!(runs, "no test runs this:\n{block}");
    }
}

#[test]
fn every_exit_code_has_its_row() {
    let rows = rows(&section(&readme(), "The command line"));
    let codes: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(codes, ["0", "1", "2", "3"]);
    assert!(rows.iter().all(|row| row[1].len() > 10), "{rows:?}");
}

/// What `--help` of a command prints.
fn help(command: &[&str]) -> String {
    let run = Folder::new().run(&[command, &["--help"]].concat());
    assert_eq!(run.code, 0, "{run}");
    run.out
}

#[test]
fn the_commands_are_the_ones_of_the_help() {
    let list = blocks(&section(&readme(), "The command line"), "text").concat();
    let commands = list.lines().map(|line| {
        let line = line.strip_prefix("k8s-bootstrap ").expect(line);
        // Two spaces part a command from what it does; a bar parts two commands.
        line.split("  ").next().unwrap()
    });
    let mut told = Vec::new();
    for command in commands.flat_map(|line| line.split(" | ")) {
        let words: Vec<_> = command.split(' ').collect();
        match words[0] {
            word if word.starts_with(['-', '[']) => {}
            word => told.push(word.to_owned()),
        }
        for alternative in words.iter().filter(|word| word.contains('|')) {
            let of_it = help(&words[..1]);
            for name in alternative.trim_matches(['[', ']']).split('|') {
                assert!(of_it.contains(&format!("\n  {name} ")), "{name}\n{of_it}");
            }
        }
    }
    let whole = help(&[]);
    let (_, commands) = whole.split_once("\nCommands:\n").unwrap();
    let commands = commands.split("\n\n").next().unwrap();
    let helped: Vec<_> = commands
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert_eq!(told, helped);
    for option in list
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
    {
        assert!(whole.contains(option), "{option}");
    }
    let text = section(&readme(), "The command line");
    let everywhere = text.split("Everywhere: ").nth(1).unwrap();
    let everywhere = everywhere.split(". stdout").next().unwrap();
    for option in everywhere.split('`').filter(|word| word.starts_with('-')) {
        let flag = option.split(' ').next().unwrap();
        assert!(whole.contains(flag), "{flag}");
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = document("docs/promises.md");
    let promises: Vec<_> = text.split("\n## ").skip(1).collect();
    assert_eq!(promises.len(), 11, "the invariants of the design");
    let sources = sources();
    for (index, promise) in promises.into_iter().enumerate() {
        let number = index + 1;
        assert!(promise.starts_with(&format!("{number}. ")), "{promise}");
        let names = promise.lines().filter_map(|line| line.strip_prefix("- `"));
        let names: Vec<_> = names.map(|name| name.trim_end_matches('`')).collect();
        assert!(
            !names.is_empty(),
            "promise {number} names no test: {promise}"
        );
        for name in names {
            assert!(is_test_name(name), "promise {number}: {name}");
            assert!(
                has_test(&sources, name),
                "promise {number}: there is no test {name}"
            );
        }
    }
}

/// Tells whether it looks like `module::name`.
fn is_test_name(text: &str) -> bool {
    let word = |part: &str| {
        let mut chars = part.chars();
        !part.is_empty() && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.contains("::") && text.split("::").all(word)
}

/// The Rust files of the program and of the tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![PathBuf::from(REPOSITORY).join("src")];
    folders.push(PathBuf::from(REPOSITORY).join("tests"));
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Tells whether a test of that name is in a file that one of its modules is called like.
fn has_test(sources: &[(PathBuf, String)], name: &str) -> bool {
    let mut modules: Vec<_> = name.split("::").collect();
    let function = format!("fn {}(", modules.pop().unwrap());
    sources.iter().any(|(path, text)| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let (before, is_there) = match text.split_once(&function) {
            Some((before, _)) => (before, true),
            None => ("", false),
        };
        is_there && before.trim_end().ends_with("#[test]") && modules.contains(&stem)
    })
}
