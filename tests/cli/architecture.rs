//! Who may know whom in `src`, who may print, and where values leave.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the program, without its tests.
pub struct Source {
    /// Its path below `src`.
    pub path: String,
    pub code: String,
}

impl Source {
    /// The lines that hold one of these texts outside comments, with their numbers.
    fn lines_with(&self, texts: &[&str]) -> Vec<String> {
        let lines = self.code.lines().enumerate();
        let code = lines.map(|(index, line)| (index, line.split("//").next().unwrap()));
        code.filter(|(_, line)| texts.iter().any(|text| line.contains(text)))
            .map(|(index, line)| format!("src/{}:{}: {}", self.path, index + 1, line.trim()))
            .collect()
    }
}

pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut todo = vec![root.clone()];
    while let Some(folder) = todo.pop() {
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.partition(|path| path.is_dir());
        todo.extend(folders);
        for file in files {
            let path = file.strip_prefix(&root).unwrap().display().to_string();
            if path.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap()
                .to_owned();
            found.push(Source { path, code });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the sources were not found");
    found
}

#[track_caller]
fn assert_none(folder: &str, texts: &[&str]) {
    let sources = sources();
    let inside: Vec<_> = sources
        .iter()
        .filter(|file| file.path.starts_with(folder))
        .collect();
    assert!(!inside.is_empty(), "{folder}");
    let found: Vec<_> = inside
        .iter()
        .flat_map(|file| file.lines_with(texts))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_domain_and_the_renderers_know_neither_the_outside_nor_the_commands() {
    for folder in ["domain/", "render/"] {
        assert_none(
            folder,
            &[
                "crate::io",
                "crate::commands",
                "crate::{",
                "crate::*",
                "super::super",
                "crate::cli",
            ],
        );
    }
    assert_none("domain/", &["crate::render", "crate::ui", "crate::error"]);
}

#[test]
fn the_outside_knows_neither_the_renderers_nor_the_commands() {
    let unwanted = [
        "crate::render",
        "crate::commands",
        "crate::{",
        "crate::*",
        "super::super",
        "crate::cli",
    ];
    assert_none("io/", &unwanted);
}

#[test]
fn the_domain_and_the_renderers_are_pure() {
    let impure = [
        "std::fs",
        "std::env",
        "std::process",
        "std::net",
        "std::time",
        "std::os",
        "std::thread",
        "std::io::std",
        "io::stdout",
        "io::stderr",
        "env::var",
        "SystemTime",
        "Instant",
        "SysRng",
        "rand::rng",
        "tokio",
        "kube::",
        "hyper",
        "rustix",
        "tempfile",
        "jiff",
        "unsafe",
    ];
    assert_none("domain/", &impure);
    assert_none("render/", &impure);
}

#[test]
fn one_file_prints() {
    let printing = [
        "print!(",
        "println!(",
        "dbg!(",
        "stdout()",
        "stderr()",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/tty",
        ".print()",
        ".exit()",
        "process::exit",
    ];
    let found: Vec<_> = sources()
        .iter()
        .filter(|file| file.path != "ui.rs")
        .flat_map(|file| file.lines_with(&printing))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A value leaves its type in these files and nowhere else. Whoever adds one here says why in the
/// review: where do its bytes go?
#[test]
fn values_are_exposed_in_few_places() {
    let allowed = [
        "commands/shared/tokens_session.rs",
        "domain/cluster/observed_secret.rs",
        "domain/eso/store_entry.rs",
        "domain/lint/literals.rs",
        "domain/lint/yaml.rs",
        "domain/plan/manifest.rs",
        "domain/rotation/edits.rs",
        "domain/rotation/properties.rs",
        "domain/rotation/properties/cluster.rs",
        "domain/rotation/properties/promise.rs",
        "domain/rotation/stored_state.rs",
        "domain/values/defects.rs",
        "domain/values/dotenv.rs",
        "domain/values/secret_value.rs",
        "domain/values/token.rs",
        "domain/values/tokens_file.rs",
        "io/eso/write_via_eso.rs",
        "io/kube/kubeconfig.rs",
        "io/kube/port_forward.rs",
        "io/kube/wire.rs",
        "io/local/environment.rs",
        "io/local/tokens_file.rs",
        "io/store/mod.rs",
        "io/store/settings.rs",
        "render/plain_values.rs",
        "render/tokens.rs",
        "render/yaml.rs",
    ];
    let sources = sources();
    let exposing: Vec<_> = sources
        .iter()
        .filter(|file| {
            !file
                .lines_with(&["expose()", "expose_secret", "::expose"])
                .is_empty()
        })
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(exposing, allowed);
    for file in sources
        .iter()
        .filter(|file| file.path != "domain/values/secret_value.rs")
    {
        let around = file.lines_with(&["expose_secret", "secrecy::"]);
        assert!(around.is_empty(), "{}", around.join("\n"));
    }
}
