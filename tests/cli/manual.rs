//! What the program says of itself: help, manual page, completions, roles.

use crate::folder::{Folder, Run};
use insta::assert_snapshot;
use serde_json::json;

#[test]
fn help_is_an_answer() {
    let folder = Folder::new();
    for arguments in [
        &["-h"] as &[&str],
        &["--help"],
        &["diff", "-h"],
        &["tokens", "--help"],
        &["tokens", "show", "-h"],
        &["tokens", "recover", "--help"],
        &["verify", "--help"],
        &["lint", "--help"],
        &["rotate", "--help"],
        &["rbac", "-h"],
        &["completions", "-h"],
        &["man", "--help"],
        &["--apply", "--help"],
    ] {
        let run = folder.run_with_inputs(arguments).check();
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
        assert!(run.out.contains("Usage: k8s-bootstrap"), "{run}");
        assert!(run.out.contains("--tokens-file <FILE>"), "{run}");
    }
    let long = folder.run(&["--help"]).out;
    for word in [
        "POSTGRES_URL",
        "ANTHROPIC_API_KEY",
        "Exit codes: 0 ",
        "diff",
        "tokens",
        "verify",
        "lint",
        "rotate",
        "rbac",
    ] {
        assert!(long.contains(word), "{word}");
    }
}

#[test]
fn the_version() {
    let expected = Run::answered(concat!("k8s-bootstrap ", env!("CARGO_PKG_VERSION"), "\n"));
    for flag in ["--version", "-V"] {
        assert_eq!(Folder::new().run(&[flag]), expected);
    }
}

#[test]
fn the_manual_page_names_every_command() {
    let folder = Folder::new();
    let run = folder.run(&["man"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let titles: Vec<_> = run
        .out
        .lines()
        .filter(|line| line.starts_with(".TH "))
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    let title = format!(".TH k8s-bootstrap 1  \"k8s-bootstrap {version}\" ");
    assert_eq!(titles, [title.as_str()]);
    let plain = run.out.replace("\\-", "-");
    for command in [
        "diff",
        "tokens",
        "show",
        "recover",
        "verify",
        "lint",
        "rotate",
        "populate",
        "rbac",
        "completions",
        "man",
        "--apply",
    ] {
        assert!(plain.contains(command), "{command}");
    }
    let sections: Vec<_> = plain.split(".SH NAME\n").skip(1).collect();
    let names: Vec<_> = sections
        .iter()
        .map(|section| section.split_once(" - ").unwrap().0)
        .collect();
    let expected = [
        "k8s-bootstrap",
        "k8s-bootstrap-diff",
        "k8s-bootstrap-tokens",
        "k8s-bootstrap-tokens-show",
        "k8s-bootstrap-tokens-recover",
        "k8s-bootstrap-verify",
        "k8s-bootstrap-lint",
        "k8s-bootstrap-rotate",
        "k8s-bootstrap-populate",
        "k8s-bootstrap-migrate",
        "k8s-bootstrap-sync",
        "k8s-bootstrap-externalsecrets",
        "k8s-bootstrap-rbac",
        "k8s-bootstrap-completions",
        "k8s-bootstrap-man",
    ];
    assert_eq!(names, expected);
    let recover = sections[4];
    for text in [
        "\\fBk8s-bootstrap tokens recover\\fR [\\fB--apply\\fR] ",
        ".SH OPTIONS\n.TP\n\\fB--apply\\fR\nWrite the file\n",
    ] {
        assert!(recover.contains(text), "{recover}");
    }
    for (section, options) in [
        (
            sections[5],
            &["live", "wait", "short", "copy", "max-age", "max-overlap"][..],
        ),
        (sections[7], &["abort", "until", "immediate", "copy"]),
        (sections[9], &["rollback", "prefix", "store"]),
        (sections[12], &["live", "copy", "service-account"]),
    ] {
        for option in options.iter().chain(&["fleet-namespace", "fleet-selector"]) {
            assert!(
                section.contains(&format!("\\fB--{option}\\fR")),
                "{section}"
            );
        }
    }
    let json = folder.run(&["man", "-o", "json"]).json();
    assert_eq!(
        (&json["command"], &json["content"]),
        (&json!("man"), &json!(run.out))
    );
}

#[test]
fn completions() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = folder.run(&["completions", shell]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{shell}");
        for word in ["k8s-bootstrap", "recover", "completions", "tokens-file"] {
            assert!(run.out.contains(word), "{shell}: {word}");
        }
    }
    let run = folder.sh(
        r#""$PROGRAM" completions bash > c && bash -n c && bash -uc '. ./c; complete -p k8s-bootstrap'"#,
    );
    assert!(
        run.code == 0 && run.out.starts_with("complete ") && run.err.is_empty(),
        "{run}"
    );
}

#[test]
fn the_role_of_apply() {
    let folder = Folder::new();
    let run = folder.run(&["rbac", "-n", "brain", "--service-account", "ci:deployer"]);
    assert_snapshot!(run, @r#"
    exit code 0
    --- stdout
    # Kubernetes cannot restrict `create` by name, so this Role may create any Secret here.
    # --create-namespace also needs a ClusterRole that may create namespaces.
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata:
      name: k8s-bootstrap-apply
      namespace: brain
    rules:
    - apiGroups:
      - ""
      resourceNames:
      - agentibrain-router-secrets
      - embeddings-secrets
      - agenticore-secrets
      resources:
      - secrets
      verbs:
      - get
      - patch
    - apiGroups:
      - ""
      resources:
      - secrets
      verbs:
      - create
    - apiGroups:
      - ""
      resourceNames:
      - brain
      resources:
      - namespaces
      verbs:
      - get
    - apiGroups:
      - external-secrets.io
      resources:
      - externalsecrets
      verbs:
      - list
    ---
    apiVersion: rbac.authorization.k8s.io/v1
    kind: RoleBinding
    metadata:
      name: k8s-bootstrap-apply
      namespace: brain
    roleRef:
      apiGroup: rbac.authorization.k8s.io
      kind: Role
      name: k8s-bootstrap-apply
    subjects:
    - kind: ServiceAccount
      name: deployer
      namespace: ci
    --- stderr
    "#);
    assert_eq!(
        folder.run(&[
            "rbac",
            "apply",
            "-n",
            "brain",
            "--service-account=ci:deployer",
            "-o",
            "yaml"
        ]),
        run
    );
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn the_roles_of_what_only_reads() {
    let folder = Folder::new();
    assert_snapshot!(folder.run(&["rbac", "diff"]), @r#"
    exit code 0
    --- stdout
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata:
      name: k8s-bootstrap-diff
      namespace: default
    rules:
    - apiGroups:
      - ""
      resourceNames:
      - agentibrain-router-secrets
      - embeddings-secrets
      - agenticore-secrets
      resources:
      - secrets
      verbs:
      - get
    - apiGroups:
      - ""
      resourceNames:
      - default
      resources:
      - namespaces
      verbs:
      - get
    - apiGroups:
      - external-secrets.io
      resources:
      - externalsecrets
      verbs:
      - list
    --- stderr
    "#);
    assert_snapshot!(folder.run(&["rbac", "recover", "-n", "brain"]), @r#"
    exit code 0
    --- stdout
    apiVersion: rbac.authorization.k8s.io/v1
    kind: Role
    metadata:
      name: k8s-bootstrap-recover
      namespace: brain
    rules:
    - apiGroups:
      - ""
      resourceNames:
      - agentibrain-router-secrets
      - embeddings-secrets
      resources:
      - secrets
      verbs:
      - get
    --- stderr
    "#);
}

/// Proofs forward ports, at home to both services, elsewhere to a brain-api.
#[test]
fn the_role_for_rotate_forwards_ports_where_it_is_to_prove() {
    let folder = Folder::new();
    let forwards = |options: &[&str]| {
        let all = [&["rbac", "rotate", "-n", "brain", "-o", "json"], options].concat();
        let document = folder.run(&all).json();
        let mut found = Vec::new();
        for object in document["objects"].as_array().unwrap() {
            for rule in object["rules"].as_array().unwrap() {
                if rule["resources"] == json!(["pods/portforward"]) {
                    let place = object["metadata"]["namespace"].as_str().unwrap_or("all");
                    found.push(format!("{place}: {}", rule["resourceNames"]));
                }
            }
        }
        found.join("; ")
    };
    assert_eq!(forwards(&["--fleet-namespace", "agents"]), "");
    assert_snapshot!(
        forwards(&["--live", "--fleet-namespace", "agents"]),
        @r#"brain: ["agentibrain-brain-api-0","agentibrain-embeddings-0"]; agents: ["agentibrain-brain-api-0"]"#
    );
    assert_snapshot!(
        forwards(&["--live", "--fleet-selector", "agentibrain=fleet"]),
        @r#"brain: ["agentibrain-brain-api-0","agentibrain-embeddings-0"]; all: ["agentibrain-brain-api-0"]"#
    );
}

/// The comments above the objects say what a Role cannot.
#[test]
fn what_the_roles_of_path_2_cannot_say_is_a_comment() {
    let folder = Folder::new();
    for (command, first) in [
        (
            "migrate",
            "# Kubernetes cannot restrict `create` by name, so ",
        ),
        ("sync", "# An ExternalSecret with another name than "),
    ] {
        let run = folder.run(&["rbac", command, "-n", "brain"]).check();
        assert!(run.code == 0 && run.out.starts_with(first), "{run}");
        assert!(run.out.contains("has to be added"), "{run}");
        assert!(!run.out.contains("ClusterRole"), "{run}");
    }
}

#[test]
fn roles_as_json() {
    let folder = Folder::new();
    let run = folder.run(&[
        "rbac",
        "recover",
        "-n",
        "brain",
        "--service-account=ci:d",
        "-o",
        "json",
    ]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let metadata = json!({"name": "k8s-bootstrap-recover", "namespace": "brain"});
    let group = "rbac.authorization.k8s.io";
    let expected = json!({
        "version": 1, "command": "rbac", "ok": true, "error": null,
        "objects": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
                "rules": [
                    {
                        "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"],
                        "resourceNames": ["agentibrain-router-secrets", "embeddings-secrets"],
                    },
                ],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": group, "kind": "Role", "name": "k8s-bootstrap-recover"},
                "subjects": [{"kind": "ServiceAccount", "name": "d", "namespace": "ci"}],
            },
        ],
    });
    assert_eq!(run.json(), expected);
}
