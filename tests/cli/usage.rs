//! A command line that is not accepted: exit code 2, a remedy, and nothing of what was typed where
//! a secret may have been typed.

use crate::folder::{Folder, Run, SENTINEL};
use insta::assert_snapshot;
use serde_json::json;

/// Every way to be wrong, with the message.
const WRONG: [(&[&str], &str); 28] = [
    (&["--bogus"], "unknown argument: --bogus"),
    (&["--POSTGRES_URL=s3ntinel"], STRAY),
    (
        &["--postgres-url=s3ntinel"],
        "unknown argument: --postgres-url",
    ),
    (&["-ps3ntinel"], "unknown argument: -p"),
    (&["s3ntinel"], "there is no such command"),
    (&["--apply", "S3NTINELs3ntinel"], "there is no such command"),
    (&["POSTGRES_URL=s3ntinel"], "there is no such command"),
    (&["vrify"], "there is no such command"),
    (&["diff", "s3ntinel"], STRAY),
    (&["tokens", "recover", "s3ntinel"], STRAY),
    (&["--apply=s3ntinel"], "--apply takes no value"),
    (&["--apply", "--apply"], "--apply is given twice"),
    (&["-n", "S3NTINEL_s3ntinel"], BAD_NAMESPACE),
    (&["-n", ""], BAD_NAMESPACE),
    (&["--namespace=-s3ntinel"], BAD_NAMESPACE),
    (&["--update", "NOPE"], UPDATE),
    (&["--update", "POSTGRES_URL=s3ntinel"], UPDATE),
    (&["--update", "KB_ROUTER_TOKEN"], UPDATE),
    (
        &["--update", "POSTGRES_URL"],
        "--update POSTGRES_URL: POSTGRES_URL has no value",
    ),
    (
        &["diff", "--update", "GITHUB_TOKEN"],
        "--update GITHUB_TOKEN: GITHUB_TOKEN has no value",
    ),
    (
        &["--prefer", "s3ntinel"],
        "--prefer takes one of: cluster, file",
    ),
    (
        &["--request-timeout", "s3ntinel"],
        "--request-timeout is no time: 30, 30s, 2m, 1m30s or 0",
    ),
    (
        &["-o", "yaml", "--apply"],
        "-o yaml goes with the preview and with rbac",
    ),
    (
        &["-o", "yaml", "diff"],
        "-o yaml goes with the preview and with rbac",
    ),
    (&["--show-values"], "--show-values goes with -o yaml"),
    (
        &["--apply", "diff"],
        "an option of the main command stands before another command",
    ),
    (
        &["completions", "s3ntinel"],
        "<SHELL> takes one of: bash, elvish, fish, powershell, zsh",
    ),
    (
        &["rbac", "--service-account", "s3ntinel"],
        "--service-account is no service account: NAMESPACE:NAME",
    ),
];
const STRAY: &str =
    "there is an argument where none belongs (it may be a secret, so it is not repeated here)";
const BAD_NAMESPACE: &str = "--namespace is no namespace name: 1 to 63 lower-case letters, digits \
                             and '-', with a letter or digit at both ends (RFC 1123)";
const UPDATE: &str = "--update takes names of inputs, without values: POSTGRES_URL, LLM_API_KEY, \
                      LLM_API_BASE, LLM_EMBED_MODEL, LOG_LEVEL, ANTHROPIC_API_KEY, GITHUB_TOKEN";

#[test]
fn each_mistake_is_named_and_no_value_repeated() {
    let folder = Folder::new();
    for (arguments, message) in WRONG {
        let run = folder.run(arguments).check();
        assert!(!run.shows("S3NTINEL"), "{run}");
        let first = run.err.split("\n  hint: ").next().unwrap();
        let found = (run.code, run.out.as_str(), first);
        let expected = format!("error: {message}");
        assert_eq!(found, (2, "", expected.trim_end()), "{arguments:?}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn json_says_the_same_in_one_document() {
    let folder = Folder::new();
    for (arguments, message) in WRONG {
        if arguments.contains(&"-o") || arguments.contains(&"--show-values") {
            continue;
        }
        let told = folder.run(arguments);
        let hint = told.err.split_once("\n  hint: ").unwrap().1.trim_end();
        for json in [&["-o", "json"] as &[&str], &["-ojson"], &["--output=json"]] {
            let run = folder.run(&[json, arguments].concat()).check();
            let document = run.json();
            let error = json!({"message": message, "cause": [], "hint": hint});
            assert_eq!(document["error"], error, "{arguments:?}");
            assert_eq!(
                (&document["version"], &document["ok"]),
                (&json!(1), &json!(false))
            );
            assert!(document["command"].is_string(), "{run}");
            assert_eq!((run.code, &run.err), (2, &told.err), "{arguments:?}");
        }
    }
}

#[test]
fn json_is_honoured_among_bundled_flags() {
    let folder = Folder::new();
    for json in [&["-qo", "json"] as &[&str], &["-qojson"], &["-vo=json"]] {
        let run = folder.run(&[json, &["--bogus"]].concat());
        assert_eq!(
            run.json()["error"]["message"],
            "unknown argument: --bogus",
            "{json:?}"
        );
        assert_eq!(run.code, 2);
    }
}

#[test]
fn json_is_honoured_behind_the_command_too() {
    let folder = Folder::new();
    for arguments in [
        &["diff", "--bogus", "-o", "json"] as &[&str],
        &["--apply", "diff", "-ojson"],
    ] {
        let run = folder.run(arguments).check();
        assert_eq!(
            (run.code, &run.json()["ok"]),
            (2, &json!(false)),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_remedies_are_commands_and_names() {
    let folder = Folder::new();
    assert_snapshot!(folder.run(&["--aply"]), @"
    exit code 2
    --- stdout
    --- stderr
    error: unknown argument: --aply
      hint: did you mean --apply?
    ");
    assert_snapshot!(folder.run(&["tokns"]), @"
    exit code 2
    --- stdout
    --- stderr
    error: there is no such command
      hint: did you mean tokens?
    ");
    assert_snapshot!(folder.run(&["-o", "yaml", "tokens"]), @"
    exit code 2
    --- stdout
    --- stderr
    error: -o yaml goes with the preview and with rbac
      hint: leave it out, or use -o json
    ");
    assert_snapshot!(folder.run(&["--show-values", "--apply"]), @"
    exit code 2
    --- stdout
    --- stderr
    error: --show-values goes with -o yaml
      hint: add -o yaml; `k8s-bootstrap tokens` prints the tokens
    ");
    assert_snapshot!(folder.run(&["--update", "GITHUB_TOKEN"]), @"
    exit code 2
    --- stdout
    --- stderr
    error: --update GITHUB_TOKEN: GITHUB_TOKEN has no value
      hint: export GITHUB_TOKEN, or set it in the file of --env-file; an empty value never replaces a live one
    ");
}

/// Names that the API server does not take (RFC 1123).
#[test]
fn a_service_account_has_the_name_of_one() {
    let folder = Folder::new();
    for account in [
        "ci:", ":d", "ci", "ci:-d", "ci:d-", "ci:.", "ci:a..b", "ci:D", "ci:a:b", "CI:d",
    ] {
        let run = folder.run(&["rbac", "--service-account", account]);
        let expected = "error: --service-account is no service account: NAMESPACE:NAME\n  \
                        hint: k8s-bootstrap --help\n";
        assert_eq!(run, Run::failed(2, expected), "{account}");
    }
    let run = folder.run(&["rbac", "--service-account=ci:a.b-c", "-q"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

/// `LOG_LEVEL` is taken from an env-file only, so exporting it does not help.
#[test]
fn the_remedy_for_log_level_is_one_that_works() {
    let run = Folder::new().run(&["--update", "LOG_LEVEL"]).check();
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(
        run.err.contains("--env-file") && !run.err.contains("export LOG_LEVEL"),
        "{run}"
    );
}

#[test]
fn an_argument_that_is_not_utf_8_is_not_repeated() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let odd = std::ffi::OsStr::from_bytes(b"s3ntinel\xff");
    for arguments in [
        vec![odd],
        vec!["-n".as_ref(), odd],
        vec!["--update".as_ref(), odd],
    ] {
        let run = folder
            .end(folder.command(crate::folder::PROGRAM).args(&arguments))
            .check();
        assert_eq!(
            (run.code, run.out.as_str()),
            (2, ""),
            "{arguments:?}\n{run}"
        );
    }
}

#[test]
fn a_run_that_is_not_understood_writes_nothing() {
    let folder = Folder::with_tokens();
    let before = folder.everything();
    for arguments in [
        &["--apply", SENTINEL] as &[&str],
        &["--apply", "--update", "NOPE"],
    ] {
        let run: Run = folder.run(arguments).check();
        assert_eq!(run.code, 2);
    }
    assert_eq!(folder.everything(), before);
}
