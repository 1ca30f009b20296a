//! Which kubeconfig counts, and when the pod's own service account does.

use crate::connection::{NOWHERE, USER, kubeconfig};
use crate::folder::{Folder, PROGRAM, Run, make_fifo};
use std::path::{Path, PathBuf};

const WHICH: &str = "the kubeconfig ($KUBECONFIG, else ~/.kube/config)";

/// Runs `diff` as in a pod, with this KUBECONFIG and these options.
fn in_a_pod(folder: &Folder, list: Option<&str>, options: &[&str]) -> Run {
    in_a_pod_of(folder, Path::new(PROGRAM), list, options)
}

fn in_a_pod_of(folder: &Folder, program: &Path, list: Option<&str>, options: &[&str]) -> Run {
    let mut command = folder.command(program);
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

/// Where a pod has its credentials, which is written into the program.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/";

/// A certificate; nobody is asked for one that it has signed.
const CA: &str = "-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIULC8G4sqTYoB9SiMyENJW+s1iSYUwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKYW5vdGhlciBDQTAgFw0yNjExMjQxNDM5MTNaGA8yMTI2MTAz
MTE0MzkxM1owFTETMBEGA1UEAwwKYW5vdGhlciBDQTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABMtHl9h9hz+xgsxLHnTfleFHCu06J+w5gz0NtJmawWc3vVg0f9VR
vIdLaS7ovdlYhR6MdPveq8GWiEJAaacynGmjUzBRMB0GA1UdDgQWBBRnmpL0xeDK
pG8RO1AChnp6rxb6TDAfBgNVHSMEGDAWgBRnmpL0xeDKpG8RO1AChnp6rxb6TDAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIC2IuLQ1bC6bn3Umwjf6
WfBQxMZwy4HF4qMfX6yektIQAiEA+H3ctjb7Chdb/IW89RkUg4w+cwWR3L769vJS
8EPB3F8=
-----END CERTIFICATE-----
";

/// A copy of the program that looks into a folder of the one in which it runs instead.
fn with_account_in(folder: &Folder, name: &str) -> PathBuf {
    let mut bytes = std::fs::read(PROGRAM).unwrap();
    let path = format!("{name:/<width$}", width = ACCOUNT.len());
    let mut from = 0;
    while let Some(at) = position(&bytes[from..], ACCOUNT.as_bytes()) {
        from += at + ACCOUNT.len();
        bytes[from - ACCOUNT.len()..from].copy_from_slice(path.as_bytes());
    }
    assert_ne!(from, 0, "{ACCOUNT} is not in the program in one piece");
    // Another process writes it: what a test forks meanwhile does not hold it open, so it can run.
    let mut command = folder.command("sh");
    command.args(["-c", "umask 022; cat > program && chmod +x program"]);
    let run = folder.end_with_input(&mut command, bytes);
    assert_eq!(run, Run::answered(""));
    folder.path("program")
}

/// Where a text begins. It is long, and this is much faster than looking at every place.
fn position(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let mut begin = 0;
    loop {
        let rest = bytes.get(begin..)?;
        let chunk = rest.utf8_chunks().next()?;
        if let Some(at) = chunk.valid().find(std::str::from_utf8(text).unwrap()) {
            return Some(begin + at);
        }
        begin += chunk.valid().len() + chunk.invalid().len();
    }
}

/// A pod has credentials at hand: who has chosen nothing gets them, and for nobody else are they so
/// much as opened.
#[test]
fn the_service_account_is_looked_for_where_nothing_was_chosen_only() {
    let folder = Folder::new();
    let program = with_account_in(&folder, "pod");
    let files = ["namespace", "ca.crt", "token"].map(|name| format!("pod/{name}"));
    std::fs::create_dir(folder.path("pod")).unwrap();
    for name in &files {
        // Who opens one of these waits for ever.
        make_fifo(&folder.path(name));
    }
    for (list, options, path) in CHOICES {
        let run = in_a_pod_of(&folder, &program, list, options);
        assert_eq!(run, unreadable(path), "{list:?} {options:?}");
    }
    for name in &files {
        std::fs::remove_file(folder.path(name)).unwrap();
        let is_certificate = name.ends_with("ca.crt");
        folder.write(name, if is_certificate { CA } else { "s3ntinel" });
    }
    for list in [None, Some("")] {
        let run = in_a_pod_of(&folder, &program, list, &[]);
        let expected = "error: cannot reach the API server https://127.0.0.1:1\n  \
             - Connection refused (os error 111)\n  \
             hint: check that it runs and that this is the right context: \
             kubectl cluster-info\n";
        assert_eq!(run, Run::failed(3, expected), "{list:?}");
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
    let expected = format!("error: {WHICH} is not a valid kubeconfig");
    for list in ["one:broken", "broken:one", "absent:one:broken"] {
        assert_eq!(reached(list, &[]), expected, "{list}");
    }
    let expected = "error: cannot read the kubeconfig .";
    assert_eq!(reached("one:.", &[]), expected);
}
