//! `populate` without a store: its help, its documents, and what is said before a server is asked.

use crate::folder::{Folder, PROGRAM, Run, TOKENS};
use insta::assert_snapshot;
use serde_json::json;

const YAML: [&str; 5] = ["populate", "--prefix", "brain", "-o", "yaml"];
const JSON: [&str; 5] = ["populate", "--prefix", "brain", "-o", "json"];

#[test]
fn the_help() {
    assert_snapshot!(Folder::new().run(&["populate", "--help"]), @r"
    exit code 0
    --- stdout
    Add missing entries to the secret store (Path 2; preview without --apply)

    Usage: k8s-bootstrap populate [OPTIONS] --prefix <PREFIX>

    Options:
          --apply
              Write missing entries and fields

      -n, --namespace <NS>
              The home namespace, which gets all Secrets; the namespace of the context is not used
              
              [default: default]

          --context <NAME>
              The kubeconfig context

          --prefix <PREFIX>
              The path prefix of the entries: PREFIX/router, PREFIX/embeddings, PREFIX/agenticore

          --kubeconfig <FILE>
              The kubeconfig file

          --path <ENTRY=PATH>
              Another path for one entry: embeddings=team/x (repeatable)

          --mount <MOUNT>
              The mount of the KV engine (version 2)
              
              [default: secret]

          --tokens-file <FILE>
              The tokens file
              
              [default: local/.k8s-tokens]

          --env-file <FILE>
              Inputs as KEY=value lines; they override the environment; - is stdin

          --via-eso <STORE>
              Write through External Secrets Operator to this store; its credential needs write access

      -o, --output <FORMAT>
              The output format (yaml: for previews, rbac and externalsecrets)

              Possible values:
              - text: Plain text
              - json: One JSON document
              - yaml: Kubernetes manifests
              
              [default: text]

          --store-kind <KIND>
              With --via-eso: the kind of the store

              Possible values:
              - ClusterSecretStore: For all namespaces
              - SecretStore:        For its own namespace
              
              [default: ClusterSecretStore]

          --from-cluster
              Copy all keys of the live Secrets

      -q, --quiet
              Print only results, warnings and errors

          --update <KEY>
              Inputs that may overwrite an existing value

      -v, --verbose...
              Print each request; -vv: also the connection. No value is printed

          --color <WHEN>
              When to use colors; NO_COLOR turns them off

              Possible values:
              - auto:   On a terminal, unless NO_COLOR is set
              - always
              - never
              
              [default: auto]

          --without-api-keys
              Leave out API_KEYS, the list that the embeddings service reads

          --request-timeout <TIME>
              The time limit of a request, with retries: 30, 30s, 2m; 0 is no limit
              
              [default: 30s]

          --show-values
              With -o yaml or json: print the values

      -h, --help
              Print help (see a summary with '-h')
    --- stderr
    ");
}

#[test]
fn documents_are_masked_and_need_no_store() {
    let folder = Folder::with_tokens();
    let before = folder.everything();
    let run = folder.run_with_inputs(&YAML).check();
    assert_snapshot!(run, @r#"
    exit code 0
    --- stdout
    ---
    path: brain/router
    data:
      EMBEDDINGS_API_KEY: "<masked: --show-values shows it>"
      KB_ROUTER_TOKEN: "<masked: --show-values shows it>"
    ---
    path: brain/embeddings
    data:
      API_KEYS: "<masked: --show-values shows it>"
      EMBEDDINGS_API_KEYS: "<masked: --show-values shows it>"
      LLM_API_BASE: "<masked: --show-values shows it>"
      LLM_API_KEY: "<masked: --show-values shows it>"
      LLM_EMBED_MODEL: "<masked: --show-values shows it>"
      LOG_LEVEL: "<masked: --show-values shows it>"
      POSTGRES_URL: "<masked: --show-values shows it>"
    ---
    path: brain/agenticore
    data:
      ANTHROPIC_API_KEY: "<masked: --show-values shows it>"
      GITHUB_TOKEN: "<masked: --show-values shows it>"
    --- stderr
    "#);
    let run = folder.run_with_inputs(&JSON).check();
    let document = run.json();
    assert_eq!(document["command"], "populate");
    assert_eq!(document["entries"][0]["path"], "brain/router");
    let masked = "<masked: --show-values shows it>";
    let router = json!({ "KB_ROUTER_TOKEN": masked, "EMBEDDINGS_API_KEY": masked });
    assert_eq!(document["entries"][0]["data"], router);
    assert_eq!(folder.everything(), before);
}

#[test]
fn documents_show_values_on_request() {
    let folder = Folder::with_tokens();
    let shown = |arguments: &[&str]| {
        let mut command = folder.command(PROGRAM);
        let inputs = [
            ("POSTGRES_URL", "postgres://u:p@db/brain"),
            ("LLM_API_KEY", "a \"quoted\" 'key': # yes"),
            ("ANTHROPIC_API_KEY", "true"),
        ];
        folder.end(command.envs(inputs).args(arguments).arg("--show-values"))
    };
    let renamed = [&YAML[..], &["--path", "embeddings=team/x"]].concat();
    assert_snapshot!(shown(&renamed), @r#"
    exit code 0
    --- stdout
    ---
    path: brain/router
    data:
      EMBEDDINGS_API_KEY: s3ntinel-embeddings-0123456789abcdef
      KB_ROUTER_TOKEN: s3ntinel-router-0123456789abcdef
    ---
    path: team/x
    data:
      API_KEYS: s3ntinel-embeddings-0123456789abcdef
      EMBEDDINGS_API_KEYS: s3ntinel-embeddings-0123456789abcdef
      LLM_API_BASE: ""
      LLM_API_KEY: "a \"quoted\" 'key': # yes"
      LLM_EMBED_MODEL: text-embedding-3-small
      LOG_LEVEL: INFO
      POSTGRES_URL: postgres://u:p@db/brain
    ---
    path: brain/agenticore
    data:
      ANTHROPIC_API_KEY: "true"
      GITHUB_TOKEN: ""
    --- stderr
    "#);
    let document = shown(&JSON).json();
    let router: serde_json::Map<_, _> = TOKENS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    assert_eq!(document["entries"][0]["data"], json!(router));
    assert_eq!(document["entries"][2]["data"]["ANTHROPIC_API_KEY"], "true");
}

/// Whoever encrypts the documents would take the placeholder for the token.
#[test]
fn a_token_that_does_not_exist_yet_is_not_shown() {
    let folder = Folder::new();
    let run = folder.run_with_inputs(&YAML).check();
    assert!(run.out.contains("<minted by --apply>"), "{run}");
    let run = folder.run_with_inputs(&[&YAML[..], &["--show-values"]].concat());
    assert_snapshot!(run, @r"
    exit code 1
    --- stdout
    --- stderr
    error: there is no KB_ROUTER_TOKEN, EMBEDDINGS_API_KEY to show yet
      hint: `k8s-bootstrap -n default --apply` mints the tokens, and so does populate --apply
    ");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_bundle_without_its_input_is_a_comment() {
    let folder = Folder::with_tokens();
    let mut command = folder.command(PROGRAM);
    let run = folder
        .end(command.env("POSTGRES_URL", "host=x").args(YAML))
        .check();
    assert!(
        run.out
            .ends_with("---\n# brain/agenticore: skipped, ANTHROPIC_API_KEY is not set\n"),
        "{run}"
    );
}

/// Runs the plain preview with this environment.
fn preview(folder: &Folder, environment: &[(&str, &str)]) -> Run {
    let mut command = folder.command(PROGRAM);
    let command = command.envs(environment.iter().copied());
    folder
        .end(command.args(["populate", "--prefix", "brain"]))
        .check()
}

#[test]
fn who_has_no_token_is_told_to_log_in() {
    let folder = Folder::new();
    assert_snapshot!(preview(&folder, &[]), @r"
    exit code 3
    --- stdout
    --- stderr
    error: there is no token for the secret store
      hint: set BAO_TOKEN or VAULT_TOKEN, or log in: bao login
    ");
    let vault = preview(&folder, &[("VAULT_ADDR", "http://127.0.0.1:1")]);
    assert!(vault.err.contains("vault login"), "{vault}");
    std::fs::write(folder.home().join(".vault-token"), "\n").unwrap();
    assert_eq!(preview(&folder, &[]).code, 3);
    std::fs::write(folder.home().join(".vault-token"), b"s3ntinel\xff").unwrap();
    assert_snapshot!(preview(&folder, &[]), @r"
    exit code 3
    --- stdout
    --- stderr
    error: cannot read <folder>/home/.vault-token
      - line 1 is not UTF-8
      hint: log in again: bao login
    ");
}

#[test]
fn settings_that_cannot_be_used_are_named_without_a_value() {
    let folder = Folder::new();
    let token = ("BAO_TOKEN", "s3ntinel");
    for (setting, message) in [
        (
            ("BAO_ADDR", "s3ntinel"),
            "the address of the secret store is not a URL",
        ),
        (
            ("BAO_ADDR", "s3ntinel:// s3ntinel"),
            "the address of the secret store is not a URL",
        ),
        (
            ("BAO_TOKEN", "s3ntinel\ns3ntinel"),
            "the token for the secret store is not valid in",
        ),
        (
            ("BAO_NAMESPACE", "s3ntinel\n"),
            "BAO_NAMESPACE is not valid in an HTTP header",
        ),
        (
            ("BAO_CACERT", "absent.crt"),
            "the CA file absent.crt of the secret store cannot be used",
        ),
        (
            ("VAULT_CACERT", "absent.crt"),
            "point VAULT_CACERT at a PEM file",
        ),
    ] {
        let run = preview(&folder, &[token, setting]);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{run}");
        assert!(run.err.contains(message), "{run}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    let folder = Folder::new();
    let environment = [
        ("BAO_TOKEN", "s3ntinel"),
        ("BAO_ADDR", "http://127.0.0.1:1"),
    ];
    assert_snapshot!(preview(&folder, &environment), @r"
    exit code 3
    --- stdout
    --- stderr
    error: cannot talk to the secret store http://127.0.0.1:1
      - Connection refused (os error 111)
      hint: check the address and, over TLS, BAO_CACERT: bao status
    ");
}
