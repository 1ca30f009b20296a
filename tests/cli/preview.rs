//! The preview: what it prints, that it holds no value, and that it is free.

use crate::folder::{Folder, INPUTS, Run, SENTINEL, TOKENS};
use base64::{Engine, engine::general_purpose::STANDARD};
use insta::assert_snapshot;
use serde_json::json;

#[test]
fn without_inputs_two_secrets_are_skipped_with_the_reason() {
    assert_snapshot!(Folder::new().run(&[]), @r#"
    exit code 0
    --- stdout
    sh <<'PREVIEW'
    # Preview: nothing has been contacted, written or minted.
    # This does on a fresh namespace what the next line does on any:
    #   k8s-bootstrap -n default --apply
    set -eu
    umask 077

    # The tokens: a file that exists is never replaced (set -C), a token in it never minted again.
    if [ ! -e ./local/.k8s-tokens ]; then
      mkdir -p ./local
      (set -C; : > ./local/.k8s-tokens)
    fi
    unset KB_ROUTER_TOKEN EMBEDDINGS_API_KEY
    . ./local/.k8s-tokens
    mint() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
    if [ -z "${KB_ROUTER_TOKEN-}" ]; then
      KB_ROUTER_TOKEN=$(mint)
      cat >> ./local/.k8s-tokens <<EOF

    KB_ROUTER_TOKEN="$KB_ROUTER_TOKEN"
    EOF
    fi
    if [ -z "${EMBEDDINGS_API_KEY-}" ]; then
      EMBEDDINGS_API_KEY=$(mint)
      cat >> ./local/.k8s-tokens <<EOF

    EMBEDDINGS_API_KEY="$EMBEDDINGS_API_KEY"
    EOF
    fi

    kubectl -n default create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin <<EOF
    KB_ROUTER_TOKEN=$KB_ROUTER_TOKEN
    EMBEDDINGS_API_KEY=$EMBEDDINGS_API_KEY
    EOF

    # embeddings-secrets: skipped, POSTGRES_URL is not set
    # kubectl -n default create secret generic embeddings-secrets --from-env-file=/dev/stdin <<EOF
    # POSTGRES_URL=$POSTGRES_URL
    # LLM_API_KEY=${LLM_API_KEY:-}
    # LLM_API_BASE=${LLM_API_BASE:-}
    # LLM_EMBED_MODEL=${LLM_EMBED_MODEL:-text-embedding-3-small}
    # EMBEDDINGS_API_KEYS=$EMBEDDINGS_API_KEY
    # API_KEYS=$EMBEDDINGS_API_KEY
    # EOF

    # agenticore-secrets: skipped, ANTHROPIC_API_KEY is not set
    # kubectl -n default create secret generic agenticore-secrets --from-env-file=/dev/stdin <<EOF
    # ANTHROPIC_API_KEY=$ANTHROPIC_API_KEY
    # GITHUB_TOKEN=${GITHUB_TOKEN:-}
    # EOF
    #
    # Next, in a checkout of agentibrain-kernel:
    #   helm install brain-api helm/brain-api -n default
    #   helm install embeddings helm/embeddings -n default
    #   helm install brain-ops helm/brain-ops -n default
    #   helm install brain-keeper helm/brain-keeper -n default
    # Then test it:
    #   kubectl -n default port-forward svc/agentibrain-brain-api 8080:8080 &
    #   eval "$(k8s-bootstrap -n default tokens)"
    #   curl -fsS -H "Authorization: Bearer $KB_ROUTER_TOKEN" http://localhost:8080/feed
    # embeddings-secrets was skipped, and workloads that read it will not start: POSTGRES_URL is not set
    # agenticore-secrets was skipped, and workloads that read it will not start: ANTHROPIC_API_KEY is not set
    PREVIEW
    --- stderr
    "#);
}

#[test]
fn with_every_input_and_option() {
    let run = Folder::new().run_with_inputs(&[
        "--namespace=brain",
        "--create-namespace",
        "--without-api-keys",
        "--context=it's mine",
        "--kubeconfig=/etc/kube config",
        "--tokens-file=my tokens/of brain",
    ]);
    assert_snapshot!(run.check(), @r#"
    exit code 0
    --- stdout
    sh <<'PREVIEW'
    # Preview: nothing has been contacted, written or minted.
    # This does on a fresh namespace what the next line does on any:
    #   k8s-bootstrap -n brain --kubeconfig '/etc/kube config' --context "it's mine" --tokens-file 'my tokens/of brain' --apply --create-namespace --without-api-keys
    set -eu
    umask 077
    : "${POSTGRES_URL:?is not exported}"
    : "${ANTHROPIC_API_KEY:?is not exported}"

    # The tokens: a file that exists is never replaced (set -C), a token in it never minted again.
    if [ ! -e './my tokens/of brain' ]; then
      mkdir -p './my tokens'
      (set -C; : > './my tokens/of brain')
    fi
    unset KB_ROUTER_TOKEN EMBEDDINGS_API_KEY
    . './my tokens/of brain'
    mint() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }
    if [ -z "${KB_ROUTER_TOKEN-}" ]; then
      KB_ROUTER_TOKEN=$(mint)
      cat >> './my tokens/of brain' <<EOF

    KB_ROUTER_TOKEN="$KB_ROUTER_TOKEN"
    EOF
    fi
    if [ -z "${EMBEDDINGS_API_KEY-}" ]; then
      EMBEDDINGS_API_KEY=$(mint)
      cat >> './my tokens/of brain' <<EOF

    EMBEDDINGS_API_KEY="$EMBEDDINGS_API_KEY"
    EOF
    fi

    kubectl --kubeconfig '/etc/kube config' --context "it's mine" create namespace brain </dev/null

    kubectl --kubeconfig '/etc/kube config' --context "it's mine" -n brain create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin <<EOF
    KB_ROUTER_TOKEN=$KB_ROUTER_TOKEN
    EMBEDDINGS_API_KEY=$EMBEDDINGS_API_KEY
    EOF

    kubectl --kubeconfig '/etc/kube config' --context "it's mine" -n brain create secret generic embeddings-secrets --from-env-file=/dev/stdin <<EOF
    POSTGRES_URL=$POSTGRES_URL
    LLM_API_KEY=${LLM_API_KEY:-}
    LLM_API_BASE=${LLM_API_BASE:-}
    LLM_EMBED_MODEL=${LLM_EMBED_MODEL:-text-embedding-3-small}
    EMBEDDINGS_API_KEYS=$EMBEDDINGS_API_KEY
    EOF

    kubectl --kubeconfig '/etc/kube config' --context "it's mine" -n brain create secret generic agenticore-secrets --from-env-file=/dev/stdin <<EOF
    ANTHROPIC_API_KEY=$ANTHROPIC_API_KEY
    GITHUB_TOKEN=${GITHUB_TOKEN:-}
    EOF
    #
    # Next, in a checkout of agentibrain-kernel:
    #   helm install brain-api helm/brain-api -n brain --kubeconfig '/etc/kube config' --kube-context "it's mine"
    #   helm install embeddings helm/embeddings -n brain --kubeconfig '/etc/kube config' --kube-context "it's mine"
    #   helm install brain-ops helm/brain-ops -n brain --kubeconfig '/etc/kube config' --kube-context "it's mine"
    #   helm install brain-keeper helm/brain-keeper -n brain --kubeconfig '/etc/kube config' --kube-context "it's mine"
    # Then test it:
    #   kubectl --kubeconfig '/etc/kube config' --context "it's mine" -n brain port-forward svc/agentibrain-brain-api 8080:8080 &
    #   eval "$(k8s-bootstrap -n brain --kubeconfig '/etc/kube config' --context "it's mine" --tokens-file 'my tokens/of brain' tokens)"
    #   curl -fsS -H "Authorization: Bearer $KB_ROUTER_TOKEN" http://localhost:8080/feed
    PREVIEW
    --- stderr
    "#);
}

#[test]
fn a_comment_names_what_the_env_file_has_and_the_shell_has_not() {
    let folder = Folder::new();
    folder.write(
        "inputs.env",
        "POSTGRES_URL=host=s3ntinel-file\nLOG_LEVEL=DEBUG\nKB_ROUTER_TOKEN=s3ntinel-0123456789\n",
    );
    let run = folder
        .run_with_inputs(&["--env-file", "inputs.env"])
        .check();
    let comment = "# Export these first; --env-file has them: LOG_LEVEL POSTGRES_URL\n";
    let key = "LOG_LEVEL=$LOG_LEVEL\n";
    assert!(run.out.contains(comment) && run.out.contains(key), "{run}");
    assert_eq!((run.code, run.err.as_str()), (0, ""));

    let run = folder.run_with_inputs(&[]).check();
    assert!(
        !run.shows("Export these") && !run.shows("LOG_LEVEL"),
        "{run}"
    );
}

/// The command in the comment does the same as the script, so it has every option that matters.
#[test]
fn the_comment_has_every_option_that_was_given() {
    let folder = Folder::new();
    folder.write("my inputs", "POSTGRES_URL=host=s3ntinel-file\n");
    for (options, expected) in [
        (&[] as &[&str], "k8s-bootstrap -n default --apply"),
        (
            &["--env-file=my inputs"],
            "k8s-bootstrap -n default --apply --env-file 'my inputs'",
        ),
        (
            &["--update=POSTGRES_URL,GITHUB_TOKEN", "--force-conflicts"],
            "k8s-bootstrap -n default --apply --update POSTGRES_URL,GITHUB_TOKEN \
             --force-conflicts",
        ),
        (
            &[
                "--without-api-keys",
                "--fleet-namespace=two",
                "--create-namespace",
                "--fleet-selector=team in (a, b)",
                "--fleet-namespace=one",
                "--env-file=my inputs",
                "--context=c",
                "-n",
                "brain",
            ],
            "k8s-bootstrap -n brain --context c --apply --env-file 'my inputs' \
             --create-namespace --without-api-keys --fleet-namespace two --fleet-namespace one \
             --fleet-selector 'team in (a, b)'",
        ),
    ] {
        let run = folder.run_with_inputs(options).check();
        let line = run.out.lines().nth(3).unwrap();
        assert_eq!(line, format!("#   {expected}"));
        assert_eq!((run.code, run.err.as_str()), (0, ""));
    }
}

#[test]
fn it_writes_nothing_and_needs_no_kubeconfig() {
    for folder in [Folder::new(), Folder::with_tokens()] {
        let before = folder.everything();
        for arguments in [
            &[] as &[&str],
            &["--create-namespace", "--without-api-keys", "--prefer=file"],
            &["--kubeconfig=absent", "--context=absent"],
            &["-o", "json"],
            &["-o", "yaml"],
        ] {
            let run = folder.run_with_inputs(arguments).check();
            assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
        }
        assert_eq!(folder.everything(), before);
    }
}

#[test]
fn a_broken_kubeconfig_is_not_even_read() {
    let folder = Folder::new();
    folder.write("kubeconfig", "token: [s3ntinel");
    let with = folder.run(&["--kubeconfig", "kubeconfig"]).check();
    assert_eq!((with.code, with.err.as_str()), (0, ""));
}

#[test]
fn manifests_are_masked() {
    let folder = Folder::with_tokens();
    let run = folder
        .run_with_inputs(&["-n", "brain", "-o", "yaml"])
        .check();
    for (_, value) in INPUTS.iter().chain(&TOKENS) {
        assert!(!run.shows(&STANDARD.encode(value)), "{run}");
    }
    assert_snapshot!(run, @r#"
  exit code 0
  --- stdout
  ---
  apiVersion: v1
  kind: Secret
  metadata:
    name: agentibrain-router-secrets
    namespace: brain
  type: Opaque
  data:
    EMBEDDINGS_API_KEY: "<masked: --show-values shows it>"
    KB_ROUTER_TOKEN: "<masked: --show-values shows it>"
  ---
  apiVersion: v1
  kind: Secret
  metadata:
    name: embeddings-secrets
    namespace: brain
  type: Opaque
  data:
    API_KEYS: "<masked: --show-values shows it>"
    EMBEDDINGS_API_KEYS: "<masked: --show-values shows it>"
    LLM_API_BASE: "<masked: --show-values shows it>"
    LLM_API_KEY: "<masked: --show-values shows it>"
    LLM_EMBED_MODEL: "<masked: --show-values shows it>"
    POSTGRES_URL: "<masked: --show-values shows it>"
  ---
  apiVersion: v1
  kind: Secret
  metadata:
    name: agenticore-secrets
    namespace: brain
  type: Opaque
  data:
    ANTHROPIC_API_KEY: "<masked: --show-values shows it>"
    GITHUB_TOKEN: "<masked: --show-values shows it>"
  --- stderr
    "#);
}

#[test]
fn the_namespace_comes_before_what_is_in_it() {
    let folder = Folder::new();
    let plain = folder.run_with_inputs(&["-n", "brain", "-o", "yaml"]);
    let run = folder.run_with_inputs(&["-n", "brain", "-o", "yaml", "--create-namespace"]);
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: brain\n";
    assert_eq!(run, Run::answered(&format!("{namespace}{}", plain.out)));
    assert!(plain.out.starts_with("---\n") && !plain.shows("kind: Namespace"));
}

#[test]
fn manifests_show_values_on_request_and_mint_nothing() {
    let folder = Folder::new();
    let run = folder.end(
        folder
            .command(crate::folder::PROGRAM)
            .env("ANTHROPIC_API_KEY", "sk-ant-s3ntinel")
            .args(["-o", "yaml", "--show-values"]),
    );
    // printf %s sk-ant-s3ntinel | base64
    assert_snapshot!(run, @r#"
    exit code 0
    --- stdout
    ---
    apiVersion: v1
    kind: Secret
    metadata:
      name: agentibrain-router-secrets
      namespace: default
    type: Opaque
    data:
      EMBEDDINGS_API_KEY: <minted by --apply>
      KB_ROUTER_TOKEN: <minted by --apply>
    ---
    # embeddings-secrets: skipped, POSTGRES_URL is not set
    ---
    apiVersion: v1
    kind: Secret
    metadata:
      name: agenticore-secrets
      namespace: default
    type: Opaque
    data:
      ANTHROPIC_API_KEY: c2stYW50LXMzbnRpbmVs
      GITHUB_TOKEN: ""
    --- stderr
    "#);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn shown_values_are_those_of_the_inputs_and_the_file() {
    let folder = Folder::with_tokens();
    let run = folder.run_with_inputs(&["-o", "yaml", "--show-values"]);
    for (key, value) in INPUTS.iter().chain(&TOKENS) {
        let line = format!("\n  {key}: {}\n", STANDARD.encode(value));
        assert!(run.out.replace('"', "").contains(&line), "{key}\n{run}");
    }
    for list in ["EMBEDDINGS_API_KEYS", "API_KEYS"] {
        let line = format!("\n  {list}: {}\n", STANDARD.encode(TOKENS[1].1));
        assert!(run.out.replace('"', "").contains(&line), "{list}\n{run}");
    }
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn json_is_the_plan() {
    let folder = Folder::new();
    folder.write(
        "local/.k8s-tokens",
        format!("KB_ROUTER_TOKEN={}\n", TOKENS[0].1),
    );
    let run = folder.end(
        folder
            .command(crate::folder::PROGRAM)
            .env("POSTGRES_URL", "host=s3ntinel")
            .args(["-n", "brain", "--context", "c", "-o", "json"]),
    );
    let run = run.check();
    let key = |key: &str, source: &str| json!({"key": key, "action": "set", "source": source});
    let expected = json!({
        "version": 1, "command": "preview", "ok": true, "context": "c", "server": null,
        "tokens_file": {"path": "local/.k8s-tokens", "action": "updated"},
        "secrets": [
            {
                "namespace": "brain", "name": "agentibrain-router-secrets", "action": "created",
                "owner": null, "reason": null,
                "keys": [key("KB_ROUTER_TOKEN", "file"), key("EMBEDDINGS_API_KEY", "minted")],
            },
            {
                "namespace": "brain", "name": "embeddings-secrets", "action": "created",
                "owner": null, "reason": null,
                "keys": [
                    key("POSTGRES_URL", "env"),
                    key("LLM_API_KEY", "default"),
                    key("LLM_API_BASE", "default"),
                    key("LLM_EMBED_MODEL", "default"),
                    key("EMBEDDINGS_API_KEYS", "minted"),
                    key("API_KEYS", "minted"),
                ],
            },
            {
                "namespace": "brain", "name": "agenticore-secrets", "action": "skipped",
                "owner": null, "reason": "ANTHROPIC_API_KEY is not set", "keys": [],
            },
        ],
        "error": null,
    });
    assert_eq!(run.json(), expected);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

/// A line break in a path or a context must not end the comment that shows the command.
#[test]
fn a_line_break_in_an_option_does_not_leave_the_comment() {
    let folder = Folder::new();
    for option in ["context", "tokens-file", "kubeconfig", "fleet-selector"] {
        let run = folder.run(&[&format!("--{option}=a\ntouch planted #")]);
        let expected = format!(
            "error: --{option} is empty or has a control character\n  \
             hint: k8s-bootstrap --help\n"
        );
        assert_eq!(run, Run::failed(2, &expected));
    }
}

/// The same for a file that is there and has such a name.
#[test]
fn a_line_break_in_the_name_of_the_env_file_does_not_leave_the_comment() {
    let folder = Folder::new();
    folder.write("a\ntouch planted #", "");
    let run = folder.run(&["--env-file=a\ntouch planted #"]);
    if run.code == 2 {
        assert_eq!(run.out, "");
        return;
    }
    let lines = run.out.lines().skip(1);
    let comment: Vec<_> = lines.take_while(|line| *line != "set -eu").collect();
    let stray = comment.iter().find(|line| !line.starts_with('#'));
    assert_eq!(stray, None, "{run}");
}

/// The script has to name the file that the program would use, or there must be none.
#[test]
fn a_path_that_is_not_utf_8_is_not_changed_to_another_one() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let path = std::ffi::OsStr::from_bytes(b"tokens-\xff");
    let mut command = folder.command(crate::folder::PROGRAM);
    let output = command.arg("--tokens-file").arg(path).output().unwrap();
    let other = "tokens-\u{fffd}".as_bytes();
    let names_another = output
        .stdout
        .windows(other.len())
        .any(|window| window == other);
    assert!(
        !names_another,
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(matches!(output.status.code(), Some(0 | 2 | 3)));
}

/// Guards the other tests: each value has what they search for.
#[test]
fn every_test_value_holds_the_sentinel() {
    for (key, value) in INPUTS.iter().chain(&TOKENS) {
        assert!(value.contains(SENTINEL), "{key}");
    }
    let shown = Run::answered(INPUTS[0].1);
    assert!(shown.shows(SENTINEL));
}
