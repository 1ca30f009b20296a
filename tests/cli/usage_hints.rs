//! The hints for a command line that is not accepted: commands, and names that people use.

use crate::folder::{Folder, PROGRAM, Run};
use insta::assert_snapshot;

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
