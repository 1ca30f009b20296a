//! A command line that is not accepted: exit code 2, a remedy, and nothing of what was typed where
//! a secret may have been typed.

use crate::folder::{Folder, PROGRAM, Run, SENTINEL};
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
