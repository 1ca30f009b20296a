//! No way to a cluster: exit code 3, a remedy, no credential shown, and no token minted.

use crate::folder::{Folder, INPUTS, PROGRAM, Run};

/// Each command that contacts the cluster.
const COMMANDS: [&[&str]; 4] = [
    &["--apply"],
    &["diff"],
    &["tokens", "recover"],
    &["tokens", "recover", "--apply"],
];

/// A kubeconfig; nothing listens on port 1.
pub fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

pub const NOWHERE: &str = "server: 'https://127.0.0.1:1'";
pub const USER: &str = "token: s3ntinel";
const REFUSED: &str = "error: cannot reach the API server https://127.0.0.1:1\n  \
     - Connection refused (os error 111)\n  \
     hint: check that it runs and that this is the right context: kubectl --kubeconfig kubeconfig \
     cluster-info\n";

/// Runs every command and asserts that each ends like this and leaves no file behind.
#[track_caller]
fn assert_unreachable(folder: &Folder, options: &[&str], expected: &str) {
    let files = |folder: &Folder| {
        let mut names = folder.names();
        names.retain(|name| name != "local");
        names
    };
    let before = files(folder);
    for command in COMMANDS {
        let arguments = [command, options].concat();
        let run = folder.run_with_inputs(&arguments).check();
        assert_eq!(run, Run::failed(3, expected), "{arguments:?}");
        assert_eq!(files(folder), before, "{arguments:?}");
    }
}

#[test]
fn no_kubeconfig() {
    let expected = "error: cannot read the kubeconfig <folder>/home/.kube/config\n  \
                    - No such file or directory (os error 2)\n  \
                    hint: point KUBECONFIG or --kubeconfig at a file that kubectl works with\n";
    assert_unreachable(&Folder::new(), &[], expected);
}

#[test]
fn a_kubeconfig_that_is_not_there() {
    let folder = Folder::new();
    for (path, why) in [
        ("absent", "No such file or directory (os error 2)"),
        (".", "Is a directory (os error 21)"),
    ] {
        let expected = format!(
            "error: cannot read the kubeconfig {path}\n  - {why}\n  \
             hint: point KUBECONFIG or --kubeconfig at a file that kubectl works with\n"
        );
        assert_unreachable(&folder, &["--kubeconfig", path], &expected);
    }
}

#[test]
fn an_unknown_context() {
    let folder = Folder::new();
    folder.write("kubeconfig", kubeconfig(NOWHERE, USER));
    assert_unreachable(
        &folder,
        &["--kubeconfig=kubeconfig", "--context=nope"],
        "error: the kubeconfig kubeconfig has no context \"nope\"\n  \
         hint: `kubectl --kubeconfig kubeconfig config get-contexts` lists them\n",
    );
}

#[test]
fn no_current_context() {
    let folder = Folder::new();
    folder.write(
        "kubeconfig",
        "users: [{name: u, user: {token: s3ntinel}}]\n",
    );
    assert_unreachable(
        &folder,
        &["--kubeconfig=kubeconfig"],
        "error: the kubeconfig kubeconfig names no current context\n  \
         hint: choose one with --context, or set it: \
         kubectl --kubeconfig kubeconfig config use-context NAME\n",
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_parsed_is_not_quoted() {
    let folder = Folder::new();
    let good = kubeconfig(NOWHERE, USER);
    for (text, line) in [
        (format!("{good}oops: [s3ntinel\n"), 8),
        (kubeconfig(NOWHERE, "token: [s3ntinel]"), 6),
        ("users: s3ntinel\n".to_owned(), 1),
        ("s3ntinel\n".to_owned(), 1),
    ] {
        folder.write("kubeconfig", &text);
        for command in COMMANDS {
            let mut command_line = folder.command(PROGRAM);
            let run = folder
                .end(
                    command_line
                        .env("KUBECONFIG", "kubeconfig")
                        .args(command)
                        .arg("-vv"),
                )
                .check();
            assert_eq!((run.code, run.out.as_str()), (3, ""), "{run}");
            let is_yaml = "error: the kubeconfig ($KUBECONFIG, else ~/.kube/config) is not a \
                           valid kubeconfig\n  - line ";
            let told = run
                .err
                .strip_prefix(is_yaml)
                .unwrap_or_else(|| panic!("{run}"));
            let number: usize = told.split('\n').next().unwrap().parse().unwrap();
            assert!(number <= line, "{number} of {line}\n{run}");
        }
    }
}

#[test]
fn a_server_that_refuses() {
    let folder = Folder::new();
    folder.write("kubeconfig", kubeconfig(NOWHERE, USER));
    for command in COMMANDS {
        let arguments = [command, &["--kubeconfig=kubeconfig", "-n", "brain"]].concat();
        let run = folder.run_with_inputs(&arguments).check();
        assert_eq!(run, Run::failed(3, REFUSED), "{arguments:?}");
    }
    // The folder may be made, for its lock; nothing is in it.
    assert_eq!(folder.names(), ["kubeconfig", "local"]);
    assert_eq!(folder.mode("local"), 0o700);
}

/// The hint has to lead to the cluster that was asked, and be one to paste.
#[test]
fn the_hint_has_the_options_that_lead_there() {
    let folder = Folder::new();
    let text = kubeconfig(NOWHERE, USER);
    folder.write("../home/.kube/config", &text);
    folder.write("it's mine", &text);
    for (options, kubectl) in [
        (&[] as &[&str], "kubectl cluster-info"),
        (&["--context=c"], "kubectl --context c cluster-info"),
        (
            &["--context", "c", "--kubeconfig=it's mine"],
            "kubectl --kubeconfig \"it's mine\" --context c cluster-info",
        ),
        // Options of the program that kubectl does not need.
        (
            &["-n=brain", "--tokens-file=local/t", "--request-timeout=9"],
            "kubectl cluster-info",
        ),
    ] {
        for command in COMMANDS {
            let run = folder.run(&[command, options].concat()).check();
            let start = REFUSED.split("kubectl").next().unwrap();
            let expected = format!("{start}{kubectl}\n");
            assert_eq!(run, Run::failed(3, &expected), "{command:?} {options:?}");
        }
    }
}

#[test]
fn the_hint_about_credentials_has_them_too() {
    let folder = Folder::new();
    let user = "exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
                command: sh, args: ['-c', 'exit 3']}";
    folder.write("kubeconfig", kubeconfig(NOWHERE, user));
    assert_unreachable(
        &folder,
        &["--kubeconfig=kubeconfig", "--context=c"],
        "error: the credential plug-in of the kubeconfig failed\n  - exit status: 3\n  \
         hint: check that `kubectl --kubeconfig kubeconfig --context c get namespaces` works\n",
    );
}

#[test]
fn a_tokens_file_stays_as_it_is() {
    let folder = Folder::with_tokens();
    folder.write("kubeconfig", kubeconfig(NOWHERE, USER));
    let before = folder.everything();
    assert_unreachable(&folder, &["--kubeconfig=kubeconfig"], REFUSED);
    assert_eq!(folder.everything(), before);
}

#[test]
fn json_is_one_document() {
    let folder = Folder::new();
    folder.write("kubeconfig", kubeconfig(NOWHERE, USER));
    for (command, name) in
        COMMANDS
            .into_iter()
            .zip(["apply", "diff", "tokens recover", "tokens recover"])
    {
        let arguments = [command, &["--kubeconfig=kubeconfig", "-o", "json"]].concat();
        let run = folder.run_with_inputs(&arguments).check();
        let document = run.json();
        assert_eq!(run.code, 3);
        assert_eq!(document["version"], 1);
        assert_eq!(document["command"], name);
        assert_eq!(document["ok"], false);
        assert_eq!(
            document["error"],
            serde_json::json!({
                "message": "cannot reach the API server https://127.0.0.1:1",
                "cause": ["Connection refused (os error 111)"],
                "hint": "check that it runs and that this is the right context: \
                         kubectl --kubeconfig kubeconfig cluster-info",
            })
        );
    }
}

/// Credentials hide in many places of a kubeconfig.
#[test]
fn no_credential_of_the_kubeconfig_is_shown() {
    let exec = |script: &str| {
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
             command: sh, args: ['-c', '{script}']}}"
        )
    };
    for (cluster, user) in [
        (NOWHERE, "username: u, password: s3ntinel"),
        (NOWHERE, "tokenFile: absent, password: s3ntinel"),
        (
            NOWHERE,
            "client-certificate-data: czNudGluZWw=, client-key-data: czNudGluZWw=",
        ),
        (
            NOWHERE,
            "client-certificate-data: s3ntinel, client-key-data: s3ntinel",
        ),
        ("server: 's3ntinel with spaces'", USER),
        (
            "server: 'https://127.0.0.1:1', certificate-authority-data: s3ntinel",
            USER,
        ),
        (
            "server: 'https://127.0.0.1:1', tls-server-name: 's3ntinel /'",
            USER,
        ),
        (NOWHERE, &exec("echo s3ntinel")),
        (
            NOWHERE,
            &exec("echo \"{\\\"status\\\": {\\\"token\\\": [\\\"s3ntinel\\\"]}}\""),
        ),
        (NOWHERE, &exec("echo s3ntinel; exit 3")),
    ] {
        let folder = Folder::new();
        folder.write("kubeconfig", kubeconfig(cluster, user));
        for options in [&["-vv"] as &[&str], &["-o", "json"]] {
            let arguments = [
                &["--apply", "--kubeconfig=kubeconfig", "--request-timeout=1"],
                options,
            ]
            .concat();
            let run = folder
                .end(folder.command(PROGRAM).envs(INPUTS).args(arguments))
                .check();
            assert_eq!(run.code, 3, "{cluster} {user}\n{run}");
        }
        assert!(!folder.path("local/.k8s-tokens").exists());
    }
}

/// A server that is asked again for so long has to be ended from outside.
#[test]
fn a_limit_of_time_beyond_what_a_clock_can_count_is_no_panic() {
    let folder = Folder::new();
    folder.write(
        "kubeconfig",
        kubeconfig("server: 'http://127.0.0.1:1'", USER),
    );
    let mut command = folder.command("timeout");
    command.args(["1", PROGRAM, "diff", "--kubeconfig=kubeconfig"]);
    let run = folder.end(command.arg("--request-timeout=18446744073709551615"));
    assert!(
        [2, 3, 124].contains(&run.code) && !run.shows("panicked"),
        "{run}"
    );
}

#[test]
fn a_password_in_the_url_of_the_server_is_not_shown() {
    for scheme in ["https", "http"] {
        let folder = Folder::new();
        let cluster = format!("server: '{scheme}://user:s3ntinel@127.0.0.1:1'");
        folder.write("kubeconfig", kubeconfig(&cluster, USER));
        for options in [&["-vv"] as &[&str], &["-o", "json"]] {
            let arguments = [
                &["diff", "--kubeconfig=kubeconfig", "--request-timeout=1"],
                options,
            ]
            .concat();
            assert_eq!(folder.run(&arguments).check().code, 3);
        }
    }
}

#[test]
fn a_password_in_the_url_of_a_proxy_is_not_shown() {
    for scheme in ["http", "socks5"] {
        let folder = Folder::new();
        let cluster = format!("{NOWHERE}, proxy-url: '{scheme}://user:s3ntinel@127.0.0.1:1'");
        folder.write("kubeconfig", kubeconfig(&cluster, USER));
        let arguments = [
            "diff",
            "--kubeconfig=kubeconfig",
            "--request-timeout=1",
            "-vv",
        ];
        assert_eq!(folder.run(&arguments).check().code, 3);
    }
}
