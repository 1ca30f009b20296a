//! A tokens file that cannot be used: exit code 3, a remedy, none of its content, and it stays.

use crate::folder::{Folder, PROGRAM, Run, TOKENS, make_fifo};
use std::os::unix::fs::{chown, symlink};

/// Each command that reads the file.
const COMMANDS: [&[&str]; 5] = [
    &[],
    &["tokens"],
    &["diff"],
    &["--apply"],
    &["tokens", "recover", "--apply"],
];
const REMEDY: &str = "fix that line: each is KEY=value, KEY=\"value\", KEY='value' or a comment";

/// Runs every command on the file and asserts that each ends like this and changes nothing.
#[track_caller]
fn assert_unusable(folder: &Folder, file: &str, expected: &str) {
    let before = folder.everything();
    for command in COMMANDS {
        let run = folder
            .run(&[command, &["--tokens-file", file]].concat())
            .check();
        assert_eq!(run, Run::failed(3, expected), "{command:?}");
    }
    assert_eq!(folder.everything(), before);
}

#[test]
fn a_folder() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("tokens")).unwrap();
    assert_unusable(
        &folder,
        "tokens",
        "error: the tokens file tokens is not a regular file\n  \
         hint: move tokens away, or name another file with --tokens-file\n",
    );
}

#[test]
fn a_fifo_does_not_hang() {
    let folder = Folder::new();
    make_fifo(&folder.path("tokens"));
    assert_unusable(
        &folder,
        "tokens",
        "error: the tokens file tokens is not a regular file\n  \
         hint: move tokens away, or name another file with --tokens-file\n",
    );
}

#[test]
fn a_symbolic_link() {
    let folder = Folder::with_tokens();
    for (name, target) in [("good", "local/.k8s-tokens"), ("dangling", "absent")] {
        symlink(folder.path(target), folder.path(name)).unwrap();
        let expected = format!(
            "error: the tokens file {name} is a symbolic link\n  \
             hint: replace {name} with the file itself, or name that file with --tokens-file\n"
        );
        assert_unusable(&folder, name, &expected);
    }
}

#[test]
fn a_path_through_a_file() {
    let folder = Folder::new();
    folder.write("file", "s3ntinel");
    let before = folder.everything();
    for command in COMMANDS {
        let run = folder
            .run(&[command, &["--tokens-file", "file/tokens"]].concat())
            .check();
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{command:?}");
        assert!(run.err.contains("Not a directory (os error 20)"), "{run}");
    }
    assert_eq!(folder.everything(), before);
}

#[test]
fn somebody_elses_file() {
    let folder = Folder::with_tokens();
    // Only root can give a file away; anybody else finds one of root's.
    let file = match rustix::process::geteuid().is_root() {
        true => {
            chown(folder.path("local/.k8s-tokens"), Some(12345), None).unwrap();
            "local/.k8s-tokens"
        }
        false => "/etc/passwd",
    };
    let expected = format!(
        "error: the tokens file {file} belongs to another user\n  \
         hint: if you trust what is in it, make it yours: chown \"$(id -u)\" {file}\n"
    );
    assert_unusable(&folder, file, &expected);
}

#[test]
fn a_file_that_is_too_large_or_no_text() {
    let folder = Folder::new();
    let fits = format!("KB_ROUTER_TOKEN={}\n", TOKENS[0].1);
    folder.write(
        "fits",
        format!("{fits}{}", "#".repeat(64 * 1024 - fits.len())),
    );
    let run = folder.run(&["--tokens-file", "fits"]).check();
    assert_eq!((run.code, run.err.as_str()), (0, ""));

    folder.write(
        "large",
        format!("{fits}{}", "#".repeat(64 * 1024 - fits.len() + 1)),
    );
    assert_unusable(
        &folder,
        "large",
        "error: the tokens file large is larger than 64 KiB\n  \
         hint: a tokens file holds two lines: is this the right one?\n",
    );
    folder.write("binary", b"KB_ROUTER_TOKEN=s3ntinel\xff\n");
    assert_unusable(
        &folder,
        "binary",
        "error: the tokens file binary is not UTF-8\n  \
         hint: a tokens file holds plain text: is this the right one?\n",
    );
}

#[test]
fn a_bad_line_is_told_by_its_number() {
    let active = "has '$', '`' or '\\', which a shell would act on: put the value in single quotes";
    let needs_quotes = "has a character that needs quotes: put the value in single quotes";
    let odd = "KB_ROUTER_TOKEN has white space or a character outside A-Z a-z 0-9 . _ ~ + / = -";
    let (short, long) = (
        "KB_ROUTER_TOKEN is shorter than 16 characters",
        "EMBEDDINGS_API_KEY is longer than 512 characters",
    );
    let too_long = format!("EMBEDDINGS_API_KEY={}", "s3ntinel".repeat(65));
    for (line, problem) in [
        ("KB_ROUTER_TOKEN=\"s3ntinel-$(touch planted)\"", active),
        (
            "KB_ROUTER_TOKEN=$(touch planted)",
            "has text after the value",
        ),
        ("OTHER=\"s3ntinel`touch planted`\"", active),
        ("OTHER=s3ntinel$HOME", active),
        ("OTHER=s3ntinel\\x", active),
        ("OTHER=s3ntinel;touch", needs_quotes),
        (
            "KB_ROUTER_TOKEN=\"s3ntinel-0123456789\";touch planted",
            "has text after the value",
        ),
        (
            "KB_ROUTER_TOKEN=\"s3ntinel-0123456789\" touch planted",
            "has text after the value",
        ),
        ("OTHER=s3ntinel&", needs_quotes),
        ("OTHER=s3ntinel*", needs_quotes),
        ("OTHER=~s3ntinel", needs_quotes),
        ("OTHER='s3ntinel", "has a quote that is not closed"),
        ("touch s3ntinel", "is neither KEY=value nor a comment"),
        ("s3ntinel x=1", "has no variable name directly before '='"),
        (
            "OTHER=s3ntinel\r",
            "has a control character (a Windows line ending?)",
        ),
        ("KB_ROUTER_TOKEN=s3ntinel-short", short),
        ("KB_ROUTER_TOKEN='s3ntinel with spaces'", odd),
        ("KB_ROUTER_TOKEN='s3ntinel-$HOME-and-more'", odd),
        ("KB_ROUTER_TOKEN='s3ntinel,s3ntinel,s3ntinel'", odd),
        (&too_long, long),
    ] {
        let folder = Folder::new();
        folder.write("tokens", format!("# tokens\n\n{line}\n"));
        let expected = format!(
            "error: the tokens file tokens has a bad line: line 3: {problem}\n  hint: {REMEDY}\n"
        );
        assert_unusable(&folder, "tokens", &expected);
        assert!(!folder.path("planted").exists());
    }
}

#[test]
fn a_token_that_is_set_twice() {
    let folder = Folder::new();
    let [(name, value), _] = TOKENS;
    folder.write("tokens", format!("{name}={value}\n{name}='{value}'\n"));
    let expected = format!(
        "error: the tokens file tokens has a bad line: line 2: {name} is set a second time\n  \
         hint: {REMEDY}\n"
    );
    assert_unusable(&folder, "tokens", &expected);
}

#[test]
fn json_is_one_document_with_the_remedy() {
    let folder = Folder::new();
    folder.write("tokens", "s3ntinel\n");
    for (command, name) in
        COMMANDS
            .into_iter()
            .zip(["preview", "tokens show", "diff", "apply", "tokens recover"])
    {
        let arguments = [command, &["--tokens-file", "tokens", "-o", "json"]].concat();
        let run = folder.run(&arguments).check();
        let document = run.json();
        assert_eq!(run.code, 3);
        assert_eq!(
            document,
            serde_json::json!({
                "version": 1, "command": name, "ok": false,
                "error": {
                    "message": "the tokens file tokens has a bad line: line 1: is neither \
                                KEY=value nor a comment",
                    "cause": [],
                    "hint": REMEDY,
                },
            })
        );
    }
}

#[test]
fn a_loose_mode_is_told_by_what_only_reads_and_left_alone() {
    let folder = Folder::with_tokens();
    for mode in [0o644, 0o640, 0o602] {
        folder.set_mode("local/.k8s-tokens", mode);
        let before = folder.everything();
        let run = folder.run(&[]).check();
        assert_eq!(run.code, 0);
        assert_eq!(
            run.err,
            "warning: others can read local/.k8s-tokens; --apply tightens its mode\n"
        );
        let run = folder.run(&["tokens", "-q"]);
        assert_eq!(
            (run.code, run.err.as_str()),
            (
                0,
                "warning: others can read local/.k8s-tokens: chmod 600 local/.k8s-tokens\n"
            )
        );
        assert_eq!(folder.everything(), before);
    }
    folder.set_mode("local/.k8s-tokens", 0o400);
    assert_eq!(folder.run(&[]).err, "");
}

#[test]
fn a_loose_mode_is_tightened_by_what_writes() {
    for command in [&["--apply"] as &[&str], &["tokens", "recover", "--apply"]] {
        let folder = Folder::with_tokens();
        folder.set_mode("local/.k8s-tokens", 0o644);
        let text = folder.read("local/.k8s-tokens");
        let run = folder.run(command).check();
        let warning = "warning: others could read local/.k8s-tokens: its mode is 0600 now; \
                       anyone who read it before still has the tokens\n";
        assert!(run.code == 3 && run.err.starts_with(warning), "{run}");
        assert_eq!(folder.mode("local/.k8s-tokens"), 0o600);
        assert_eq!(folder.read("local/.k8s-tokens"), text);
    }
}

#[test]
fn what_a_killed_run_left_behind_is_removed_and_nothing_else() {
    let folder = Folder::with_tokens();
    for name in ["Ab3dE9", "000000", "zzzzzz"] {
        folder.write(
            &format!("local/.k8s-tokens.k8s-bootstrap-{name}.tmp"),
            "s3ntinel",
        );
    }
    let others = [
        ".k8s-tokens.Ab3dE9.tmp",
        ".k8s-tokens.abc.tmp",
        ".k8s-tokens.bak",
        ".k8s-tokens.k8s-bootstrap-.tmp",
        ".k8s-tokens.k8s-bootstrap-Ab3d-9.tmp",
        ".k8s-tokens.k8s-bootstrap-Ab3dE9",
        ".k8s-tokens.k8s-bootstrap-Ab3dE9.tmp.gz",
        ".k8s-tokens.k8s-bootstrap-Ab3dE9x.tmp",
        ".k8s-tokens.k8s-bootstrap-Ab3d\u{e9}.tmp",
        ".k8s-tokens.k8s-bootstrap-abc.tmp",
        "k8s-tokens.k8s-bootstrap-Ab3dE9.tmp",
        "other.k8s-bootstrap-Ab3dE9.tmp",
        "other.tmp",
    ];
    for name in others {
        folder.write(&format!("local/{name}"), "");
    }
    // Of the right name, and no file.
    std::fs::create_dir(folder.path("local/.k8s-tokens.k8s-bootstrap-Folder.tmp")).unwrap();
    let link = folder.path("local/.k8s-tokens.k8s-bootstrap-Linked.tmp");
    symlink(folder.path("local/other.tmp"), link).unwrap();
    let ours = [
        ".k8s-tokens",
        ".k8s-tokens.k8s-bootstrap-Folder.tmp",
        ".k8s-tokens.k8s-bootstrap-Linked.tmp",
    ];
    let mut expected: Vec<_> = others
        .iter()
        .chain(&ours)
        .map(|name| format!("local/{name}"))
        .chain(["local".to_owned()])
        .collect();
    expected.sort();
    let sorted = |folder: &Folder| {
        let mut names = folder.names();
        names.sort();
        names
    };
    // What only reads tidies nothing away.
    let before = folder.everything();
    folder.run(&["diff"]).check();
    assert_eq!(folder.everything(), before);
    for command in [&["--apply"] as &[&str], &["tokens", "recover", "--apply"]] {
        let run = folder.run(command).check();
        assert_eq!((run.code, run.out.as_str()), (3, ""));
        assert_eq!(sorted(&folder), expected);
    }
}

/// What would be its temporary files may be anybody's.
#[test]
fn a_path_without_a_file_name_is_refused_and_nothing_is_removed() {
    let folder = Folder::new();
    for place in ["", "sub/"] {
        for name in [".k8s-bootstrap-Ab3dE9.tmp", ".Ab3dE9.tmp", "Ab3dE9.tmp"] {
            folder.write(&format!("{place}{name}"), "");
        }
    }
    for path in ["..", ".", "/", "sub/..", "sub/../.."] {
        let expected = format!(
            "error: the tokens file {path} has no file name\n  \
             hint: name a file with --tokens-file, not a folder\n"
        );
        assert_unusable(&folder, path, &expected);
    }
}

/// The folder is locked while a run that may write is at work.
#[test]
fn a_second_run_waits_and_says_so() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;
    let folder = Folder::with_tokens();
    let lock = std::fs::File::open(folder.path("local")).unwrap();
    lock.lock().unwrap();
    let mut child = folder
        .command(PROGRAM)
        .arg("--apply")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    told.read_line(&mut first).unwrap();
    assert_eq!(
        first,
        "waiting for another run that uses local/.k8s-tokens\n"
    );
    // What only reads does not wait.
    assert_eq!(folder.run(&["tokens"]).code, 0);
    drop(lock);
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(
        rest.starts_with("error: cannot read the kubeconfig"),
        "{rest}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

/// A run holds tokens in its memory, which a core file would keep.
#[test]
fn there_are_no_core_files() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let folder = Folder::with_tokens();
    let lock = std::fs::File::open(folder.path("local")).unwrap();
    lock.lock().unwrap();
    // With the largest limit that is allowed; exec keeps the process.
    let start = r#"ulimit -S -c "$(ulimit -H -c)"; exec "$PROGRAM" --apply"#;
    let mut child = folder
        .command("sh")
        .env("PROGRAM", PROGRAM)
        .args(["-c", start])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut told)
        .unwrap();
    assert!(told.starts_with("waiting for another run"), "{told}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words, ["0", "0", "bytes"]);
    drop(lock);
    child.wait().unwrap();
}
