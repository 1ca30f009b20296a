//! The namespaces of the agent pods, as far as they need no cluster: the preview and the Roles.

use crate::folder::{Folder, PROGRAM, Run, TOKENS};
use crate::script::{SHELLS, calls, prepared};
use insta::assert_snapshot;
use serde_json::{Value, json};

const NAMED: [&str; 6] = [
    "-n",
    "brain",
    "--fleet-namespace=two",
    "--fleet-namespace=one",
    // Once is enough, and home has it already.
    "--fleet-namespace=two",
    "--fleet-namespace=brain",
];

/// What kubectl gets on stdin, and for which namespace, behind the tokens file.
fn creates(script: &str) -> &str {
    script
        .split_once("EMBEDDINGS_API_KEY=\"")
        .unwrap()
        .1
        .split_once("fi\n\n")
        .unwrap()
        .1
}

#[test]
fn a_named_namespace_gets_the_router_secret_only() {
    let run = Folder::new().run(&NAMED);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_snapshot!(creates(&run.out), @r#"
    kubectl -n brain create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin <<EOF
    KB_ROUTER_TOKEN=$KB_ROUTER_TOKEN
    EMBEDDINGS_API_KEY=$EMBEDDINGS_API_KEY
    EOF

    # embeddings-secrets: skipped, POSTGRES_URL is not set
    # kubectl -n brain create secret generic embeddings-secrets --from-env-file=/dev/stdin <<EOF
    # POSTGRES_URL=$POSTGRES_URL
    # LLM_API_KEY=${LLM_API_KEY:-}
    # LLM_API_BASE=${LLM_API_BASE:-}
    # LLM_EMBED_MODEL=${LLM_EMBED_MODEL:-text-embedding-3-small}
    # EMBEDDINGS_API_KEYS=$EMBEDDINGS_API_KEY
    # API_KEYS=$EMBEDDINGS_API_KEY
    # EOF

    # agenticore-secrets: skipped, ANTHROPIC_API_KEY is not set
    # kubectl -n brain create secret generic agenticore-secrets --from-env-file=/dev/stdin <<EOF
    # ANTHROPIC_API_KEY=$ANTHROPIC_API_KEY
    # GITHUB_TOKEN=${GITHUB_TOKEN:-}
    # EOF

    kubectl -n one create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin <<EOF
    KB_ROUTER_TOKEN=$KB_ROUTER_TOKEN
    EMBEDDINGS_API_KEY=$EMBEDDINGS_API_KEY
    EOF

    kubectl -n two create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin <<EOF
    KB_ROUTER_TOKEN=$KB_ROUTER_TOKEN
    EMBEDDINGS_API_KEY=$EMBEDDINGS_API_KEY
    EOF
    #
    # Next, in a checkout of agentibrain-kernel:
    #   helm install brain-api helm/brain-api -n brain
    #   helm install embeddings helm/embeddings -n brain
    #   helm install brain-ops helm/brain-ops -n brain
    #   helm install brain-keeper helm/brain-keeper -n brain
    # Then test it:
    #   kubectl -n brain port-forward svc/agentibrain-brain-api 8080:8080 &
    #   eval "$(k8s-bootstrap -n brain tokens)"
    #   curl -fsS -H "Authorization: Bearer $KB_ROUTER_TOKEN" http://localhost:8080/feed
    # embeddings-secrets was skipped, and workloads that read it will not start: POSTGRES_URL is not set
    # agenticore-secrets was skipped, and workloads that read it will not start: ANTHROPIC_API_KEY is not set
    PREVIEW
    "#);
}

#[test]
fn a_selector_is_a_loop_that_leaves_out_what_has_it_already() {
    let options = ["--fleet-selector=team in (a, it's)", "--context=my c"];
    let run = Folder::new().run(&[&NAMED as &[&str], &options].concat());
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let text = creates(&run.out);
    assert_snapshot!(&text[text.find("\nnamespaces=").unwrap() + 1..], @r#"
    namespaces=$(kubectl --context 'my c' get namespaces -l "team in (a, it's)" -o name </dev/null)
    for namespace in $namespaces; do
      namespace=${namespace#namespace/}
      case $namespace in brain|one|two) continue ;; esac
    kubectl --context 'my c' -n "$namespace" create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin <<EOF
    KB_ROUTER_TOKEN=$KB_ROUTER_TOKEN
    EMBEDDINGS_API_KEY=$EMBEDDINGS_API_KEY
    EOF
    done
    #
    # Next, in a checkout of agentibrain-kernel:
    #   helm install brain-api helm/brain-api -n brain --kube-context 'my c'
    #   helm install embeddings helm/embeddings -n brain --kube-context 'my c'
    #   helm install brain-ops helm/brain-ops -n brain --kube-context 'my c'
    #   helm install brain-keeper helm/brain-keeper -n brain --kube-context 'my c'
    # Then test it:
    #   kubectl --context 'my c' -n brain port-forward svc/agentibrain-brain-api 8080:8080 &
    #   eval "$(k8s-bootstrap -n brain --context 'my c' tokens)"
    #   curl -fsS -H "Authorization: Bearer $KB_ROUTER_TOKEN" http://localhost:8080/feed
    # embeddings-secrets was skipped, and workloads that read it will not start: POSTGRES_URL is not set
    # agenticore-secrets was skipped, and workloads that read it will not start: ANTHROPIC_API_KEY is not set
    PREVIEW
    "#);
    // Home alone is left out too.
    let run = Folder::new().run(&["-n", "brain", "--fleet-selector=team"]);
    assert!(
        run.out
            .contains("\n  case $namespace in brain) continue ;; esac\n"),
        "{run}"
    );
    let run = Folder::new().run(&[]);
    assert!(!run.shows("get namespaces"), "{run}");
}

/// Records its calls and has namespaces with the labels, two of them served before.
const KUBECTL: &str = r#"
printf '%s\n' "$*" >> "$HOME/calls"
case "$*" in
*"get namespaces"*) printf 'namespace/%s\n' aaa brain one zzz ;;
*--from-env-file=/dev/stdin*) cat >> "$HOME/calls" ;;
esac
"#;

#[test]
fn the_script_serves_each_namespace_once() {
    let options = ["--fleet-selector=team=x,!old", "--create-namespace"];
    let folder = prepared(&[&NAMED as &[&str], &options].concat());
    folder.tool("kubectl", KUBECTL);
    for (name, value) in TOKENS {
        folder.sh(&format!(
            "umask 077; mkdir -p local; echo '{name}={value}' >> local/.k8s-tokens"
        ));
    }
    assert_eq!(folder.sh("sh script"), Run::answered(""));
    let calls = calls(&folder);
    let made: Vec<_> = calls
        .lines()
        .filter(|line| line.contains("create") || line.contains("get"))
        .collect();
    let router = "create secret generic agentibrain-router-secrets --from-env-file=/dev/stdin";
    let expected = [
        "create namespace brain".to_owned(),
        format!("-n brain {router}"),
        "-n brain create secret generic embeddings-secrets --from-env-file=/dev/stdin".to_owned(),
        "-n brain create secret generic agenticore-secrets --from-env-file=/dev/stdin".to_owned(),
        format!("-n one {router}"),
        format!("-n two {router}"),
        "get namespaces -l team=x,!old -o name".to_owned(),
        format!("-n aaa {router}"),
        format!("-n zzz {router}"),
    ];
    assert_eq!(made, expected);
    let [(router_name, token), (key_name, key)] = TOKENS;
    for namespace in ["brain", "one", "two", "aaa", "zzz"] {
        let expected =
            format!("-n {namespace} {router}\n{router_name}={token}\n{key_name}={key}\n");
        assert!(calls.contains(&expected), "{namespace}");
    }
}

#[test]
fn the_script_stops_where_a_namespace_cannot_be_served() {
    let folder = prepared(&["--fleet-selector=team"]);
    let script = KUBECTL.replace(
        "case",
        "case \"$*\" in *'-n aaa'*) echo no >&2; exit 9 ;; esac\ncase",
    );
    folder.tool("kubectl", &script);
    let run = folder.sh("sh script");
    assert_eq!(
        run,
        Run {
            code: 9,
            out: String::new(),
            err: "no\n".into()
        }
    );
    assert!(!calls(&folder).contains("-n zzz"));
}

/// Who may not list namespaces has to see that the fleet was not served.
#[test]
fn the_script_fails_where_the_namespaces_cannot_be_listed() {
    let folder = prepared(&["--fleet-selector=team"]);
    let script = KUBECTL.replace(
        "case",
        "case \"$*\" in *'get namespaces'*) echo no >&2; exit 9 ;; esac\ncase",
    );
    folder.tool("kubectl", &script);
    let run = folder.sh("sh script");
    assert_eq!(
        run,
        Run {
            code: 9,
            out: String::new(),
            err: "no\n".into()
        }
    );
}

#[test]
fn it_is_valid_posix() {
    let folder = prepared(&[&NAMED as &[&str], &["--fleet-selector=it's"]].concat());
    for shell in SHELLS {
        // The script within, which the outer one only passes on.
        let inner = "sed '1d;$d' script > inner";
        let run = folder.sh(&format!("{inner}; {shell} -n script && {shell} -n inner"));
        assert_eq!(run, Run::answered(""), "{shell}");
    }
}

#[test]
fn manifests_and_the_plan_have_the_named_namespaces() {
    let folder = Folder::new();
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    let expected = of(&[
        ("brain", "agentibrain-router-secrets"),
        ("brain", "embeddings-secrets"),
        ("brain", "agenticore-secrets"),
        ("one", "agentibrain-router-secrets"),
        ("two", "agentibrain-router-secrets"),
    ]);
    let run = folder
        .run_with_inputs(&[&NAMED as &[&str], &["-o", "json"]].concat())
        .check();
    let document = run.json();
    let secrets = document["secrets"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let planned: Vec<_> = secrets
        .iter()
        .map(|secret| (text(&secret["namespace"]), text(&secret["name"])))
        .collect();
    assert_eq!(planned, expected);
    let key = |key: &str| json!({"key": key, "action": "set", "source": "minted"});
    let keys = json!([key("KB_ROUTER_TOKEN"), key("EMBEDDINGS_API_KEY")]);
    for secret in &secrets[3..] {
        assert_eq!(
            (&secret["action"], &secret["keys"]),
            (&json!("created"), &keys)
        );
    }
    assert_eq!((run.code, run.err.as_str()), (0, ""));

    let run = folder
        .run_with_inputs(&[&NAMED as &[&str], &["-o", "yaml"]].concat())
        .check();
    let named = |document: &str, key: &str| {
        let prefix = format!("  {key}: ");
        document
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap()
            .to_owned()
    };
    let manifests: Vec<_> = run.out.split("---\n").skip(1).collect();
    let planned: Vec<_> = manifests
        .iter()
        .map(|document| (named(document, "namespace"), named(document, "name")))
        .collect();
    assert_eq!(planned, expected);
    for document in &manifests[3..] {
        let data = "data:\n  EMBEDDINGS_API_KEY: <minted by --apply>\n  KB_ROUTER_TOKEN: <minted by --apply>\n";
        assert!(document.ends_with(data), "{document}");
    }
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

/// The objects of `rbac` with these arguments.
fn objects(arguments: &[&str]) -> Vec<Value> {
    let folder = Folder::new();
    let run = folder.run(&[&["rbac"], arguments, &["-n", "brain", "-o", "json"]].concat());
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    let document = run.json();
    assert_eq!(
        (&document["command"], &document["ok"]),
        (&json!("rbac"), &json!(true))
    );
    document["objects"].as_array().unwrap().clone()
}

fn rule(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// A Role or, without a namespace, a ClusterRole.
fn role(command: &str, namespace: Option<&str>, rules: &[Value]) -> Value {
    let kind = if namespace.is_some() {
        "Role"
    } else {
        "ClusterRole"
    };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": metadata(command, namespace), "rules": rules,
    })
}

/// Its binding to the service account `d` of `ci`.
fn binding(command: &str, namespace: Option<&str>) -> Value {
    let kind = if namespace.is_some() {
        "Role"
    } else {
        "ClusterRole"
    };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
        "metadata": metadata(command, namespace),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": kind,
            "name": metadata(command, namespace)["name"],
        },
        "subjects": [{"kind": "ServiceAccount", "name": "d", "namespace": "ci"}],
    })
}

fn metadata(command: &str, namespace: Option<&str>) -> Value {
    // Elsewhere than at home, two installations must not take each other's rights.
    let home = if namespace == Some("brain") {
        ""
    } else {
        "-brain"
    };
    let name = format!("k8s-bootstrap-{command}{home}");
    match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    }
}

const ROUTER: &[&str] = &["agentibrain-router-secrets"];
const ALL: &[&str] = &[
    "agentibrain-router-secrets",
    "embeddings-secrets",
    "agenticore-secrets",
];

/// What `--apply` needs in a namespace where it writes these Secrets.
fn apply_in(namespace: &str, secrets: &[&str]) -> Value {
    role(
        "apply",
        Some(namespace),
        &[
            rule("", "secrets", &["get", "patch"], secrets),
            rule("", "secrets", &["create"], &[]),
            rule("", "namespaces", &["get"], &[namespace]),
            rule("external-secrets.io", "externalsecrets", &["list"], &[]),
        ],
    )
}

fn diff_in(namespace: &str, secrets: &[&str]) -> Value {
    role(
        "diff",
        Some(namespace),
        &[
            rule("", "secrets", &["get"], secrets),
            rule("", "namespaces", &["get"], &[namespace]),
            rule("external-secrets.io", "externalsecrets", &["list"], &[]),
        ],
    )
}

/// What it needs in a namespace beside a ClusterRole: what that grants for all objects is not
/// granted again.
fn beside(command: &str, namespace: &str, secrets: &[&str]) -> Value {
    let verbs: &[&str] = match command {
        "apply" => &["get", "patch"],
        _ => &["get"],
    };
    let rules = [
        rule("", "secrets", verbs, secrets),
        rule("", "namespaces", &["get"], &[namespace]),
    ];
    role(command, Some(namespace), &rules)
}

/// What a command needs where nobody knows the namespaces yet.
fn everywhere(command: &str) -> Value {
    let namespaces = rule("", "namespaces", &["list"], &[]);
    let external = rule("external-secrets.io", "externalsecrets", &["list"], &[]);
    match command {
        "apply" => role(
            "apply",
            None,
            &[
                rule("", "secrets", &["list", "patch"], ROUTER),
                rule("", "secrets", &["create"], &[]),
                namespaces,
                external,
            ],
        ),
        _ => role(
            "diff",
            None,
            &[rule("", "secrets", &["list"], ROUTER), namespaces, external],
        ),
    }
}

#[test]
fn a_named_namespace_gets_a_role_for_the_router_secret() {
    // Home has one already.
    let named = [
        "--fleet-namespace=one",
        "--fleet-namespace=brain",
        "--fleet-namespace=two",
    ];
    let expected = [
        apply_in("brain", ALL),
        apply_in("one", ROUTER),
        apply_in("two", ROUTER),
    ];
    assert_eq!(objects(&named), expected);
    let expected = [
        diff_in("brain", ALL),
        diff_in("one", ROUTER),
        diff_in("two", ROUTER),
    ];
    assert_eq!(objects(&[&["diff"], &named as &[&str]].concat()), expected);
}

#[test]
fn a_selector_takes_a_cluster_role() {
    let selector = "--fleet-selector=team=x";
    assert_eq!(
        objects(&[selector]),
        [beside("apply", "brain", ALL), everywhere("apply")]
    );
    assert_eq!(
        objects(&["diff", selector]),
        [beside("diff", "brain", ALL), everywhere("diff")]
    );
}

#[test]
fn each_role_is_bound_to_the_service_account() {
    let options = [
        "--fleet-namespace=one",
        "--fleet-selector=team",
        "--service-account=ci:d",
    ];
    let (home, one) = (Some("brain"), Some("one"));
    assert_eq!(
        objects(&options),
        [
            beside("apply", "brain", ALL),
            binding("apply", home),
            beside("apply", "one", ROUTER),
            binding("apply", one),
            everywhere("apply"),
            binding("apply", None),
        ]
    );
    assert_eq!(
        objects(&[&["diff"], &options as &[&str]].concat()),
        [
            beside("diff", "brain", ALL),
            binding("diff", home),
            beside("diff", "one", ROUTER),
            binding("diff", one),
            everywhere("diff"),
            binding("diff", None),
        ]
    );
}

#[test]
fn a_role_is_printed_once() {
    let twice = ["--fleet-namespace=one", "--fleet-namespace=one"];
    assert_eq!(
        objects(&twice),
        [apply_in("brain", ALL), apply_in("one", ROUTER)]
    );
}

/// It reads the home namespace only, so whatever the fleet is, it needs no more.
#[test]
fn recover_needs_nothing_of_the_fleet() {
    let options = [
        "rbac",
        "recover",
        "--fleet-namespace=one",
        "--fleet-selector=team",
    ];
    let folder = Folder::new();
    let run = folder.end(folder.command(PROGRAM).args(options)).check();
    let plain = folder.run(&["rbac", "recover"]);
    assert!(run.code == 2 || run == plain, "{run}");
}
