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
    assert!(run.out.contains(".TH k8s-bootstrap 1"), "{run}");
    let plain = run.out.replace("\\-", "-");
    for command in [
        "diff",
        "tokens",
        "show",
        "recover",
        "rbac",
        "completions",
        "man",
        "--apply",
    ] {
        assert!(plain.contains(command), "{command}");
    }
    for page in ["diff", "tokens", "rbac", "completions", "man"] {
        assert!(
            plain.contains(&format!(".TH k8s-bootstrap-{page} 1")),
            "{page}"
        );
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
    if folder.sh("command -v bash").code == 0 {
        let run = folder.sh(
            r#""$PROGRAM" completions bash > c && bash -n c && bash -uc '. ./c; complete -p k8s-bootstrap'"#,
        );
        assert!(
            run.code == 0 && run.out.starts_with("complete ") && run.err.is_empty(),
            "{run}"
        );
    }
}

#[test]
fn the_role_of_apply() {
    let folder = Folder::new();
    let run = folder.run(&["rbac", "-n", "brain", "--service-account", "ci:deployer"]);
    assert_snapshot!(run, @r#"
    exit code 0
    --- stdout
    # Kubernetes cannot restrict `create` by name, so this Role may create any Secret here.
    # --create-namespace needs a ClusterRole that may create namespaces besides.
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
    --- stderr
    "#);
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
                    {
                        "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"],
                        "resourceNames": ["brain"],
                    },
                    {
                        "apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"],
                        "verbs": ["list"],
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
