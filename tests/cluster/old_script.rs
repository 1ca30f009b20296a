//! What the bash script, or kubectl by hand, left behind.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const NAMES: [&str; 3] = [ROUTER, EMBEDDINGS, AGENTICORE];
const ONE: &str = "1f00000000000000000000000000000000000000000000000000000000000001";
const TWO: &str = "2f00000000000000000000000000000000000000000000000000000000000002";

/// Pipes a preview into `sh`, in the space's folder and with these variables exported.
fn piped(space: &Space, script: &str, environment: &[(&str, &str)]) -> Ran {
    let mut child = Command::new("sh")
        .current_dir(space.folder.path())
        .env_clear()
        .env("PATH", &SANDBOX.path)
        .env("HOME", space.folder.path())
        .env("KUBECONFIG", &space.kubeconfig)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

/// Data and type of each of the three Secrets.
fn made(space: &Space) -> Vec<(Data, Value)> {
    NAMES
        .iter()
        .map(|name| {
            (
                space.data(name),
                space.object(name).unwrap()["type"].clone(),
            )
        })
        .collect()
}

/// What `--apply` makes of the same inputs and tokens in a namespace of its own.
fn made_by_apply(tokens: &Data, environment: &[(&str, &str)], more: &[&str]) -> Vec<(Data, Value)> {
    let space = Space::new();
    let pairs: Vec<_> = tokens
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    space.write_file(&pairs);
    fs::write(space.folder.path().join("inputs.env"), ENV_FILE).unwrap();
    space
        .run_with(environment, &[&["--apply"], more].concat())
        .exits(0);
    made(&space)
}

/// `--apply` has nothing to do, and says so of every Secret.
#[track_caller]
fn has_nothing_to_do(space: &Space, environment: &[(&str, &str)], more: &[&str]) {
    let (versions, writes) = (space.versions(), space.writes());
    let tokens = space.filed();
    let ran = space
        .run_with(environment, &[&["--apply"], more].concat())
        .exits(0);
    for name in NAMES {
        let line = format!("{}/{name}: unchanged", space.namespace);
        assert!(ran.out.contains(&line), "{}", ran.out);
    }
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
    assert_eq!(space.filed(), tokens);
}

const ENV_FILE: &str = "POSTGRES_URL='postgres://u:p$a`s\"s\\\\@db/brain?x=y#z'\n\
                        ANTHROPIC_API_KEY=sk-ant-of-a-file\n\
                        GITHUB_TOKEN=\"gh of a file\"\n\
                        LOG_LEVEL=DEBUG\n";

/// What [`ENV_FILE`] sets.
const ENV_FILE_VALUES: [(&str, &str); 4] = [
    ("POSTGRES_URL", "postgres://u:p$a`s\"s\\\\@db/brain?x=y#z"),
    ("ANTHROPIC_API_KEY", "sk-ant-of-a-file"),
    ("GITHUB_TOKEN", "gh of a file"),
    ("LOG_LEVEL", "DEBUG"),
];

#[test]
fn the_preview_in_a_shell_makes_what_apply_makes() {
    for more in [&[][..], &["--without-api-keys"]] {
        let space = Space::new();
        let preview = space.run_with(&INPUTS, more).exits(0);
        assert!(space.requests().is_empty());
        assert_eq!(space.beside_file(), [""; 0]);

        piped(&space, &preview.out, &INPUTS).exits(0);
        let mode = space.file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(space.beside_file(), [".k8s-tokens"]);
        let tokens = space.filed();
        assert_eq!(space.data(ROUTER), tokens);
        assert!(tokens.values().all(|token| token.len() == 64));
        assert_eq!(made(&space), made_by_apply(&tokens, &INPUTS, more));
        has_nothing_to_do(&space, &INPUTS, more);
    }
}

#[test]
fn the_preview_with_an_env_file_needs_its_variables_exported() {
    let space = Space::new();
    fs::write(space.folder.path().join("inputs.env"), ENV_FILE).unwrap();
    let more = ["--env-file", "inputs.env"];
    let preview = space.run(&more).exits(0);
    for (name, value) in ENV_FILE_VALUES {
        assert!(preview.out.contains(name), "{}", preview.out);
        assert!(!preview.out.contains(value), "{}", preview.out);
    }

    let ran = piped(&space, &preview.out, &[]);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("is not exported"), "{}", ran.err);

    let again = Space::new();
    fs::write(again.folder.path().join("inputs.env"), ENV_FILE).unwrap();
    let preview = again.run(&more).exits(0);
    piped(&again, &preview.out, &ENV_FILE_VALUES).exits(0);
    for (name, value) in ENV_FILE_VALUES {
        let secret = match name {
            "POSTGRES_URL" | "LOG_LEVEL" => EMBEDDINGS,
            _ => AGENTICORE,
        };
        assert_eq!(again.data(secret)[name], value);
    }
    assert_eq!(made(&again), made_by_apply(&again.filed(), &[], &more));
    has_nothing_to_do(&again, &[], &more);
}

/// Secrets and a tokens file as they were made before there was this program.
fn made_the_old_way() -> Space {
    let space = Space::new();
    let of = |key: &str, value: &str| format!("--from-literal={key}={value}");
    let secrets: [(&str, &[(&str, &str)]); 3] = [
        (
            ROUTER,
            &[("KB_ROUTER_TOKEN", ONE), ("EMBEDDINGS_API_KEY", TWO)],
        ),
        (
            EMBEDDINGS,
            &[
                INPUTS[0],
                ("LLM_API_KEY", "sk-old"),
                ("LLM_API_BASE", ""),
                ("LLM_EMBED_MODEL", "text-embedding-ada-002"),
                ("EMBEDDINGS_API_KEYS", TWO),
            ],
        ),
        (AGENTICORE, &[INPUTS[1], ("GITHUB_TOKEN", "")]),
    ];
    for (name, pairs) in secrets {
        let literals: Vec<_> = pairs.iter().map(|(key, value)| of(key, value)).collect();
        let mut arguments = vec!["create", "secret", "generic", name];
        arguments.extend(literals.iter().map(String::as_str));
        space.kubectl(&arguments);
    }
    space.write_file(&[]);
    fs::write(space.file(), old_file()).unwrap();
    space
}

fn old_file() -> String {
    format!(
        "# Generated by local/k8s-bootstrap.sh\n# Source me; do not commit me.\n\
         KB_ROUTER_TOKEN={ONE}\nEMBEDDINGS_API_KEY={TWO}\n"
    )
}

/// The same with the list that the embeddings service reads.
fn with_api_keys(mut made: Vec<(Data, Value)>) -> Vec<(Data, Value)> {
    let added = made[1].0.insert("API_KEYS".into(), TWO.into());
    assert_eq!(added, None);
    made
}

#[test]
fn secrets_made_by_kubectl_are_adopted_without_changing_a_value() {
    for lost in [false, true] {
        let space = made_the_old_way();
        let before = made(&space);
        if lost {
            fs::remove_file(space.file()).unwrap();
            space.run(&["tokens", "recover", "--apply"]).exits(0);
        }
        for environment in [&INPUTS[..], &[]] {
            has_nothing_to_do(&space, environment, &["--without-api-keys"]);
        }
        assert_eq!(space.writes(), [""; 0]);
        assert_eq!(made(&space), before);

        // The list that the service reads is all that is added.
        let line = format!("{EMBEDDINGS}: configured; set API_KEYS (file)");
        let ran = space.bootstrapped().says(&[&line]);
        assert_eq!(ran.out.matches(": unchanged").count(), 3, "{}", ran.out);
        assert_eq!(made(&space), with_api_keys(before));
        has_nothing_to_do(&space, &INPUTS, &[]);
        has_nothing_to_do(&space, &[], &[]);
        assert_eq!(space.filed(), space.data(ROUTER));
        if !lost {
            let text = fs::read_to_string(space.file()).unwrap();
            for line in old_file().lines() {
                assert!(text.lines().any(|found| found == line), "{text}");
            }
        }
    }
}

#[test]
fn update_of_a_secret_made_by_kubectl_needs_no_force() {
    let space = made_the_old_way();
    let managers = &space.object(EMBEDDINGS).unwrap()["metadata"]["managedFields"];
    assert_eq!(managers[0]["manager"], "kubectl-create");
    let mut expected = with_api_keys(made(&space));
    for value in ["sk-new", "sk-newer"] {
        let inputs = [INPUTS[0], INPUTS[1], ("LLM_API_KEY", value)];
        space
            .run_with(&inputs, &["--apply", "--update", "LLM_API_KEY"])
            .exits(0)
            .says(&[&format!("{EMBEDDINGS}: configured; set LLM_API_KEY")]);
        expected[1].0.insert("LLM_API_KEY".into(), value.into());
        assert_eq!(made(&space), expected);
    }
}

#[test]
fn what_kubectl_apply_or_edit_left_is_updated_without_force() {
    for manager in [
        "kubectl",
        "kubectl-client-side-apply",
        "kubectl-edit",
        "before-first-apply",
    ] {
        let space = made_the_old_way();
        space.set_keys(EMBEDDINGS, &[("LLM_API_KEY", "sk-of-a-person")], manager);
        space
            .run_with(
                &[("LLM_API_KEY", "sk-new")],
                &["--apply", "--update", "LLM_API_KEY"],
            )
            .exits(0);
        assert_eq!(space.data(EMBEDDINGS)["LLM_API_KEY"], "sk-new", "{manager}");
    }
}

#[test]
fn diff_and_apply_agree_on_what_happens_to_an_old_file() {
    for more in [&[][..], &["--without-api-keys"]] {
        let pasted = Space::new();
        let preview = pasted.run_with(&INPUTS, more).exits(0);
        piped(&pasted, &preview.out, &INPUTS).exits(0);
        for (space, is_old) in [(pasted, false), (made_the_old_way(), true)] {
            // Without where they were last applied.
            let filed = || {
                let text = fs::read_to_string(space.file()).unwrap();
                let lines = text.lines().filter(|line| !line.contains("last applied"));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let (file, versions) = (filed(), space.versions());
            let diff = space.run_with(&INPUTS, &[&["diff"], more].concat());
            let ran = space
                .run_with(&INPUTS, &[&["--apply"], more].concat())
                .exits(0);
            let changed = filed() != file;
            let says_unchanged = ran.out.contains("local/.k8s-tokens: unchanged");
            assert_eq!(says_unchanged, !changed, "{}", ran.out);
            // The old Secrets get the list that the service reads.
            let is_completed = space.versions() != versions;
            assert_eq!(is_completed, is_old && more.is_empty());
            assert_eq!(
                diff.code,
                i32::from(changed || is_completed),
                "it changed: {changed}; {}",
                diff.out
            );
        }
    }
}
