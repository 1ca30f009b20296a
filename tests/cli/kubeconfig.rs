//! Which kubeconfig counts, and when the pod's own service account does.

use crate::connection::{NOWHERE, USER, kubeconfig};
use crate::folder::{Folder, PROGRAM, Run};

const WHICH: &str = "the kubeconfig ($KUBECONFIG, else ~/.kube/config)";

/// Runs `diff` as in a pod, with this KUBECONFIG and these options.
fn in_a_pod(folder: &Folder, list: Option<&str>, options: &[&str]) -> Run {
    let mut command = folder.command(PROGRAM);
    command
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", "1")
        .envs(list.map(|list| ("KUBECONFIG", list)))
        .arg("diff")
        .args(options);
    folder.end(&mut command).check()
}

fn unreadable(path: &str) -> Run {
    let expected = format!(
        "error: cannot read the kubeconfig {path}\n  - No such file or directory (os error 2)\n  \
         hint: point KUBECONFIG or --kubeconfig at a file that kubectl works with\n"
    );
    Run::failed(3, &expected)
}

/// Who has chosen a cluster never gets another one.
const CHOICES: [(Option<&str>, &[&str], &str); 6] = [
    (Some("absent"), &[], "absent"),
    (Some("absent:gone"), &[], "absent"),
    (Some("absent"), &["--context=c"], "absent"),
    (None, &["--context=c"], "<folder>/home/.kube/config"),
    (None, &["--kubeconfig=absent"], "absent"),
    (Some(""), &["--context=c"], "<folder>/home/.kube/config"),
];

#[test]
fn a_choice_that_is_not_there_is_named_in_a_pod_too() {
    let folder = Folder::new();
    for (list, options, path) in CHOICES {
        let run = in_a_pod(&folder, list, options);
        assert_eq!(run, unreadable(path), "{list:?} {options:?}");
    }
}

/// As the kernel sees it, where strace is at hand and may trace: the credentials of a pod are looked
/// for by who has chosen nothing, and by nobody else.
#[test]
fn the_service_account_is_looked_for_where_nothing_was_chosen_only() {
    let folder = Folder::new();
    let trace = ["-f", "-e", "trace=open,openat", "-o", "trace"];
    let can = folder.sh("strace -o trace true").code == 0;
    if !can {
        return;
    }
    let nothing: (Option<&str>, &[&str], &str) = (None, &[], "");
    let empty: (Option<&str>, &[&str], &str) = (Some(""), &[], "");
    for (list, options, path) in CHOICES.into_iter().chain([nothing, empty]) {
        let mut command = folder.command("strace");
        command
            .args(trace)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", "1")
            .envs(list.map(|list| ("KUBECONFIG", list)))
            .args([PROGRAM, "diff"])
            .args(options);
        assert_eq!(folder.end(&mut command).check().code, 3);
        let looked = folder
            .read("trace")
            .contains("kubernetes.io/serviceaccount");
        assert_eq!(looked, path.is_empty(), "{list:?} {options:?}");
    }
}

#[test]
fn a_list_is_read_without_the_files_that_do_not_exist() {
    let folder = Folder::new();
    folder.write("real", kubeconfig(NOWHERE, USER));
    let unknown = format!(
        "error: {WHICH} has no context \"nope\"\n  \
         hint: `kubectl config get-contexts` lists them\n"
    );
    let refused = "error: cannot reach the API server https://127.0.0.1:1\n  \
                   - Connection refused (os error 111)\n  \
                   hint: check that it runs and that this is the right context: \
                   kubectl cluster-info\n";
    for list in [
        "nonexistent:real",
        "real:nonexistent",
        ":real",
        "real:",
        "nonexistent::real:gone",
    ] {
        let run = in_a_pod(&folder, Some(list), &["--context=nope"]);
        assert_eq!(run, Run::failed(3, &unknown), "{list}");
        let run = in_a_pod(&folder, Some(list), &[]);
        assert_eq!(run, Run::failed(3, refused), "{list}");
    }
    // None of them, and not even a name.
    assert_eq!(
        in_a_pod(&folder, Some("nonexistent:gone"), &[]),
        unreadable("nonexistent")
    );
    let expected = "error: there is no kubeconfig\n  \
         hint: point KUBECONFIG or --kubeconfig at a file that kubectl works with\n";
    assert_eq!(in_a_pod(&folder, Some(":"), &[]), Run::failed(3, expected));
}

#[test]
fn the_files_of_a_list_are_merged_and_the_first_one_wins() {
    let folder = Folder::new();
    folder.write("one", kubeconfig(NOWHERE, USER));
    let two = kubeconfig("server: 'https://127.0.0.1:2'", USER);
    folder.write(
        "two",
        two.replace("name: c", "name: d")
            .replace("context: c", "context: d"),
    );
    folder.write("broken", "users: s3ntinel\n");
    let reached = |list: &str, options: &[&str]| {
        let run = in_a_pod(&folder, Some(list), options);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{run}");
        run.err.lines().next().unwrap().to_owned()
    };
    let at = |port| format!("error: cannot reach the API server https://127.0.0.1:{port}");
    for (list, options, port) in [
        ("one:two", &[] as &[&str], 1),
        ("two:one", &[], 2),
        // The cluster k is that of the first file.
        ("one:two", &["--context=d"], 1),
        ("absent:two:one", &["--context=c"], 2),
        // The option leaves the list out.
        ("one:broken", &["--kubeconfig=two"], 2),
    ] {
        assert_eq!(reached(list, options), at(port), "{list} {options:?}");
    }
    // One that is there has to be good.
    let expected = format!("error: {WHICH} is not valid YAML of a kubeconfig");
    for list in ["one:broken", "broken:one", "absent:one:broken"] {
        assert_eq!(reached(list, &[]), expected, "{list}");
    }
    let expected = "error: cannot read the kubeconfig .";
    assert_eq!(reached("one:.", &[]), expected);
}
