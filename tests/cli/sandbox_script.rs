//! Where local/sandbox.sh takes etcd, kube-apiserver and kubectl from, with fake ones that only report a
//! version. Nothing is built or started.

use crate::folder::{Folder, Run};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/local/sandbox.sh");
/// The programs that are looked for, in this order.
const PARTS: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

/// A shell script that reports a version as this program does.
fn reporting(part: &str, version: &str) -> String {
    let (question, answer) = match part {
        "etcd" => ("--version", format!("etcd Version: {version}")),
        "kube-apiserver" => ("--version", format!("Kubernetes v{version}")),
        _ => ("version --client", format!("Client Version: v{version}")),
    };
    format!("[ \"$*\" = '{question}' ] && echo '{answer}' && echo 'Git SHA: 0123'\n")
}

/// A folder with each program on PATH, in a supported version.
fn machine() -> Folder {
    let folder = Folder::new();
    for (part, version) in PARTS.into_iter().zip(["3.6.1", "1.36.1", "1.36.1"]) {
        folder.tool(part, &reporting(part, version));
    }
    folder
}

/// Puts a program where KUBEBUILDER_ASSETS points.
fn asset(folder: &Folder, part: &str, script: &str) {
    let name = format!("assets/{part}");
    folder.write(&name, format!("#!/bin/sh\n{script}"));
    folder.set_mode(&name, 0o755);
}

/// Asks for the paths of all three. A program of the sandbox's own is `built PART`.
fn paths(folder: &Folder) -> Run {
    let mut run = folder.end(
        folder
            .command(SCRIPT)
            .arg("path")
            .args(PARTS)
            .env("KUBEBUILDER_ASSETS", "assets"),
    );
    let built = "<folder>/home/.cache/k8s-bootstrap/bin/";
    let lines = run.out.lines().map(|line| match line.strip_prefix(built) {
        Some(name) => format!("built {}\n", &name[..name.find("-v").unwrap()]),
        None => format!("{line}\n"),
    });
    run.out = lines.collect();
    run
}

fn success(out: &[&str], err: &[&str]) -> Run {
    let lines = |lines: &[&str], start| {
        lines
            .iter()
            .map(|line| format!("{start}{line}\n"))
            .collect()
    };
    Run {
        code: 0,
        out: lines(out, ""),
        err: lines(err, "sandbox: "),
    }
}

#[test]
fn supported_programs_of_path_are_used() {
    let expected = success(
        &[
            "<folder>/bin/etcd",
            "<folder>/bin/kube-apiserver",
            "<folder>/bin/kubectl",
        ],
        &[
            "using <folder>/bin/etcd, version 3.6.1",
            "using <folder>/bin/kube-apiserver, version 1.36.1",
        ],
    );
    assert_eq!(paths(&machine()), expected);
}

#[test]
fn kubebuilder_assets_take_precedence_over_path() {
    let folder = machine();
    for (part, version) in PARTS.into_iter().zip(["3.7.0", "1.37.0", "1.37.0"]) {
        asset(&folder, part, &reporting(part, version));
    }
    let expected = success(
        &[
            "<folder>/work/assets/etcd",
            "<folder>/work/assets/kube-apiserver",
            "<folder>/work/assets/kubectl",
        ],
        &[
            "using <folder>/work/assets/etcd, version 3.7.0",
            "using <folder>/work/assets/kube-apiserver, version 1.37.0",
            "using <folder>/work/assets/kubectl, version 1.37.0",
        ],
    );
    assert_eq!(paths(&folder), expected);
}

#[test]
fn only_versions_that_fit_are_used() {
    // The versions of etcd, kube-apiserver and kubectl; whether each is used.
    let rows = [
        (["3.5.23", "1.35.9", "1.34.9"], [false, false, false]),
        (["3.5.24", "1.36.0", "1.35.0"], [true, true, true]),
        (["3.7.99", "1.37.99", "1.38.0"], [true, true, true]),
        (["3.8.0", "1.38.0", "1.38.0"], [false, false, false]),
        (["4.6.0", "2.36.0", "2.36.0"], [false, false, false]),
        (["3.06.1", "1.37.0", "1.35.0"], [false, true, false]),
        (
            ["3.7.0-rc.1", "1.36.0-alpha.2", "1.36.0-beta.0"],
            [false, false, false],
        ),
        (["3.6.1", "1.36.1-eks-1", "1.36.1+k3s1"], [true, true, true]),
    ];
    for (versions, used) in rows {
        let folder = machine();
        let mut expected = String::new();
        for ((part, version), used) in PARTS.into_iter().zip(versions).zip(used) {
            folder.tool(part, &reporting(part, version));
            expected += &if used {
                format!("<folder>/bin/{part}\n")
            } else {
                format!("built {part}\n")
            };
        }
        assert_eq!(paths(&folder).out, expected, "{versions:?}");
    }
}

#[test]
fn path_is_next_where_an_asset_does_not_serve() {
    let folder = machine();
    asset(&folder, "etcd", &reporting("etcd", "3.4.0"));
    asset(
        &folder,
        "kube-apiserver",
        &format!("{}exit 1", reporting("kube-apiserver", "1.36.3")),
    );
    asset(&folder, "kubectl", "echo kubectl: please log in");
    let expected = success(
        &[
            "<folder>/bin/etcd",
            "<folder>/bin/kube-apiserver",
            "<folder>/bin/kubectl",
        ],
        &[
            "not using <folder>/work/assets/etcd: version 3.4.0 is not between 3.5.24 and 3.7",
            "using <folder>/bin/etcd, version 3.6.1",
            "not using <folder>/work/assets/kube-apiserver: it reports no version",
            "using <folder>/bin/kube-apiserver, version 1.36.1",
            "not using <folder>/work/assets/kubectl: it reports no version",
        ],
    );
    assert_eq!(paths(&folder), expected);
}

#[test]
fn only_executable_files_are_asked() {
    let folder = machine();
    asset(&folder, "etcd", &reporting("etcd", "3.7.0"));
    folder.set_mode("assets/etcd", 0o644);
    fs::create_dir(folder.path("assets/kubectl")).unwrap();
    let tool = folder.tools().join("kube-apiserver");
    fs::set_permissions(tool, Permissions::from_mode(0o644)).unwrap();
    let expected = success(
        &[
            "<folder>/bin/etcd",
            "built kube-apiserver",
            "<folder>/bin/kubectl",
        ],
        &["using <folder>/bin/etcd, version 3.6.1"],
    );
    assert_eq!(paths(&folder), expected);
}

#[test]
fn a_program_that_hangs_is_ended_after_five_seconds() {
    let folder = machine();
    // As timeout, but more impatient; it notes what it was asked for.
    let bounds =
        "echo \"$1 $2 $3\" >>\"$0.asked\"; shift 3; exec /usr/bin/timeout -k 0.1 0.1 \"$@\"";
    folder.tool("timeout", bounds);
    folder.tool("etcd", &format!("{}sleep 60", reporting("etcd", "3.7.0")));
    // Deaf to a polite end, and with a child that keeps its output open.
    let deaf = format!(
        "trap '' TERM; sleep 60 & {}wait",
        reporting("kubectl", "1.36.3")
    );
    folder.tool("kubectl", &deaf);
    folder.tool("kube-apiserver", "yes");
    let expected = success(
        &["built etcd", "built kube-apiserver", "built kubectl"],
        &[
            "not using <folder>/bin/etcd: it reports no version",
            "not using <folder>/bin/kube-apiserver: it reports no version",
            "not using <folder>/bin/kubectl: it reports no version",
        ],
    );
    assert_eq!(paths(&folder), expected);
    let asked = fs::read_to_string(folder.tools().join("timeout.asked")).unwrap();
    assert_eq!(asked, "-k 1 5\n".repeat(3));
}

#[test]
fn a_program_is_asked_again_when_it_has_changed() {
    let folder = machine();
    let part = "kube-apiserver";
    let counting = |version| format!("echo >>\"$0.asked\"\n{}", reporting(part, version));
    let asked = || {
        fs::read(folder.tools().join("kube-apiserver.asked"))
            .unwrap()
            .len()
    };
    folder.tool(part, &counting("1.36.1"));
    assert_eq!(paths(&folder), paths(&folder));
    assert_eq!(asked(), 1);
    folder.tool(part, &counting("1.36.2"));
    let says = "using <folder>/bin/kube-apiserver, version 1.36.2";
    assert!(paths(&folder).err.contains(says));
    assert_eq!(asked(), 2);
}

#[test]
fn what_is_asked_for_by_name_is_built_all_the_same() {
    let folder = machine();
    folder.tool("go", "echo no go today >&2; exit 1");
    let run = folder.end(folder.command(SCRIPT).args(["build", "etcd"]));
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    for words in ["building etcd v3.", "no go today", "building etcd failed"] {
        assert!(run.err.contains(words), "{}", run.err);
    }
}

/// It reports the version that is chosen at the time, and its own file stays the same.
#[test]
fn a_shim_is_asked_each_time() {
    let folder = machine();
    let shim = "read -r chosen <\"${0%/*}/chosen\"; echo \"Client Version: v$chosen\"";
    folder.tool("kubectl", shim);
    let with = |version: &str| {
        fs::write(folder.tools().join("chosen"), format!("{version}\n")).unwrap();
        paths(&folder)
    };
    let used = "<folder>/bin/etcd\n<folder>/bin/kube-apiserver\n<folder>/bin/kubectl\n";
    assert_eq!(with("1.36.1").out, used);
    for version in ["1.20.0", "1.36.0-rc.1"] {
        let says = format!(
            "not using <folder>/bin/kubectl: version {version} is not between 1.35 and 1.37"
        );
        let run = with(version);
        assert!(run.err.contains(&says), "{run}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_does_no_harm() {
    let folder = machine();
    folder.write("cache", "no folder");
    let mut command = folder.command(SCRIPT);
    let command = command.args(["path", "kube-apiserver"]);
    let run = folder.end(command.env("K8S_BOOTSTRAP_CACHE", "cache"));
    let used = "<folder>/bin/kube-apiserver\n";
    assert_eq!((run.code, run.out.as_str()), (0, used), "{run}");
}

#[test]
fn a_relative_cache_is_in_the_folder_of_the_caller() {
    let folder = Folder::new();
    let mut command = folder.command(SCRIPT);
    let run = folder.end(
        command
            .args(["path", "pki"])
            .env("K8S_BOOTSTRAP_CACHE", "cache"),
    );
    let start = "<folder>/work/cache/bin/pki-";
    assert!(run.code == 0 && run.out.starts_with(start), "{run}");
}

/// Where it cannot be fetched, it is compiled from the module of the API server, and has the same name.
#[test]
fn kubectl_has_the_version_of_the_api_server() {
    let folder = Folder::new();
    let run = folder.end(
        folder
            .command(SCRIPT)
            .args(["path", "kube-apiserver", "kubectl"]),
    );
    let versions: Vec<_> = run
        .out
        .lines()
        .map(|path| path.rsplit("-v").next().unwrap())
        .map(|version| version.split('-').next().unwrap())
        .collect();
    assert_eq!(versions.len(), 2, "{run}");
    assert_eq!(versions[0], versions[1], "{run}");
}
