//! `local/k8s-bootstrap.sh` in a checkout of its own, with a cargo that writes a fake program.

use crate::folder::{Folder, Run};
use std::fs::{self, File, FileTimes};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/local/k8s-bootstrap.sh");

/// Builds a program that prints its arguments, one in each pair of angle brackets.
const CARGO: &str = r#"
echo "in $PWD for ${CARGO_BUILD_TARGET:-this machine}: $*" >>"$HOME/builds"
[ ! -e "$HOME/fails" ] || { echo 'error: no' >&2; exit 101; }
while [ "$1" != --target-dir ]; do shift; done
{ echo '#!/bin/sh'; echo 'printf "<%s>" "$K8S_BOOTSTRAP_NAME" "$@"'; } >"$2/release/k8s-bootstrap"
chmod +x "$2/release/k8s-bootstrap"
"#;

/// A checkout in `work/repo`, all of it older than now.
fn checkout() -> Folder {
    let folder = Folder::new();
    folder.tool("cargo", CARGO);
    fs::create_dir_all(folder.path("repo/local")).unwrap();
    fs::copy(SCRIPT, script(&folder)).unwrap();
    for source in ["Cargo.toml", "Cargo.lock", "build.rs", "src/main.rs"] {
        save(&folder, source, Duration::from_secs(60));
    }
    let src = File::open(folder.path("repo/src")).unwrap();
    src.set_times(modified(Duration::from_secs(60))).unwrap();
    folder
}

/// Saves a source so long ago.
fn save(folder: &Folder, source: &str, ago: Duration) {
    let path = folder.write(&format!("repo/{source}"), "");
    let file = File::options().append(true).open(path).unwrap();
    file.set_times(modified(ago)).unwrap();
}

fn modified(ago: Duration) -> FileTimes {
    FileTimes::new().set_modified(SystemTime::now() - ago)
}

fn script(folder: &Folder) -> PathBuf {
    folder.path("repo/local/k8s-bootstrap.sh")
}

fn run(folder: &Folder, arguments: &[&str]) -> Run {
    folder.end(folder.command(script(folder)).args(arguments))
}

/// How often cargo was started.
fn builds(folder: &Folder) -> usize {
    let log = fs::read_to_string(folder.home().join("builds"));
    log.unwrap_or_default().lines().count()
}

const FILE: &str = "<--tokens-file><<folder>/work/repo/local/.k8s-tokens>";

fn printed(arguments: &str) -> String {
    format!("<<folder>/work/repo/local/k8s-bootstrap.sh>{arguments}")
}

#[test]
fn the_program_is_built_once_and_keeps_the_tokens_of_the_checkout() {
    let folder = checkout();
    let first = run(&folder, &["--apply", "-n", "brain"]);
    assert_eq!(first.out, printed(&format!("{FILE}<--apply><-n><brain>")));
    let built = "k8s-bootstrap.sh: building <folder>/work/repo/target/release/k8s-bootstrap\n";
    assert_eq!((first.code, first.err.as_str()), (0, built));

    let again = run(&folder, &["two words", ""]);
    assert_eq!(
        again,
        Run::answered(&printed(&format!("{FILE}<two words><>")))
    );
    assert_eq!(builds(&folder), 1);
}

#[test]
fn a_tokens_file_that_is_named_is_used() {
    let folder = checkout();
    for (arguments, expected) in [
        (&["--tokens-file", "f"][..], "<--tokens-file><f>".to_owned()),
        (&["--tokens-file=f"], "<--tokens-file=f>".to_owned()),
        // Behind -- it is no option.
        (
            &["--", "--tokens-file"],
            format!("{FILE}<--><--tokens-file>"),
        ),
    ] {
        assert_eq!(run(&folder, arguments).out, printed(&expected));
    }
}

#[test]
fn a_source_that_is_newer_than_the_build_is_built() {
    let folder = checkout();
    run(&folder, &[]);
    for (done, source) in ["Cargo.toml", "build.rs", "src/main.rs", "src/new.rs"]
        .into_iter()
        .enumerate()
    {
        // Builds take their time from the clock, which may stand still for some milliseconds.
        let stamp = folder.path("repo/target/release/.k8s-bootstrap.stamp");
        let stamp = File::options().append(true).open(stamp).unwrap();
        stamp.set_times(modified(Duration::from_secs(30))).unwrap();
        save(&folder, source, Duration::ZERO);
        assert_eq!(run(&folder, &[]).code, 0);
        assert_eq!(builds(&folder), 2 + done, "{source}");
        save(&folder, source, Duration::from_secs(60));
    }
}

#[test]
fn after_a_build_that_failed_nothing_runs_until_one_succeeds() {
    let folder = checkout();
    run(&folder, &[]);
    save(&folder, "src/main.rs", Duration::ZERO);
    let fails = folder.home().join("fails");
    fs::write(&fails, "").unwrap();
    for _ in 0..2 {
        let failed = run(&folder, &["--apply"]);
        assert_eq!((failed.code, failed.out.as_str()), (1, ""));
        let says = "error: no\nk8s-bootstrap.sh: the build failed (see above); nothing was run\n";
        assert!(failed.err.ends_with(says), "{failed}");
    }
    fs::remove_file(fails).unwrap();
    assert_eq!(
        run(&folder, &["--apply"]).out,
        printed(&format!("{FILE}<--apply>"))
    );
}

#[test]
fn the_target_folder_is_that_of_cargo_seen_from_the_caller() {
    let folder = checkout();
    let mut command = folder.command(script(&folder));
    let ran = folder.end(
        command
            .env("CARGO_TARGET_DIR", "elsewhere")
            .env("CARGO_BUILD_TARGET", "another-machine"),
    );
    assert_eq!(ran.out, printed(FILE));
    assert!(folder.path("elsewhere/release/k8s-bootstrap").exists());
    assert!(!folder.path("repo/target").exists());
    let log = fs::read_to_string(folder.home().join("builds")).unwrap();
    let how = "/work/repo for this machine: build --release --locked";
    assert!(log.contains(how), "{log}");
}

#[test]
fn without_cargo_it_says_what_to_install() {
    let folder = checkout();
    let mut command = folder.command(script(&folder));
    // The script's own tools, and no cargo of this machine.
    let tools = folder.path("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["sh", "dirname", "readlink", "find", "head"] {
        let path = ["/usr/bin", "/bin"].map(|bin| PathBuf::from(bin).join(tool));
        let path = path.into_iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(path, tools.join(tool)).unwrap();
    }
    let ran = folder.end(command.env("PATH", tools));
    assert_eq!((ran.code, ran.out.as_str()), (127, ""));
    assert!(
        ran.err.contains("there is no cargo on PATH: install Rust"),
        "{ran}"
    );
}
