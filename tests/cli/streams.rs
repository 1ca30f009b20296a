//! Where stdout and stderr go, when they break, and how loud and colourful they are.

use crate::folder::{Folder, PROGRAM, Run};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

const ERROR: &str = "error: there is no tokens file local/.k8s-tokens\n  \
     hint: mint with `k8s-bootstrap -n default --apply`, or rebuild it with \
     `k8s-bootstrap -n default tokens recover --apply`\n";

#[test]
fn a_reader_that_went_away_is_no_error() {
    let folder = Folder::with_tokens();
    for arguments in [
        &["--help"] as &[&str],
        &["--version"],
        &["man"],
        &["completions", "bash"],
        &[],
        &["-o", "json"],
        &["tokens"],
        &["rbac"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = folder.command(PROGRAM);
        command.args(arguments).stdout(writer);
        let run = folder.of(&command.stderr(Stdio::piped()).output().unwrap());
        assert_eq!(run, Run::answered(""), "{arguments:?}");
    }
}

#[test]
fn the_first_line_can_be_taken() {
    let folder = Folder::new();
    for arguments in ["--help", "man", "completions zsh", ""] {
        let text = format!(
            "{{ \"$PROGRAM\" {arguments}; echo \"exit code $?\" >&2; }} | head -1 | wc -l | tr -d ' '"
        );
        let run = folder.sh(&text);
        let expected = Run {
            code: 0,
            out: "1\n".into(),
            err: "exit code 0\n".into(),
        };
        assert_eq!(run, expected, "{arguments}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    let folder = Folder::with_tokens();
    for arguments in [
        &["--help"] as &[&str],
        &["--version"],
        &["man"],
        &[],
        &["-o", "json"],
        &["-o", "yaml"],
        &["tokens"],
        &["rbac"],
    ] {
        let mut command = folder.command(PROGRAM);
        command
            .args(arguments)
            .stdout(full())
            .stderr(Stdio::piped());
        let run = folder.of(&command.output().unwrap());
        let expected = "error: cannot write to stdout\n  \
                        - No space left on device (os error 28)\n  \
                        hint: the work is done; run the command again to see its answer\n";
        assert_eq!(run, Run::failed(3, expected), "{arguments:?}");
    }
}

#[test]
fn a_story_that_cannot_be_told_changes_nothing() {
    let folder = Folder::new();
    for (arguments, code) in [
        (&["--bogus"] as &[&str], 2),
        (&["tokens"], 3),
        (&["rbac"], 0),
    ] {
        let mut command = folder.command(PROGRAM);
        let status = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(full())
            .status();
        assert_eq!(status.unwrap().code(), Some(code), "{arguments:?}");
    }
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn quiet_leaves_out_the_story_and_keeps_errors_and_warnings() {
    let folder = Folder::new();
    for quiet in ["-q", "--quiet"] {
        assert_eq!(folder.run(&[quiet, "tokens"]), Run::failed(3, ERROR));
        assert_eq!(folder.run(&[quiet]), folder.run(&[]));
        assert_eq!(folder.run(&["--bogus", quiet]), folder.run(&["--bogus"]));
    }
    // A server that cannot be reached over http is asked again; that is story.
    folder.write(
        "kubeconfig",
        "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n\
         clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n",
    );
    let arguments = ["diff", "--kubeconfig=kubeconfig", "--request-timeout=500ms"];
    let loud = folder.run(&arguments).check();
    let quiet = folder
        .run(&[&arguments as &[&str], &["-q"]].concat())
        .check();
    assert!(loud.err.contains("trying again\n"), "{loud}");
    assert!(
        quiet.err.starts_with("error: ") && !quiet.err.contains("trying again"),
        "{quiet}"
    );
    assert_eq!((loud.code, quiet.code), (3, 3));
}

#[test]
fn colours() {
    let folder = Folder::new();
    let coloured = ERROR.replace("error:", "\x1b[31merror:\x1b[0m");
    for (option, no_color, expected) in [
        (None, None, ERROR),
        (Some("auto"), None, ERROR),
        (Some("never"), None, ERROR),
        (Some("always"), None, &coloured),
        // The command line is nearer than the environment.
        (Some("always"), Some("1"), &coloured),
        (Some("auto"), Some("1"), ERROR),
        (None, Some(""), ERROR),
    ] {
        let mut command = folder.command(PROGRAM);
        command.arg("tokens");
        command.args(option.map(|when| format!("--color={when}")));
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let run = folder.end(&mut command);
        assert_eq!(run, Run::failed(3, expected), "{option:?} {no_color:?}");
    }
}

#[test]
fn an_answer_for_programs_has_no_colours() {
    let folder = Folder::with_tokens();
    for arguments in [
        &["-o", "json"] as &[&str],
        &["-o", "yaml"],
        &[],
        &["tokens"],
        &["rbac"],
        &["man"],
    ] {
        let run = folder.run(&[arguments, &["--color=always"]].concat());
        assert_eq!(run.code, 0);
        assert!(!run.shows("\x1b["), "{arguments:?}");
    }
}

/// A terminal, and the end from which one reads what it shows.
pub fn terminal() -> (File, File) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    // Without NOCTTY it could become the terminal of the tests themselves.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
    (controller.into(), terminal.into())
}

/// Everything that a terminal showed, once nobody has it open any more.
pub fn shown(mut controller: File) -> String {
    let mut bytes = Vec::new();
    // The kernel ends it with EIO, and what was read until then is there.
    let end = controller.read_to_end(&mut bytes).map_err(|why| why.kind());
    assert!(!bytes.is_empty(), "the terminal shows nothing: {end:?}");
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_terminal_gets_colours_unless_no_color_is_set() {
    let folder = Folder::new();
    for (no_color, coloured) in [(None, true), (Some(""), true), (Some("1"), false)] {
        let (controller, terminal) = terminal();
        let mut command = folder.command(PROGRAM);
        command
            .arg("tokens")
            .envs(no_color.map(|value| ("NO_COLOR", value)))
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal);
        let status = command.status().unwrap();
        // It holds the terminal open.
        drop(command);
        let text = shown(controller).replace("\r\n", "\n");
        let plain = text.replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert_eq!((status.code(), plain.as_str()), (Some(3), ERROR));
        let red = text.starts_with("\x1b[31merror:\x1b[0m ");
        assert_eq!((red, text != plain), (coloured, coloured), "{no_color:?}");
    }
}

/// Each stream by itself: a terminal on stdout is no reason for colours in a file of errors.
#[test]
fn a_terminal_elsewhere_brings_no_colours() {
    let folder = Folder::new();
    let (_controller, terminal) = terminal();
    let mut command = folder.command(PROGRAM);
    command
        .arg("tokens")
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal)
        .stderr(Stdio::piped());
    let run = folder.of(&command.spawn().unwrap().wait_with_output().unwrap());
    assert_eq!(run, Run::failed(3, ERROR));
}
