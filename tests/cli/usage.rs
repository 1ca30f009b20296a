//! A command line that is not accepted: exit code 2, a remedy, and nothing of what was typed where
//! a secret may have been typed.

use crate::folder::{Folder, PROGRAM, Run, SENTINEL};
use insta::assert_snapshot;
use serde_json::json;

/// Every way to be wrong, with the message.
const WRONG: [(&[&str], &str); 84] = [
    (&["--bogus"], "unknown argument: --bogus"),
    (&["--POSTGRES_URL=s3ntinel"], STRAY),
    (
        &["--postgres-url=s3ntinel"],
        "unknown argument: --postgres-url",
    ),
    (&["-ps3ntinel"], "unknown argument: -p"),
    (&["s3ntinel"], "unknown command"),
    (&["--apply", "S3NTINELs3ntinel"], "unknown command"),
    (&["POSTGRES_URL=s3ntinel"], "unknown command"),
    (&["vrify"], "unknown command"),
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
        "--request-timeout is not a time: 30, 30s, 2m, 1m30s or 0",
    ),
    (
        &["-o", "yaml", "--apply"],
        "-o yaml goes with the previews, with rbac and with externalsecrets",
    ),
    (
        &["-o", "yaml", "diff"],
        "-o yaml goes with the previews, with rbac and with externalsecrets",
    ),
    (&["--show-values"], "--show-values goes with -o yaml"),
    (
        &["--apply", "diff"],
        "an option of the main command stands before another command",
    ),
    (
        &["--fleet-namespace", "a", "diff"],
        "an option of the main command stands before another command",
    ),
    (
        &["--fleet-selector=a", "rbac"],
        "an option of the main command stands before another command",
    ),
    (
        &["--fleet-selector=a", "tokens", "recover", "--apply"],
        "an option of the main command stands before another command",
    ),
    (
        &["--fleet-namespace", "S3NTINEL_s3ntinel"],
        "--fleet-namespace is not the name of a namespace: 1 to 63 lower-case letters, digits and '-', with \
         a letter or digit at both ends (RFC 1123)",
    ),
    (
        &["diff", "--fleet-selector="],
        "--fleet-selector is empty or has a control character",
    ),
    (
        &["tokens", "--fleet-namespace=s3ntinel"],
        "unknown argument: --fleet-namespace",
    ),
    (&["apply=s3ntinel"], "unknown command"),
    (&["--dry-run=s3ntinel"], "unknown argument: --dry-run"),
    (&["diff", "apply"], STRAY),
    (
        &["completions", "s3ntinel"],
        "<SHELL> takes one of: bash, elvish, fish, powershell, zsh",
    ),
    (
        &["rbac", "--service-account", "s3ntinel"],
        "--service-account is not a service account: NAMESPACE:NAME",
    ),
    (&["verify", "s3ntinel"], STRAY),
    (&["--apply", "verify"], BEFORE),
    (
        &["verify", "--values", "s3ntinel"],
        "unknown argument: --values",
    ),
    (&["lint"], "<FILE>... is missing"),
    (
        &["lint", ""],
        "<FILE>... is empty or has a control character",
    ),
    (&["lint", "-", "v.yaml", "-"], "stdin (-) is named twice"),
    (
        &["lint", "v.yaml", "-o", "yaml"],
        "-o yaml goes with the previews, with rbac and with externalsecrets",
    ),
    (&["verify", "--max-age", "s3ntinel"], BAD_AGE),
    (&["verify", "--max-age=-1d"], BAD_AGE),
    (
        &["verify", "--max-overlap", "s3ntinel"],
        "--max-overlap is not an age: 90d, 720h, 1d12h",
    ),
    (
        &["rotate", "--token", "S3NTINEL"],
        "--token takes the name of a token: KB_ROUTER_TOKEN, EMBEDDINGS_API_KEY",
    ),
    (
        &["rotate", "--until", "close"],
        "--until takes one of: open, switch",
    ),
    (
        &["rotate", "--until=s3ntinel"],
        "--until takes one of: open, switch",
    ),
    (
        &["rotate", "--status", "--apply"],
        "--status conflicts with another argument",
    ),
    (
        &["rotate", "--status", "--abort"],
        "--status conflicts with another argument",
    ),
    (
        &["rotate", "--abort", "--immediate"],
        "--abort conflicts with another argument",
    ),
    (
        &["rotate", "--abort", "--until", "open"],
        "--abort conflicts with another argument",
    ),
    (
        &["rotate", "--abort", "--token", "KB_ROUTER_TOKEN"],
        "--abort conflicts with another argument",
    ),
    (
        &["rotate", "--immediate", "--until", "switch"],
        "--immediate conflicts with another argument",
    ),
    (
        &["rotate", "--continue", "--abort"],
        "--continue conflicts with another argument",
    ),
    (&["rotate", "--copy", "s3ntinel"], BAD_COPY),
    (
        &["rotate", "--timeout=s3ntinel"],
        "--timeout is not a time: 30, 30s, 2m, 1m30s or 0",
    ),
    (
        &["rotate", "--reloader-grace="],
        "--reloader-grace is not a time: 30, 30s, 2m, 1m30s or 0",
    ),
    (&["rotate", "s3ntinel"], STRAY),
    (&["--apply", "rotate"], BEFORE),
    (&["--fleet-namespace", "a", "rotate"], BEFORE),
    (
        &["rotate", "-o", "yaml"],
        "-o yaml goes with the previews, with rbac and with externalsecrets",
    ),
    (&["verify", "--copy", "s3ntinel"], BAD_COPY),
    (&["verify", "--copy=brain/S3NTINEL"], BAD_COPY),
    (
        &["verify", "--wait", "s3ntinel"],
        "--wait is not a time: 30, 30s, 2m, 1m30s or 0",
    ),
    (
        &["verify", "--wait="],
        "--wait is not a time: 30, 30s, 2m, 1m30s or 0",
    ),
    (
        &["verify", "-o", "yaml"],
        "-o yaml goes with the previews, with rbac and with externalsecrets",
    ),
    (&["rbac", "diff", "--live"], ONLY_VERIFY),
    (&["rbac", "populate", "--live"], ONLY_VERIFY),
    (
        &["rbac", "populate", "--fleet-namespace=a"],
        "populate reads the home namespace only",
    ),
    (&["populate"], "--prefix is missing"),
    (&["populate", "--prefix", "s3ntinel/"], BAD_PREFIX),
    (&["populate", "--prefix=../s3ntinel"], BAD_PREFIX),
    (
        &["populate", "--prefix=p", "--mount=a b"],
        "--mount is not a path: words of letters, digits, '-', '_', '.' with '/' between",
    ),
    (
        &["populate", "--prefix=p", "--path=s3ntinel"],
        "--path is not ENTRY=PATH",
    ),
    (
        &["populate", "--prefix=p", "--path=other=s3ntinel"],
        "--path does not name an entry: router, embeddings, agenticore",
    ),
    (
        &[
            "populate",
            "--prefix=p",
            "--path=router=a",
            "--path=router=b",
        ],
        "--path names an entry twice",
    ),
    (
        &["populate", "--prefix=p", "--path=router=p/embeddings"],
        "--path puts two entries in one place",
    ),
    (
        &["populate", "--prefix=p", "--apply", "-o", "yaml"],
        "-o yaml goes with the previews, with rbac and with externalsecrets",
    ),
    (&["populate", "--prefix=p", "--show-values"], SHOWS),
    (&["rbac", "--copy=brain/ops"], ONLY_VERIFY),
    (
        &["rbac", "--cluster-store"],
        "--cluster-store goes with rbac verify, rotate, sync and migrate",
    ),
];
const BEFORE: &str = "an option of the main command stands before another command";
const BAD_PREFIX: &str =
    "--prefix is not a path: words of letters, digits, '-', '_', '.' with '/' between";
const SHOWS: &str = "--show-values goes with -o yaml or json, without --apply";
const BAD_AGE: &str = "--max-age is not an age: 90d, 720h, 1d12h";
const BAD_COPY: &str = "--copy is not a Secret in a namespace: NAMESPACE/NAME";
const ONLY_VERIFY: &str = "--live and --copy go with rbac verify and rotate";
const STRAY: &str = "unexpected argument (it may be a secret, so it is not repeated here)";
const BAD_NAMESPACE: &str = "--namespace is not the name of a namespace: 1 to 63 lower-case letters, digits \
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
    error: unknown command
      hint: did you mean tokens?
    ");
    assert_snapshot!(folder.run(&["-o", "yaml", "tokens"]), @"
    exit code 2
    --- stdout
    --- stderr
    error: -o yaml goes with the previews, with rbac and with externalsecrets
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

/// What the hands of kubectl's users type.
#[test]
fn a_habit_gets_the_remedy_for_it() {
    let folder = Folder::new();
    let compare = "without --apply nothing changes; `k8s-bootstrap diff` compares with the cluster";
    let (unknown, no_command) = ("unknown argument: --dry-run", "unknown command");
    for (arguments, message, hint) in [
        (&["apply"] as &[&str], no_command, "did you mean --apply?"),
        (
            &["-n", "brain", "apply"],
            no_command,
            "did you mean --apply?",
        ),
        (&["apply=s3ntinel"], no_command, "did you mean --apply?"),
        (&["help"], no_command, "did you mean --help?"),
        (&["version"], no_command, "did you mean --version?"),
        (&["--dry-run"], unknown, compare),
        (&["--dry-run=client"], unknown, compare),
        (&["--apply", "--dry-run=server"], unknown, compare),
        (&["diff", "--dry-run"], unknown, compare),
        (
            &["verify", "--values", "s3ntinel"],
            "unknown argument: --values",
            "k8s-bootstrap lint FILE...",
        ),
        // Words that only begin like one.
        (&["applies"], no_command, "k8s-bootstrap --help"),
        (&["helper"], no_command, "k8s-bootstrap --help"),
        (
            &["--dry-runs"],
            "unknown argument: --dry-runs",
            "k8s-bootstrap --help",
        ),
    ] {
        let expected = format!("error: {message}\n  hint: {hint}\n");
        assert_eq!(
            folder.run(arguments).check(),
            Run::failed(2, &expected),
            "{arguments:?}"
        );
    }
}

/// The value of an option is no command, whatever it is called.
#[test]
fn the_document_has_the_name_of_the_command_that_was_meant() {
    let folder = Folder::new();
    for (arguments, name) in [
        (&["--bad"] as &[&str], "preview"),
        (&["--apply", "--bad"], "apply"),
        (&["diff", "--bad"], "diff"),
        (&["tokens", "--bad"], "tokens show"),
        (&["tokens", "show", "--bad"], "tokens show"),
        (&["tokens", "recover", "--bad"], "tokens recover"),
        (&["tokens", "recover", "--apply", "--bad"], "tokens recover"),
        (
            &["-n", "brain", "tokens", "recover", "s3ntinel"],
            "tokens recover",
        ),
        (&["verify", "--bad"], "verify"),
        (
            &["--context", "diff", "verify", "--max-age", "s3ntinel"],
            "verify",
        ),
        (&["rotate", "--bad"], "rotate"),
        (&["populate", "--bad"], "populate"),
        (&["migrate", "--bad"], "migrate"),
        (&["sync", "--bad"], "sync"),
        (&["externalsecrets", "--bad"], "externalsecrets"),
        (&["rbac", "--bad"], "rbac"),
        (&["completions", "s3ntinel"], "completions"),
        (&["man", "--bad"], "man"),
        (&["-n", "diff", "--bad"], "preview"),
        (&["--namespace", "diff", "--apply", "--bad"], "apply"),
        (&["--context", "rbac", "tokens", "--bad"], "tokens show"),
        (
            &["--tokens-file", "recover", "tokens", "--bad"],
            "tokens show",
        ),
        (&["--fleet-namespace", "man", "--bad"], "preview"),
        (&["--fleet-selector", "man", "--bad"], "preview"),
        (&["--env-file", "--apply", "--bad"], "preview"),
    ] {
        let run = folder.run(&[arguments, &["-o", "json"]].concat()).check();
        assert_eq!(run.json()["command"], name, "{arguments:?}");
        assert_eq!(run.code, 2);
    }
}

/// The first word says which command it is; those behind it are its own.
#[test]
fn the_document_has_the_name_of_the_first_command() {
    let folder = Folder::new();
    for (arguments, name) in [
        (&["rbac", "diff", "--bad"] as &[&str], "rbac"),
        (&["tokens", "recover", "man"], "tokens recover"),
        (&["man", "diff"], "man"),
    ] {
        let run = folder.run(&[arguments, &["-o", "json"]].concat()).check();
        assert_eq!(run.json()["command"], name, "{arguments:?}");
        assert_eq!(run.code, 2);
    }
}

/// `local/k8s-bootstrap.sh` builds and runs a program that is not on the PATH.
#[test]
fn a_hint_has_the_name_that_people_use() {
    let folder = Folder::new();
    let named = |name: &str, arguments: &[&str]| {
        let mut command = folder.command(PROGRAM);
        folder.end(command.env("K8S_BOOTSTRAP_NAME", name).args(arguments))
    };
    for (name, quoted) in [
        ("local/k8s-bootstrap.sh", "local/k8s-bootstrap.sh"),
        ("my tools/boot.sh", "'my tools/boot.sh'"),
    ] {
        let expected = format!(
            "error: there is no tokens file local/.k8s-tokens\n  \
             hint: mint with `{quoted} -n brain --apply`, or rebuild it with \
             `{quoted} -n brain tokens recover --apply`\n"
        );
        let run = named(name, &["tokens", "-n", "brain"]);
        assert_eq!(run, Run::failed(3, &expected));
        let preview = named(name, &["--without-api-keys"]);
        let line = preview.out.lines().nth(3);
        let expected = format!("#   {quoted} -n default --apply --without-api-keys");
        assert_eq!(line, Some(expected.as_str()));
    }
}

/// The same where the command line is not accepted.
#[test]
fn a_hint_about_the_command_line_has_the_name_that_people_use() {
    let folder = Folder::new();
    for (arguments, hint) in [
        (&["--bogus"] as &[&str], "local/boot.sh --help"),
        (
            &["--dry-run"],
            "without --apply nothing changes; `local/boot.sh diff` compares with the cluster",
        ),
        (
            &["--show-values"],
            "add -o yaml; `local/boot.sh tokens` prints the tokens",
        ),
    ] {
        let mut command = folder.command(PROGRAM);
        command.env("K8S_BOOTSTRAP_NAME", "local/boot.sh");
        let run = folder.end(command.args(arguments)).check();
        let told = run.err.split_once("\n  hint: ").unwrap().1.trim_end();
        assert_eq!(told, hint, "{arguments:?}");
    }
}

/// Names that the API server does not take (RFC 1123).
#[test]
fn a_service_account_has_the_name_of_one() {
    let folder = Folder::new();
    for account in [
        "ci:", ":d", "ci", "ci:-d", "ci:d-", "ci:.", "ci:a..b", "ci:D", "ci:a:b", "CI:d",
    ] {
        let run = folder.run(&["rbac", "--service-account", account]);
        let expected = "error: --service-account is not a service account: NAMESPACE:NAME\n  \
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
        let run = folder.end(folder.command(PROGRAM).args(&arguments)).check();
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
