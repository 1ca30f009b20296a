//! What the program says: `diff`, the JSON documents, and the story on stderr.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use serde_json::{Value, json};
use std::process::Command;

/// A token that nobody else has.
const OTHER: &str = "another-token-of-this-test";

/// A bootstrapped namespace and a file that disagrees with it about `KB_ROUTER_TOKEN`.
fn disagreeing() -> Space {
    let space = Space::new();
    space.bootstrapped();
    let key = space.filed()["EMBEDDINGS_API_KEY"].clone();
    space.write_file(&[("KB_ROUTER_TOKEN", OTHER), ("EMBEDDINGS_API_KEY", &key)]);
    space
}

#[test]
fn diff_of_a_fresh_namespace_shows_everything_and_writes_nothing() {
    let space = Space::new();
    let ran = space.run_with(&INPUTS, &["diff"]).exits(1);
    for key in [
        "+ KB_ROUTER_TOKEN (minted)",
        "+ EMBEDDINGS_API_KEY (minted)",
        "+ POSTGRES_URL (env)",
        "+ LLM_API_KEY (default)",
        "+ LLM_API_BASE (default)",
        "+ LLM_EMBED_MODEL (default)",
        "+ EMBEDDINGS_API_KEYS (minted)",
        "+ API_KEYS (minted)",
        "+ ANTHROPIC_API_KEY (env)",
        "+ GITHUB_TOKEN (default)",
    ] {
        assert!(ran.out.contains(key), "{key} is not in\n{}", ran.out);
    }
    assert_eq!(ran.out.matches("  + ").count(), 10, "{}", ran.out);
    assert_eq!(ran.out.matches(": would be created").count(), 4);
    assert!(!space.folder.path().join("local").exists());
    assert_eq!(space.writes(), [""; 0]);
    assert_eq!(space.versions(), [""; 0]);
}

#[test]
fn diff_tells_by_its_exit_code_whether_apply_would_change_something() {
    const WITHOUT: &str = "--without-api-keys";
    let space = Space::new();
    space.documented();
    let (versions, writes) = (space.versions(), space.writes());
    let file = std::fs::read(space.file()).unwrap();
    let other = [("POSTGRES_URL", "postgres://other"), INPUTS[1]];
    for (inputs, arguments, code, said) in [
        (INPUTS, &["diff", WITHOUT][..], 0, "unchanged"),
        (other, &["diff", WITHOUT], 0, "! POSTGRES_URL"),
        (
            other,
            &["diff", WITHOUT, "--update", "POSTGRES_URL"],
            1,
            "~ POSTGRES_URL (env)",
        ),
        (INPUTS, &["diff"], 1, "+ API_KEYS"),
    ] {
        let ran = space.run_with(&inputs, arguments).exits(code).says(&[said]);
        for (_, value) in inputs {
            assert!(!ran.out.contains(value) && !ran.err.contains(value));
        }
    }
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
    assert_eq!(std::fs::read(space.file()).unwrap(), file);
}

#[test]
fn diff_of_a_disagreement_is_refused_until_a_side_is_preferred() {
    let space = disagreeing();
    let (versions, writes) = (space.versions(), space.writes());
    let file = std::fs::read(space.file()).unwrap();
    for (arguments, said) in [
        (
            &["diff"][..],
            &[
                "refused",
                "KB_ROUTER_TOKEN differs",
                "--prefer cluster",
                "--prefer file",
            ][..],
        ),
        (
            &["diff", "--prefer", "cluster"],
            &["local/.k8s-tokens: would be updated", "= KB_ROUTER_TOKEN"],
        ),
        (
            &["diff", "--prefer", "file"],
            &["would be configured", "~ KB_ROUTER_TOKEN (file)"],
        ),
    ] {
        space.run_with(&INPUTS, arguments).exits(1).says(said);
    }
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
    assert_eq!(std::fs::read(space.file()).unwrap(), file);
}

#[test]
fn apply_leaves_the_tokens_file_alone_where_diff_shows_no_difference() {
    let space = Space::new();
    space.bootstrapped();
    let tokens = space.filed();
    // As the old script left it, without a comment.
    let pairs: Vec<_> = tokens
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    space.write_file(&pairs);
    let file = std::fs::read(space.file()).unwrap();

    let diff = space.run_with(&INPUTS, &["diff"]);
    space.bootstrapped();
    let changed = std::fs::read(space.file()).unwrap() != file;
    assert_eq!(diff.code == 1, changed, "diff: {}", diff.out);
}

/// The sorted names in an object.
fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

/// Panics unless a word is one of those.
#[track_caller]
fn one_of(word: &Value, words: &[&str]) {
    assert!(words.contains(&word.as_str().unwrap()), "{word}");
}

/// Panics unless the document of a plan has exactly the documented form.
#[track_caller]
fn check_form(document: &Value, command: &str) {
    assert_eq!(
        names(document),
        [
            "command",
            "context",
            "error",
            "ok",
            "secrets",
            "server",
            "tokens_file",
            "version"
        ]
    );
    assert_eq!(document["version"], 1);
    assert_eq!(document["command"], command);
    let file = &document["tokens_file"];
    assert_eq!(names(file), ["action", "path"]);
    assert_eq!(file["path"], "local/.k8s-tokens");
    one_of(&file["action"], &["created", "updated", "unchanged"]);
    for secret in document["secrets"].as_array().unwrap() {
        assert_eq!(
            names(secret),
            ["action", "keys", "name", "namespace", "owner", "reason"]
        );
        one_of(&secret["name"], &[ROUTER, EMBEDDINGS, AGENTICORE]);
        let actions = [
            "created",
            "configured",
            "unchanged",
            "skipped",
            "refused",
            "failed",
        ];
        one_of(&secret["action"], &actions);
        for key in secret["keys"].as_array().unwrap() {
            assert_eq!(names(key), ["action", "key", "source"]);
            one_of(&key["action"], &["set", "kept", "adopted", "differs"]);
            let sources = ["minted", "file", "cluster", "env", "default"];
            one_of(&key["source"], &sources);
        }
    }
    check_error(document);
}

/// Panics unless the error of a document has exactly the documented form.
#[track_caller]
fn check_error(document: &Value) {
    let error = &document["error"];
    if error.is_null() {
        return;
    }
    assert_eq!(document["ok"], false);
    assert_eq!(names(error), ["cause", "hint", "message"]);
    assert_ne!(error["message"], "");
    assert_ne!(error["hint"], "");
    assert!(
        error["cause"]
            .as_array()
            .unwrap()
            .iter()
            .all(Value::is_string)
    );
}

fn actions(document: &Value) -> Vec<&str> {
    let secrets = document["secrets"].as_array().unwrap();
    secrets
        .iter()
        .map(|secret| secret["action"].as_str().unwrap())
        .collect()
}

#[test]
fn the_documents_of_preview_diff_and_apply_have_one_form() {
    let space = Space::new();
    let context = space.kubectl(&["config", "current-context"]);
    for (arguments, command, code, file, action) in [
        (&[][..], "preview", 0, "created", "created"),
        (&["diff"], "diff", 1, "created", "created"),
        (&["--apply"], "apply", 0, "created", "created"),
        (&["--apply"], "apply", 0, "unchanged", "unchanged"),
        (&["diff"], "diff", 0, "unchanged", "unchanged"),
    ] {
        let arguments = [arguments, &["-o", "json"]].concat();
        let document = space.run_with(&INPUTS, &arguments).exits(code).json();
        check_form(&document, command);
        assert_eq!(document["ok"], code == 0);
        assert_eq!(document["error"], Value::Null);
        assert_eq!(document["tokens_file"]["action"], file);
        assert_eq!(actions(&document), [action; 3]);
        let server = document["server"].as_str();
        match command {
            "preview" => assert_eq!(server, None),
            _ => assert!(server.unwrap().starts_with("https://127.0.0.1:")),
        }
        if command != "preview" {
            assert_eq!(document["context"], context.trim());
        }
    }
}

#[test]
fn the_document_of_a_refusal_has_the_plan_and_the_error() {
    let space = disagreeing();
    for (arguments, command) in [(["--apply"], "apply"), (["diff"], "diff")] {
        let arguments = [&arguments[..], &["-o", "json"]].concat();
        let document = space.run_with(&INPUTS, &arguments).exits(1).json();
        check_form(&document, command);
        assert_eq!(actions(&document), ["refused", "unchanged", "unchanged"]);
        let reason = document["secrets"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("KB_ROUTER_TOKEN differs"), "{reason}");
        assert_eq!(document["error"]["cause"], json!([reason]));
    }
}

#[test]
fn the_document_of_a_skipped_secret_says_why() {
    let space = Space::new();
    let document = space.run(&["--apply", "-o", "json"]).exits(0).json();
    check_form(&document, "apply");
    assert_eq!(actions(&document), ["created", "skipped", "skipped"]);
    assert_eq!(document["secrets"][1]["reason"], "POSTGRES_URL is not set");
    assert_eq!(document["secrets"][1]["owner"], Value::Null);
}

#[test]
fn the_document_of_a_failure_has_the_error() {
    let mut space = Space::new();
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    space.kubeconfig = space.folder.path().join("kubeconfig");
    std::fs::write(&space.kubeconfig, kubeconfig.to_string()).unwrap();
    for (arguments, command) in [
        (&["--apply"][..], "apply"),
        (&["diff"], "diff"),
        (&["tokens", "recover"], "tokens recover"),
    ] {
        let more = ["-o", "json", "--request-timeout", "300ms"];
        let ran = space.run_with(&INPUTS, &[arguments, &more].concat());
        let document = ran.exits(3).json();
        assert_eq!(document["version"], 1);
        assert_eq!(document["command"], command);
        assert_eq!(document["ok"], false);
        assert!(document["error"].is_object());
        check_error(&document);
    }
    assert!(!space.file().exists());
}

#[test]
fn a_run_says_where_it_writes_before_it_does() {
    let space = Space::new();
    let context = space.kubectl(&["config", "current-context"]);
    let document = space.run(&["diff", "-o", "json"]).exits(1).json();
    let server = document["server"].as_str().unwrap();

    let ran = space.run_with(&INPUTS, &["--apply", "-v"]).exits(0);
    let place = format!("context {} ({server})", context.trim());
    let said = ran.err.find(&place).expect("the place is said");
    assert!(ran.err[said..].starts_with(&format!("{place}, namespace {}\n", space.namespace)));
    assert!(said < ran.err.find("POST ").unwrap(), "{}", ran.err);
    assert!(!ran.out.contains(server));
}

#[test]
fn next_steps_are_told_on_stderr_unless_quiet() {
    let space = Space::new();
    let steps = ["helm install", "curl -fsS", "k8s-bootstrap -n"];
    let ran = space.bootstrapped();
    for step in steps {
        assert!(ran.err.contains(step), "{step}: {}", ran.err);
        assert!(!ran.out.contains(step), "{step}: {}", ran.out);
    }
    let here = format!("-n {}", space.namespace);
    for line in ran.err.lines().filter(|line| line.contains("helm install")) {
        assert!(line.ends_with(&here), "{line}");
    }
    let quiet = space.run_with(&INPUTS, &["--apply", "-q"]).exits(0);
    assert_eq!(quiet.err, "");
    assert_eq!(quiet.out, space.bootstrapped().out);
}

#[test]
fn a_tokens_file_that_git_would_take_is_warned_of() {
    for (steps, warning) in [
        (&[][..], None),
        (&[&["init", "-q"][..]][..], Some(".gitignore")),
        (&[&["init", "-q"], &["ignore"]], None),
        (
            &[&["init", "-q"], &["add", "-f", "local/.k8s-tokens"]],
            Some("git rm --cached local/.k8s-tokens"),
        ),
        (
            &[
                &["init", "-q"],
                &["ignore"],
                &["add", "-f", "local/.k8s-tokens"],
            ],
            Some("git rm --cached local/.k8s-tokens"),
        ),
    ] {
        let space = Space::new();
        for step in steps {
            if step[0] == "ignore" {
                std::fs::write(
                    space.folder.path().join(".gitignore"),
                    "/local/.k8s-tokens*\n",
                )
                .unwrap();
                continue;
            }
            if step[0] == "add" {
                space.write_file(&[("KB_ROUTER_TOKEN", OTHER)]);
            }
            let mut git = Command::new("git");
            git.args(*step).current_dir(&space.folder);
            assert!(git.status().unwrap().success());
        }
        let ran = space.bootstrapped();
        match warning {
            Some(warning) => {
                ran.says(&["warning:", warning, "local/.k8s-tokens"]);
            }
            None => assert!(!ran.err.contains("git "), "{}", ran.err),
        }
    }
}

#[test]
fn tokens_that_come_from_another_server_are_said_first() {
    let space = Space::new();
    space.write_file(&[
        ("KB_ROUTER_TOKEN", OTHER),
        ("EMBEDDINGS_API_KEY", "another-key-of-this-test"),
    ]);
    let tokens = space.filed();
    let comment = "# k8s-bootstrap: last applied to";
    let text = std::fs::read_to_string(space.file()).unwrap();
    let text = format!("{comment} https://other:6443 namespace brain\n{text}");
    std::fs::write(space.file(), text).unwrap();

    let ran = space.run_with(&INPUTS, &["--apply", "-v"]).exits(0);
    let said = ran.err.find("warning: the tokens in").expect("a warning");
    let line = ran.err[said..].lines().next().unwrap();
    assert!(
        line.contains("https://other:6443 (namespace brain)"),
        "{line}"
    );
    assert!(said < ran.err.find("POST ").unwrap(), "{}", ran.err);
    assert_eq!(space.data(ROUTER), tokens);

    let server = space.run(&["diff", "-o", "json"]).json()["server"].clone();
    let place = format!(
        "{comment} {} namespace {}\n",
        server.as_str().unwrap(),
        space.namespace
    );
    let text = std::fs::read_to_string(space.file()).unwrap();
    assert!(text.contains(&place), "the comment names this place");
    assert_eq!(text.matches(comment).count(), 1);
    let again = space.bootstrapped();
    assert!(!again.err.contains("last applied"), "{}", again.err);
}

/// Two homes on one server: their tokens would be the same, and a rotation of one breaks the other.
#[test]
fn tokens_that_come_from_another_namespace_are_said_first() {
    let first = Space::new();
    first.bootstrapped();
    let second = Space::new();
    second.write_file(&[]);
    std::fs::copy(first.file(), second.file()).unwrap();
    let ran = second.run_with(&INPUTS, &["--apply", "-v"]).exits(0);
    let said = ran.err.find("warning: the tokens in").expect("a warning");
    let line = ran.err[said..].lines().next().unwrap();
    let remedy = format!("--tokens-file local/.k8s-tokens.{}", second.namespace);
    assert!(line.contains(&first.namespace), "{line}");
    assert!(line.contains(&remedy), "{line}");
    assert!(said < ran.err.find("POST ").unwrap(), "{}", ran.err);
    let again = second.bootstrapped();
    assert!(!again.err.contains("last applied"), "{}", again.err);
}

#[test]
fn a_tokens_file_that_cannot_be_written_stops_the_run() {
    let space = Space::new();
    for file in ["/proc/nope/.k8s-tokens", "/proc/.k8s-tokens"] {
        space
            .run_with(&INPUTS, &["--apply", "--tokens-file", file])
            .exits(3)
            .says(&["--tokens-file"]);
        assert_eq!(space.writes(), [""; 0]);
        assert_eq!(space.versions(), [""; 0]);
    }
}

#[test]
fn each_request_says_who_sends_it() {
    // Only controllers speak to this namespace too before the log is read.
    let space = Space::without_namespace();
    let make = ["--apply", "--create-namespace"];
    space.run_with(&INPUTS, &make).exits(0);
    space.run_with(&INPUTS, &["diff"]).exits(0);

    let agent = concat!("k8s-bootstrap/", env!("CARGO_PKG_VERSION"));
    let log = std::fs::read_to_string(SANDBOX.folder.join("audit.log")).unwrap();
    let of_ours: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| {
            let reference = &event["objectRef"];
            let names = [&reference["namespace"], &reference["name"]];
            names.iter().any(|name| **name == *space.namespace)
        })
        .collect();
    let (ours, others): (Vec<_>, Vec<_>) = of_ours
        .iter()
        .partition(|event| event["userAgent"] == agent);
    assert!(ours.len() >= 14, "{}", ours.len());
    for event in others {
        let user = event["user"]["username"].as_str().unwrap();
        let of_controller = user.starts_with("system:serviceaccount:kube-system:")
            || ["system:kube-controller-manager", "system:apiserver"].contains(&user);
        assert!(of_controller, "{user}: {}", event["requestURI"]);
    }
}
