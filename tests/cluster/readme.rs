//! The README: its commands are run, its tables are compared, its promises name tests.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use k8s_bootstrap::domain::bundles::{BUNDLES, InputRule, Origin, Presence};
use k8s_bootstrap::domain::findings::check::Id;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const PROGRAM: &str = env!("CARGO_BIN_EXE_k8s-bootstrap");

fn readme() -> String {
    std::fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap()
}

/// The fenced blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            let block: String = inside.map(|line| format!("{line}\n")).collect();
            if fence == language {
                found.push(block);
            }
        }
    }
    found
}

/// The text between a heading and the next one of the same level.
fn section(heading: &str) -> String {
    let text = readme();
    let (_, rest) = text
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("there is no section {heading:?}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

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

fn is_of_the_sandbox(block: &str) -> bool {
    block.contains("./local/sandbox.sh")
}

fn is_of_the_tests(block: &str) -> bool {
    block.trim() == "cargo test"
}

/// Runs the commands of a section in a fresh namespace, which has to be that of the README.
fn run_story(heading: &str, namespace: &str, environment: &[(&str, &str)]) -> (Space, Ran) {
    let mut space = Space::without_namespace();
    namespace.clone_into(&mut space.namespace);
    let path = format!("/api/v1/namespaces/{namespace}");
    let (status, _) = SANDBOX.request("GET", &path, "application/json", &Value::Null);
    assert_eq!(status, 404, "another test uses the namespace of the README");

    let text = section(heading);
    let blocks = blocks(&text, "sh");
    let story = blocks.iter().filter(|block| !is_of_the_sandbox(block));
    let mut script = String::new();
    for (index, block) in story.enumerate() {
        script.push_str(&format!("echo '== block {index}' >&2\n{block}"));
    }
    script.push_str("echo '== the end' >&2\n");
    let folder = space.folder.path();
    let programs = folder.join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(PROGRAM, programs.join("k8s-bootstrap")).unwrap();
    let path = format!("{}:{}", programs.display(), SANDBOX.path.display());
    let output = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("HOME", folder)
        .env("KUBECONFIG", &space.kubeconfig)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output();
    let ran = Ran::from(output.unwrap()).exits(0);
    assert!(ran.err.ends_with("== the end\n"), "{}", ran.err);
    // Each line of the shown answers is in the real ones.
    let shown = self::blocks(&text, "text").concat();
    assert!(shown.contains("[ok]"), "{shown}");
    for line in shown.lines() {
        assert!(ran.out.contains(line), "{line}\nis not in\n{}", ran.out);
    }
    (space, ran)
}

#[test]
fn the_story_of_the_store_is_as_the_readme_tells() {
    let bao = &SANDBOX.bao;
    let operator = [("BAO_ADDR", bao.address.as_str()), ("BAO_TOKEN", &bao.root)];
    let (space, ran) = run_story("With a secret store (Path 2)", "brain2", &operator);
    for (secret, entry) in [
        (ROUTER, "router"),
        (EMBEDDINGS, "embeddings"),
        (AGENTICORE, "agenticore"),
    ] {
        let entry = bao.fields(&format!("brain2/{entry}"));
        assert_eq!(space.data(secret), entry, "{secret}");
        let object = space.object(secret).unwrap();
        let owner = &object["metadata"]["ownerReferences"][0]["kind"];
        assert_eq!(owner, "ExternalSecret");
    }
    assert_eq!(space.data(ROUTER), space.filed());
    assert_eq!(space.data(EMBEDDINGS).len(), 6);
    assert_eq!(space.data(EMBEDDINGS)["LLM_API_KEY"], "sk-llm-example");
    assert!(!ran.err.contains("may do more than read"), "{}", ran.err);
}

#[test]
fn every_command_of_the_readme_is_run() {
    let stories = ["The life of the secrets", "With a secret store (Path 2)"];
    let told: Vec<_> = stories
        .iter()
        .flat_map(|heading| blocks(&section(heading), "sh"))
        .collect();
    for block in blocks(&readme(), "sh") {
        let known = is_of_the_sandbox(&block) || is_of_the_tests(&block) || told.contains(&block);
        assert!(known, "no test runs this:\n{block}");
    }
}

#[test]
fn the_life_of_the_secrets_is_as_the_readme_tells() {
    let (space, _) = run_story("The life of the secrets", "brain", &[]);
    let tokens = space.filed();
    assert_eq!(tokens.len(), 2);
    assert_eq!(space.data(ROUTER), tokens);
    let embeddings = space.data(EMBEDDINGS);
    for list in ["EMBEDDINGS_API_KEYS", "API_KEYS"] {
        assert_eq!(embeddings[list], tokens["EMBEDDINGS_API_KEY"]);
    }
    assert_eq!(embeddings["LOG_LEVEL"], "INFO");
    assert_eq!(space.data(AGENTICORE)["GITHUB_TOKEN"], "ghp_example");
    assert_eq!(space.beside_file(), [".k8s-tokens", "brain.env"]);
    let fleet = Space {
        namespace: "agents".to_owned(),
        ..space.other_operator()
    };
    assert_eq!(fleet.data(ROUTER), tokens);
    assert!(fleet.object(EMBEDDINGS).is_none());
    let roles = space.kubectl(&["get", "role,rolebinding", "-o", "name"]);
    assert_eq!(roles.lines().count(), 2, "{roles}");
}

#[test]
fn the_first_command_makes_the_three_secrets_in_a_real_api_server() {
    let all = blocks(&readme(), "sh");
    let block = all.iter().find(|block| is_of_the_sandbox(block)).unwrap();
    assert_eq!(Some(block), all.first(), "it is the first command");

    // In a copy, since it leaves a tokens file in the checkout.
    let tokens = Path::new(REPOSITORY).join("local/.k8s-tokens");
    let before = std::fs::read(&tokens).ok();
    let copy = tempfile::tempdir().unwrap();
    copy_checkout(copy.path());
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let built = Path::new(PROGRAM).ancestors().nth(2).unwrap();
    let output = Command::new("sh")
        .args(["-euc", block])
        .current_dir(copy.path())
        .env("CARGO_TARGET_DIR", target.as_deref().unwrap_or(built))
        .env_remove("SANDBOX_DIR")
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output();
    let ran = Ran::from(output.unwrap()).exits(0);
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let line = format!("[ok]   brain/{secret}: created");
        assert!(ran.out.contains(&line), "{line}\n{}\n{}", ran.out, ran.err);
    }
    assert!(copy.path().join("local/.k8s-tokens").exists());
    assert_eq!(std::fs::read(&tokens).ok(), before);
}

/// Copies the files of the checkout that git has or would take, with their times, so that what was
/// built from them counts as fresh.
fn copy_checkout(to: &Path) {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(REPOSITORY)
        .output();
    let listed = Ran::from(output.unwrap()).exits(0).out;
    let mut folders = std::collections::BTreeSet::new();
    for name in listed.split_terminator('\0') {
        let (from, to) = (Path::new(REPOSITORY).join(name), to.join(name));
        if !from.is_file() {
            continue;
        }
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&from, &to).unwrap();
        keep_time(&from, &to);
        let above = Path::new(name).ancestors().skip(1);
        folders.extend(above.map(Path::to_owned));
    }
    for folder in folders {
        keep_time(&Path::new(REPOSITORY).join(&folder), &to.join(&folder));
    }
}

fn keep_time(from: &Path, to: &Path) {
    let time = from.metadata().unwrap().modified().unwrap();
    File::open(to).unwrap().set_modified(time).unwrap();
}

#[test]
fn the_test_command_is_the_one_that_the_whole_check_ends_with() {
    let all = blocks(&readme(), "sh");
    assert!(is_of_the_tests(&all[1]), "it is the second command");
    let check = std::fs::read_to_string(Path::new(REPOSITORY).join(".ci/run")).unwrap();
    assert_eq!(check.lines().last(), Some("cargo test"));
}

#[test]
fn the_table_is_the_one_of_the_program() {
    let rows = rows(&section("The table"));
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
                    Presence::OnRequest => {
                        format!("list with the token `{token}`; made by `--with-api-keys`")
                    }
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
fn every_check_has_its_row() {
    let rows = rows(&section("The checks"));
    let told: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(told, Id::ALL.map(Id::as_str));
}

#[test]
fn every_exit_code_has_its_row() {
    let rows = rows(&section("The command line"));
    let codes: Vec<_> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(codes, ["0", "1", "2", "3"]);
    assert!(rows.iter().all(|row| row[1].len() > 10), "{rows:?}");
}

/// What `--help` of a command prints.
fn help(command: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(command).arg("--help").output();
    Ran::from(output.unwrap()).exits(0).out
}

#[test]
fn the_commands_are_the_ones_of_the_help() {
    let list = blocks(&section("The command line"), "text").concat();
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
    let text = section("The command line");
    let everywhere = text.split("Everywhere: ").nth(1).unwrap();
    let everywhere = everywhere.split(". stdout").next().unwrap();
    for option in everywhere.split('`').filter(|word| word.starts_with('-')) {
        let flag = option.split(' ').next().unwrap();
        assert!(whole.contains(flag), "{flag}");
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = section("What it promises");
    let items = items(&text);
    assert_eq!(
        items.len(),
        11,
        "invariants 1 to 10, and rotations: {items:?}"
    );
    let sources = sources();
    for (index, item) in items.iter().enumerate() {
        let names: Vec<_> = item
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| is_test_name(name))
            .collect();
        let number = index + 1;
        assert!(!names.is_empty(), "promise {number} names no test: {item}");
        for name in names {
            assert!(
                has_test(&sources, name),
                "promise {number}: there is no test {name}"
            );
        }
    }
}

/// The items of the numbered list, which have to count from 1.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with(&format!("{}. ", items.len() + 1)) {
            items.push(line.to_owned());
        } else if let Some(item) = items.last_mut().filter(|_| line.starts_with(' ')) {
            item.push(' ');
            item.push_str(line.trim());
        }
    }
    items
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
