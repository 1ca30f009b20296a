//! Inputs from the environment, an env-file and stdin: which one counts, and what is refused.

use crate::folder::{Folder, PROGRAM, Run, TOKENS, make_fifo};
use base64::{Engine, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Shows the value that is planned for a key.
fn planned(run: &Run, key: &str) -> Option<String> {
    let prefix = format!("  {key}: ");
    let encoded = run
        .out
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))?;
    let bytes = STANDARD.decode(encoded.trim_matches('"')).ok()?;
    Some(String::from_utf8(bytes).unwrap())
}

const SHOW: [&str; 3] = ["-o", "yaml", "--show-values"];

#[test]
fn a_malformed_value_of_the_environment_is_named_and_not_shown() {
    let folder = Folder::new();
    for (value, problem) in [
        ("s3ntinel\nmore", "has a line break"),
        ("s3ntinel\n", "has a line break"),
        ("s3ntinel\r", "has a line break"),
        (" s3ntinel", "begins or ends with white space"),
        ("s3ntinel\t", "begins or ends with white space"),
        ("s3ntinel\u{a0}", "begins or ends with white space"),
        ("<s3ntinel>", "is a placeholder"),
        (
            "\"s3ntinel\"",
            "is in quotes, which would be part of the value",
        ),
        (
            "op://s3ntinel",
            "is a reference or an encrypted value, which nothing would resolve",
        ),
    ] {
        for arguments in [&[] as &[&str], &["--apply"], &["diff"]] {
            let mut command = folder.command(PROGRAM);
            let run = folder
                .end(command.env("LLM_API_KEY", value).args(arguments))
                .check();
            let expected = format!(
                "error: LLM_API_KEY from the environment {problem}\n  \
                 hint: set LLM_API_KEY to its real value, in one line, or unset it\n"
            );
            assert_eq!(run, Run::failed(2, &expected), "{value:?} {arguments:?}");
        }
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_value_that_is_not_utf_8_is_refused() {
    let folder = Folder::new();
    let odd = OsStr::from_bytes(b"s3ntinel\xff");
    let run = folder
        .end(folder.command(PROGRAM).env("POSTGRES_URL", odd))
        .check();
    assert_snapshot!(run, @"
    exit code 2
    --- stdout
    --- stderr
    error: POSTGRES_URL from the environment is not UTF-8
      hint: set POSTGRES_URL to plain text
    ");
}

#[test]
fn what_the_environment_has_for_other_programs_is_ignored() {
    let folder = Folder::new();
    let plain = folder.run(&[]);
    for (name, value) in [
        ("LOG_LEVEL", OsStr::new(" s3ntinel\n")),
        ("LOG_LEVEL", OsStr::from_bytes(b"\xff")),
        ("KB_ROUTER_TOKEN", OsStr::new("s3ntinel")),
        ("OTHER", OsStr::from_bytes(b"\xff")),
    ] {
        let run = folder.end(folder.command(PROGRAM).env(name, value));
        assert_eq!(run, plain, "{name}={value:?}");
    }
}

#[test]
fn the_env_file_beats_the_environment_and_an_empty_value_is_none() {
    let folder = Folder::new();
    folder.write(
        "inputs.env",
        "# inputs\n\nexport POSTGRES_URL='host=s3ntinel password=$file'\nLLM_API_KEY=\"s3ntinel file\" # why\n\
         ANTHROPIC_API_KEY=\nLOG_LEVEL=DEBUG\nLLM_API_BASE=https://h/v1?a=b&c=d;e\n",
    );
    let arguments = [&SHOW as &[&str], &["--env-file", "inputs.env"]].concat();
    let run = folder.run_with_inputs(&arguments);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    for (key, value) in [
        ("POSTGRES_URL", "host=s3ntinel password=$file"),
        ("LLM_API_KEY", "s3ntinel file"),
        ("LLM_API_BASE", "https://h/v1?a=b&c=d;e"),
        ("LLM_EMBED_MODEL", "s3ntinel-model"),
        ("LOG_LEVEL", "DEBUG"),
    ] {
        assert_eq!(planned(&run, key).as_deref(), Some(value), "{key}");
    }
    assert!(
        run.out
            .contains("# agenticore-secrets: skipped, ANTHROPIC_API_KEY is not set\n")
    );
}

/// Some editors put a byte order mark before the text.
#[test]
fn a_byte_order_mark_is_no_part_of_the_first_name() {
    let folder = Folder::new();
    let arguments = [&SHOW as &[&str], &["--env-file", "inputs.env"]].concat();
    folder.write("inputs.env", "\u{feff}POSTGRES_URL=host=s3ntinel-file\n");
    let run = folder.run(&arguments);
    assert_eq!(
        planned(&run, "POSTGRES_URL").as_deref(),
        Some("host=s3ntinel-file")
    );
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    // Only there, and only one.
    for text in ["A=b\n\u{feff}C=d\n", "\u{feff}\u{feff}A=b\n"] {
        folder.write("inputs.env", text);
        let run = folder.run(&arguments).check();
        assert!(
            run.err.contains("has no variable name directly before '='"),
            "{run}"
        );
        assert_eq!((run.code, run.out.as_str()), (2, ""));
    }
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let folder = Folder::new();
    let empty = [
        ("POSTGRES_URL", ""),
        ("ANTHROPIC_API_KEY", ""),
        ("LLM_EMBED_MODEL", ""),
    ];
    let run = folder.end(folder.command(PROGRAM).envs(empty));
    assert_eq!(run, folder.run(&[]));
}

#[test]
fn tokens_outside_the_tokens_file_are_ignored() {
    let folder = Folder::new();
    folder.write(
        "inputs.env",
        TOKENS.map(|(k, v)| format!("{k}={v}\n")).concat(),
    );
    let arguments = [&SHOW as &[&str], &["--env-file", "inputs.env"]].concat();
    let mut command = folder.command(PROGRAM);
    let run = folder.end(command.envs(TOKENS).args(&arguments)).check();
    assert_eq!(run, folder.run(&SHOW));
    let run = folder
        .end(folder.command(PROGRAM).envs(TOKENS).arg("tokens"))
        .check();
    assert_eq!((run.code, run.out.as_str()), (3, ""));
}

#[test]
fn stdin_is_an_env_file() {
    let folder = Folder::new();
    let mut command = folder.command(PROGRAM);
    command.args(SHOW).args(["--env-file", "-"]);
    let run = folder.end_with_input(&mut command, "POSTGRES_URL=host=s3ntinel-stdin");
    assert_eq!(
        planned(&run, "POSTGRES_URL").as_deref(),
        Some("host=s3ntinel-stdin")
    );
    assert_eq!((run.code, run.err.as_str()), (0, ""));

    let mut command = folder.command(PROGRAM);
    command.args(["--env-file", "-"]);
    let run = folder.end_with_input(&mut command, "POSTGRES_URL=ok\ns3ntinel\n");
    assert_snapshot!(run.check(), @r#"
    exit code 2
    --- stdout
    --- stderr
    error: the env-file stdin is malformed: line 2: is neither KEY=value nor a comment
      hint: each line is KEY=value, KEY="value", KEY='value' or a comment
    "#);
}

/// `--env-file <(pass show brain)`.
#[test]
fn a_pipe_is_an_env_file() {
    let folder = Folder::new();
    let pipe = folder.path("pipe");
    make_fifo(&pipe);
    let writer =
        std::thread::spawn(move || std::fs::write(pipe, "POSTGRES_URL=host=s3ntinel-pipe\n"));
    let run = folder.run(&[&SHOW as &[&str], &["--env-file", "pipe"]].concat());
    writer.join().unwrap().unwrap();
    assert_eq!(
        planned(&run, "POSTGRES_URL").as_deref(),
        Some("host=s3ntinel-pipe")
    );
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn an_env_file_that_cannot_be_read() {
    let folder = Folder::new();
    folder.write("file", "");
    for (name, why) in [
        ("absent", "No such file or directory (os error 2)"),
        (".", "Is a directory (os error 21)"),
        ("file/below", "Not a directory (os error 20)"),
    ] {
        let run = folder.run(&["--env-file", name]).check();
        let expected = format!(
            "error: cannot read the env-file {name}\n  - {why}\n  \
             hint: name a readable file of KEY=value lines, or - for stdin\n"
        );
        assert_eq!(run, Run::failed(3, &expected), "{name}");
    }
}

#[test]
fn a_malformed_env_file_is_told_by_line_and_not_quoted() {
    let folder = Folder::new();
    let too_large = format!("A=s3ntinel\n{}", "#\n".repeat(600_000));
    for (content, problem) in [
        (
            b"A=b\ns3ntinel\n" as &[u8],
            "line 2: is neither KEY=value nor a comment",
        ),
        (
            b"\n\ns3ntinel-x=b",
            "line 3: has no variable name directly before '='",
        ),
        (
            b"A = s3ntinel",
            "line 1: has no variable name directly before '='",
        ),
        (b"A=\"s3ntinel", "line 1: has a quote that is not closed"),
        (b"A='s3ntinel' s3ntinel", "line 1: has text after the value"),
        (
            b"A=\"s3ntinel$B\"",
            "line 1: has '$', '`' or '\\', which a shell would act on: put the value in single quotes",
        ),
        (
            b"A=s3ntinel`id`",
            "line 1: has '$', '`' or '\\', which a shell would act on: put the value in single quotes",
        ),
        (
            b"A=s3ntinel\r\n",
            "line 1: has a control character (a Windows line ending?)",
        ),
        (
            b"POSTGRES_URL='s3ntinel\0'",
            "line 1: has a control character (a Windows line ending?)",
        ),
        (
            b"GITHUB_TOKEN=s3ntinel\nGITHUB_TOKEN=s3ntinel",
            "line 2: GITHUB_TOKEN is set a second time",
        ),
        (b"A=s3ntinel\xff", "it is not UTF-8"),
        (too_large.as_bytes(), "it is larger than 1 MiB"),
    ] {
        folder.write("inputs.env", content);
        let run = folder.run(&["--env-file", "inputs.env"]).check();
        let expected = format!(
            "error: the env-file inputs.env is malformed: {problem}\n  \
             hint: each line is KEY=value, KEY=\"value\", KEY='value' or a comment\n"
        );
        assert_eq!(run, Run::failed(2, &expected));
    }
}

#[test]
fn a_value_with_white_space_in_the_env_file_is_refused() {
    let folder = Folder::new();
    folder.write("inputs.env", "POSTGRES_URL=' s3ntinel'\n");
    assert_snapshot!(folder.run(&["--env-file", "inputs.env"]).check(), @"
    exit code 2
    --- stdout
    --- stderr
    error: POSTGRES_URL from the env-file begins or ends with white space
      hint: set POSTGRES_URL to its real value, in one line, or unset it
    ");
}

#[test]
fn json_is_honoured_for_a_bad_input() {
    let folder = Folder::new();
    let mut command = folder.command(PROGRAM);
    let run = folder.end(
        command
            .env("POSTGRES_URL", " s3ntinel")
            .args(["-o", "json", "--apply"]),
    );
    let run = run.check();
    let document = run.json();
    assert_eq!(run.code, 2);
    assert_eq!(document["command"], "apply");
    assert_eq!(document["ok"], false);
    assert_eq!(
        document["error"]["message"],
        "POSTGRES_URL from the environment begins or ends with white space"
    );
    assert_ne!(document["error"]["hint"], "");
}
