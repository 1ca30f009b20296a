//! `verify` where there is no cluster to ask: what is seen of the file, in both formats, its marks.

use crate::folder::{Folder, PROGRAM};
use crate::streams::{shown, terminal};
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::process::Stdio;

#[test]
fn without_a_kubeconfig_the_file_is_looked_at() {
    let folder = Folder::with_tokens();
    assert_snapshot!(folder.run(&["verify"]).check(), @"
    exit code 3
    --- stdout
    cluster
    -------
    [fail] cluster.reachable   cannot read the kubeconfig <folder>/home/.kube/config
                               hint: kubectl cluster-info

    file
    ----
    [ok]   file.present        local/.k8s-tokens exists
    [ok]   file.parsed         the tokens file is valid
    [ok]   file.mode           other users cannot read it
    [ok]   file.complete       it holds both tokens
    [ok]   file.ignored        git does not track it

    not healthy: 1 failed (cluster.reachable), 5 passed
    --- stderr
    error: cannot read the kubeconfig <folder>/home/.kube/config
      - No such file or directory (os error 2)
      hint: point KUBECONFIG or --kubeconfig at a file that kubectl works with
    ");
    assert_eq!(folder.names(), ["local", "local/.k8s-tokens"]);
}

#[test]
fn json_has_the_checks_beside_the_error() {
    let folder = Folder::new();
    let run = folder.run(&["verify", "-o", "json"]).check();
    assert_eq!(run.code, 3);
    let document = run.json();
    let keys: Vec<_> = document.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["checks", "command", "error", "ok", "version"]);
    assert_eq!(
        (&document["version"], &document["command"], &document["ok"]),
        (&json!(1), &json!("verify"), &json!(false))
    );
    let error = &document["error"];
    let kubeconfig = "cannot read the kubeconfig <folder>/home/.kube/config";
    assert_eq!(error["message"], kubeconfig);
    assert!(error["hint"].as_str().unwrap().contains("KUBECONFIG"));
    assert!(
        run.err.starts_with(&format!("error: {kubeconfig}\n")),
        "{run}"
    );
    let check = |id: &str, status: &str, message: &str, hint: &str| {
        json!({
            "id": id, "status": status, "namespace": "", "object": "", "message": message,
            "hint": hint,
        })
    };
    let absent = "tokens file not found";
    let expected = [
        check(
            "cluster.reachable",
            "fail",
            kubeconfig,
            "kubectl cluster-info",
        ),
        check(
            "file.present",
            "warn",
            "tokens file local/.k8s-tokens not found",
            "see docs/checks.md#filepresent",
        ),
        check("file.parsed", "skip", absent, ""),
        check("file.mode", "skip", absent, ""),
        check("file.complete", "skip", absent, ""),
        check("file.ignored", "skip", absent, ""),
    ];
    assert_eq!(document["checks"], json!(expected));
}

#[test]
fn a_server_that_does_not_answer_is_told_likewise() {
    let folder = Folder::with_tokens();
    folder.write(
        "kubeconfig",
        "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n\
         clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\n",
    );
    let options = ["verify", "--live", "-o", "json", "--request-timeout=300ms"];
    let run = folder
        .run(&[&options as &[&str], &["--kubeconfig=kubeconfig"]].concat())
        .check();
    let document = run.json();
    assert_eq!((run.code, &document["ok"]), (3, &json!(false)));
    let first = &document["checks"][0];
    assert_eq!(
        (&first["id"], &first["status"], &first["hint"]),
        (
            &json!("cluster.reachable"),
            &json!("fail"),
            &json!("kubectl --kubeconfig kubeconfig cluster-info")
        )
    );
    assert_eq!(first["message"], document["error"]["message"]);
}

#[test]
fn short_shows_what_does_not_pass() {
    let folder = Folder::new();
    let run = folder.run(&["verify", "--short"]).check();
    assert_eq!(run.code, 3);
    assert!(!run.out.contains("[ok]"), "{run}");
    for mark in ["[fail]", "[warn]", "[skip]"] {
        assert!(run.out.contains(mark), "{run}");
    }
    // The sentence at the end counts them all the same.
    let full = folder.run(&["verify"]);
    assert_eq!(run.out.lines().last(), full.out.lines().last());
    let ids = |options: &[&str]| {
        let document = folder
            .run(&[&["verify", "-o", "json"], options].concat())
            .json();
        let checks = document["checks"].as_array().unwrap().iter();
        checks
            .map(|check| check["status"].clone())
            .collect::<Vec<Value>>()
    };
    let all = ids(&[]);
    let fewer: Vec<_> = all
        .iter()
        .filter(|status| **status != "pass")
        .cloned()
        .collect();
    assert_eq!(ids(&["--short"]), fewer);
    assert_eq!(fewer.len(), all.len());
    // Of a file that is well there is more to leave out.
    folder.write("local/.k8s-tokens", "# none yet\n");
    assert!(ids(&["--short"]).len() < ids(&[]).len());
}

/// The first word of each line about a check.
fn marks(text: &str) -> Vec<&str> {
    let lines = text
        .lines()
        .filter(|line| line.contains("file.") && !line.contains("("));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// The marks of a tokens file that cannot be used.
const ASCII: [&str; 5] = ["[ok]", "[fail]", "[skip]", "[skip]", "[ok]"];
const PRETTY: [&str; 5] = ["√", "×", "-", "-", "√"];

fn with_an_unusable_file() -> Folder {
    let folder = Folder::new();
    folder.write("local/.k8s-tokens", "what is this\n");
    folder
}

#[test]
fn a_pipe_gets_marks_of_ascii() {
    let folder = with_an_unusable_file();
    let mut command = folder.command(PROGRAM);
    command.args(["verify"]).env("LANG", "C.UTF-8");
    let run = folder.end(&mut command);
    assert_eq!(marks(&run.out), ASCII);
    assert!(run.out.is_ascii() && !run.out.contains('\x1b'), "{run}");
    // Colours that are asked for bring the marks that go with them.
    let run = folder.end(command.arg("--color=always"));
    assert!(
        run.out.contains("\x1b[32m  √   \x1b[0m file.ignored"),
        "{run}"
    );
    std::fs::remove_file(folder.path("local/.k8s-tokens")).unwrap();
    let absent = folder.end(&mut command);
    assert!(
        absent.out.contains("\x1b[33m  ‼   \x1b[0m file.present"),
        "{absent}"
    );
    assert!(
        run.out.contains("\x1b[31m  ×   \x1b[0m cluster.reachable"),
        "{run}"
    );
}

#[test]
fn a_terminal_gets_the_marks_that_it_can_show() {
    let folder = with_an_unusable_file();
    let utf8 = ("LANG", "en_US.UTF-8");
    for (variables, coloured, expected) in [
        (&[utf8, ("TERM", "xterm-256color")] as &[_], true, PRETTY),
        (&[("LC_CTYPE", "C.utf8")], true, PRETTY),
        (&[utf8, ("NO_COLOR", "")], true, PRETTY),
        (&[utf8, ("NO_COLOR", "1")], false, ASCII),
        (&[utf8, ("TERM", "dumb")], true, ASCII),
        (&[("LANG", "C")], true, ASCII),
        (&[utf8, ("LC_ALL", "C")], true, ASCII),
        (&[], true, ASCII),
    ] {
        let (controller, terminal) = terminal();
        let mut command = folder.command(PROGRAM);
        command
            .arg("verify")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(terminal)
            .stderr(Stdio::null());
        let status = command.status().unwrap();
        drop(command);
        let text = shown(controller);
        assert_eq!(status.code(), Some(3));
        assert_eq!(text.contains("\x1b["), coloured, "{variables:?}: {text}");
        let mut plain = text.clone();
        for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(marks(&plain), expected, "{variables:?}: {plain}");
        assert_eq!(plain.is_ascii(), expected == ASCII, "{variables:?}");
    }
}

#[test]
fn the_help_has_the_options_with_their_defaults() {
    let run = Folder::new().run(&["verify", "--help"]).check();
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    for text in [
        "Usage: k8s-bootstrap verify [OPTIONS]",
        "--live",
        "--wait [<TIME>]",
        "--short",
        "--copy <NS/NAME>",
        "--max-age <TIME>",
        "[default: 90d]",
        "--max-overlap <TIME>",
        "[default: 24h]",
        "--fleet-namespace <NS>",
        "--fleet-selector <LABELS>",
    ] {
        assert!(run.out.contains(text), "{text}: {run}");
    }
}

/// The rules of `rbac verify`, each as verb, resource and name.
fn rights(options: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    let options = [&["rbac", "verify", "-n", "brain", "-o", "json"], options].concat();
    let run = folder.run(&options).check();
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{options:?}");
    let document = run.json();
    let objects = document["objects"].as_array().unwrap();
    let texts = |value: &Value| {
        let texts = value.as_array().into_iter().flatten();
        texts
            .map(|text| text.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(",")
    };
    let of_object = |object: &Value| {
        let place = object["metadata"]["namespace"].as_str().unwrap_or("*");
        let rule = |rule: &Value| {
            let [verbs, resources, names] =
                ["verbs", "resources", "resourceNames"].map(|field| texts(&rule[field]));
            format!("{place}: {verbs} {resources} {names}")
                .trim_end()
                .to_owned()
        };
        let rules = object["rules"].as_array().unwrap();
        rules.iter().map(rule).collect::<Vec<_>>()
    };
    objects.iter().flat_map(of_object).collect()
}

#[test]
fn the_role_of_verify_grants_what_the_options_need() {
    let known = "agentibrain-mcp-secrets,brain-ops-secrets";
    let secrets =
        format!("agentibrain-router-secrets,embeddings-secrets,agenticore-secrets,{known}");
    let lists = [
        "list externalsecrets",
        "list statefulsets,deployments,daemonsets",
        "list cronjobs",
        "list pods",
        "list events",
        "get secretstores",
    ];
    let of = |place: &str, first: &[&str], lists: &[&str]| {
        let rights = first.iter().chain(lists);
        rights
            .map(|right| format!("{place}: {right}"))
            .collect::<Vec<_>>()
    };
    let home = [
        &format!("get secrets {secrets}") as &str,
        "get namespaces brain",
    ];
    assert_eq!(rights(&[]), of("brain", &home, &lists));

    let forward = "get,create pods/portforward agentibrain-brain-api-0,agentibrain-embeddings-0";
    let live = [&home[..], &[forward]].concat();
    assert_eq!(rights(&["--live"]), of("brain", &live, &lists));

    let with_copy = [
        &format!("get secrets {secrets},ops") as &str,
        "get namespaces brain",
    ];
    let expected = [
        of("brain", &with_copy, &lists),
        of("tools", &["get secrets mcp"], &[]),
    ];
    let copies = rights(&["--copy=brain/ops", "--copy=tools/mcp"]);
    assert_eq!(copies, expected.concat());

    let router = [
        &format!("get secrets agentibrain-router-secrets,{known}") as &str,
        "get namespaces one",
    ];
    let expected = [of("brain", &live, &lists), of("one", &router, &lists)];
    assert_eq!(
        rights(&["--live", "--fleet-namespace=one"]),
        expected.concat()
    );

    // Everywhere it lists what it gets elsewhere.
    let everywhere = ["list secrets agentibrain-router-secrets", "list namespaces"];
    let expected = [of("brain", &live, &[]), of("*", &everywhere, &lists)];
    assert_eq!(
        rights(&["--live", "--fleet-selector=team"]),
        expected.concat()
    );

    // What a Role cannot give.
    let stores = ["*: get clustersecretstores".to_owned()];
    let events = ["default: list events".to_owned()];
    let expected = [&of("brain", &home, &lists)[..], &events, &stores].concat();
    assert_eq!(rights(&["--cluster-store"]), expected);
    let copy = ["default: get secrets ops".to_owned()];
    let expected = [&of("brain", &home, &lists)[..], &copy, &events, &stores].concat();
    let options = ["--cluster-store", "--copy=default/ops"];
    assert_eq!(rights(&options), expected);
    let expected = [
        &of("brain", &home, &[])[..],
        &of("*", &everywhere, &lists),
        &stores,
    ];
    let options = ["--cluster-store", "--fleet-selector=team"];
    assert_eq!(rights(&options), expected.concat());
}
