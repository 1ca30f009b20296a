//! Each rule by examples; and whatever a file holds, lint survives it and shows no value.

use super::yaml;
use super::{Judgement, Source, judge};
use crate::domain::checks::check::{Check, Id, Status};
use crate::domain::table;
use crate::domain::values::secret_value::SecretValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const SENTINEL: &str = "s3ntinel";

pub(super) fn judged(texts: &[&str]) -> Judgement {
    let source = |(index, text): (usize, &&str)| Source {
        name: format!("{index}"),
        quoted: Some("v".to_owned()),
        text: Ok(SecretValue::from(*text)),
    };
    judge(&texts.iter().enumerate().map(source).collect::<Vec<_>>())
}

/// The failures of one check for a file: the line, and what is wrong.
#[track_caller]
pub(super) fn failures(id: Id, text: &str) -> Vec<(u64, String)> {
    let Judgement { checks, broken } = judged(&[text]);
    assert!(broken.is_empty(), "{text}: {checks:?}");
    let failed = checks
        .iter()
        .filter(|check| check.id == id && check.status == Status::Fail);
    let split = |check: &Check| {
        let mut parts = check.message.splitn(3, ':');
        assert_eq!(parts.next(), Some("0"));
        let line = parts.next().unwrap().parse().unwrap();
        (line, parts.next().unwrap().trim().to_owned())
    };
    failed.map(split).collect()
}

/// The lines and keys with a literal value.
#[track_caller]
fn literals(text: &str) -> Vec<(u64, String)> {
    let key = |(line, what): (u64, String)| {
        let (key, _) = what.split_once(" has a literal value").unwrap();
        (line, key.to_owned())
    };
    let failures = failures(Id::ValuesCredentials, text).into_iter();
    failures.map(key).collect()
}

/// The key with a literal value in a file of one line.
#[track_caller]
fn literal(text: &str) -> Option<String> {
    match literals(text).as_slice() {
        [] => None,
        [(1, key)] => Some(key.clone()),
        other => panic!("{text}: {other:?}"),
    }
}

/// Where a file does not parse.
#[track_caller]
fn fault(text: &str) -> (u64, &'static str) {
    match yaml::parse(&SecretValue::from(text)) {
        Ok(_) => panic!("{text} parses"),
        Err(fault) => fault,
    }
}

#[test]
fn each_credential_of_the_table_is_found_in_each_spelling() {
    let names = table::credentials().map(|key| key.name);
    for name in names.chain(["MCP_PROXY_API_KEY", "INFERENCE_API_KEY"]) {
        let lower = name.to_lowercase();
        let (first, last) = name.split_once('_').unwrap();
        let camel: String = lower
            .split('_')
            .enumerate()
            .map(|(index, word)| match index {
                0 => word.to_owned(),
                _ => format!("{}{}", word[..1].to_uppercase(), &word[1..]),
            })
            .collect();
        for text in [
            format!("{name}: x"),
            format!("{}: x", lower.replace('_', "-")),
            format!("{camel}: x"),
            format!("{first}: {{{last}: x}}"),
            format!("tpl: {{env: {{variables: {{{name}: x}}}}}}"),
            format!("charts: [{{{camel}: x}}]"),
            format!("env: [{{name: {name}, value: x}}]"),
            format!("env: [{{value: x, name: {name}}}]"),
            format!("{name}: {{value: x}}"),
            format!("{name}: [x, y]"),
            format!("{name}: 12345"),
            format!("{name}: -1.5"),
            format!("a: {{<<: {{{name}: x}}}}"),
            format!("{{\"{name}\": \"x\"}}"),
        ] {
            // `embeddings: {apiKeys: x}` can be either list.
            let found = literal(&text).unwrap_or_default();
            assert!(
                !found.is_empty() && name.ends_with(&found),
                "{text}: {found}"
            );
        }
        for text in [
            format!("{name}: ''"),
            format!("{name}:"),
            format!("{name}: ~"),
            format!("{name}: false"),
            format!("{name}: {name}"),
            format!("{name}: agentibrain-mcp-secrets"),
            format!("{name}: {{secretKeyRef: {{name: x, key: {name}}}}}"),
            format!("env: [{{name: {name}, valueFrom: {{secretKeyRef: {{key: x}}}}}}]"),
            format!("env: [{{name: {name}, value: ''}}]"),
            format!("env: [{{name: OTHER, value: {name}}}]"),
            format!("existingSecret: {{{name}: x}}"),
            format!("data: [{{secretKey: {name}, remoteRef: {{key: {name}, property: x}}}}]"),
            format!("description: about {name}"),
            format!("{name}_FILE: x"),
            format!("MY{name}: x"),
        ] {
            assert_eq!(literal(&text), None, "{text}");
        }
    }
}

#[test]
fn references_and_encrypted_values_are_not_credentials() {
    for value in [
        "ENC[AES256_GCM,data:aa,iv:bb,type:str]",
        "op://vault/item/field",
        "ref+vault://secret/brain#/token",
        "vault:secret/data/brain#token",
        "$KB_ROUTER_TOKEN",
        "${KB_ROUTER_TOKEN}",
        "${A},${B}",
        "${A:-}",
        "${A:-${B}}",
        "prefix-${A}",
        "$(KB_ROUTER_TOKEN)",
        "{{ .Values.token | quote }}",
        "<path:secret/data/brain#token>",
        "<your token>",
        "/run/secrets/token",
        "./token.txt",
        "../a/token",
        "~/.config/token",
        "file:/run/token",
        "file:///run/token",
    ] {
        for name in ["KB_ROUTER_TOKEN", "KB_ROUTER_TOKENS", "POSTGRES_URL"] {
            assert_eq!(literal(&format!("{name}: '{value}'")), None, "{value}");
        }
    }
    for value in [
        "changeme",
        "pa$word",
        "${A:-literal}",
        "${A:-${B:-literal}}",
        "${A},literal",
        "/9j+4AAQ/SkZJRg==",
        "/literal",
        "vaults",
        "ENCODED",
        "true story",
    ] {
        let found = literal(&format!("KB_ROUTER_TOKENS: '{value}'"));
        assert_eq!(found.as_deref(), Some("KB_ROUTER_TOKENS"), "{value}");
    }
    let blocks = [
        "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162",
        "|\n  -----BEGIN AGE ENCRYPTED FILE-----\n  YWdl\n  -----END AGE ENCRYPTED FILE-----",
        "|\n  -----BEGIN PGP MESSAGE-----\n\n  YWdl\n  -----END PGP MESSAGE-----",
    ];
    for block in blocks {
        assert_eq!(literals(&format!("GITHUB_TOKEN: {block}\n")), [], "{block}");
    }
}

#[test]
fn of_a_connection_string_the_password_counts() {
    for (url, expected) in [
        ("postgres://u:p@h/d", true),
        ("postgresql+asyncpg://u:p%40@h", true),
        ("postgres://h/d", true),
        ("postgres://u:p@${HOST}/d", true),
        ("${P:-postgres://u:p@h/d}", true),
        ("postgres://u@h/d?password=p&sslmode=require", true),
        ("host=${HOST} password=p", true),
        ("postgres://u:${P}@h/d", false),
        ("postgres://u:$P@h/d", false),
        ("postgres://{{ .user }}:{{ .password }}@h/d", false),
        ("postgresql://<user>:<pass>@<host>:5432/<db>", false),
        ("postgres://u@h/d?password=$(P)", false),
        ("host=h password=${P} user=u", false),
    ] {
        let found = literal(&format!("POSTGRES_URL: '{url}'"));
        assert_eq!(found.is_some(), expected, "{url}");
    }
    for name in ["LLM_API_BASE", "LLM_EMBED_MODEL", "LOG_LEVEL", "llmApiBase"] {
        assert_eq!(literal(&format!("{name}: https://h.example/v1")), None);
    }
    let found = literal("LLM_API_BASE: https://u:p@h.example/v1");
    assert_eq!(found.as_deref(), Some("LLM_API_BASE"));
}

#[test]
fn manifests_are_judged_like_values() {
    let secret = |field: &str, value: &str| {
        let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n";
        format!("{head}{field}:\n  POSTGRES_URL: {value}\n")
    };
    let base64 = |text: &str| STANDARD.encode(text);
    for (field, value, expected) in [
        ("stringData", "postgres://u:p@h/d".to_owned(), true),
        ("stringData", "''".to_owned(), false),
        ("stringData", "${POSTGRES_URL}".to_owned(), false),
        ("data", base64("postgres://u:p@h/d"), true),
        ("data", base64("\u{1}"), true),
        ("data", STANDARD.encode([0xff, 0xfe]), true),
        ("data", base64("${POSTGRES_URL}"), false),
        ("data", base64("\n"), false),
        ("data", "''".to_owned(), false),
        ("data", "ENC[AES256_GCM,data:aa]".to_owned(), false),
        ("data", "ref+vault://x#/y".to_owned(), false),
    ] {
        let text = secret(field, &value);
        let found = literals(&text);
        let key = || (5, "POSTGRES_URL".to_owned());
        assert_eq!(found, Vec::from_iter(expected.then(key)), "{text}");
    }
    let sealed = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nspec:\n  \
                  encryptedData: {POSTGRES_URL: AgBy3i4OJSWK}\n";
    assert_eq!(literals(sealed), []);
    let config = "apiVersion: v1\nkind: ConfigMap\ndata:\n  GITHUB_TOKEN: x\n";
    assert_eq!(literals(config), [(4, "GITHUB_TOKEN".to_owned())]);
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  data:\n    \
                GITHUB_TOKEN: JHtHSVRIVUJfVE9LRU59\n    API_KEYS: eA==\n- apiVersion: apps/v1\n  \
                kind: Deployment\n  spec: {template: {spec: {containers: [{env: [\n    \
                {name: POSTGRES_URL, value: x}]}]}}}\n";
    let expected = [(8, "API_KEYS".to_owned()), (12, "POSTGRES_URL".to_owned())];
    assert_eq!(literals(list), expected);
}

#[test]
fn a_value_is_told_where_it_is_written_and_once() {
    let text = "x: &x hunter\na:\n  githubToken: *x\nb: &b\n  API_KEYS: z\nc: *b\nd: {<<: *b}\n";
    let expected = [(1, "GITHUB_TOKEN".to_owned()), (5, "API_KEYS".to_owned())];
    assert_eq!(literals(text), expected);
}

const NOT_YAML: &str = "not valid YAML; a Helm template has to be rendered first (helm template)";
const NO_MAPPING: &str = "not a mapping: neither values nor a manifest";
const TOO_LARGE: &str = "nested too deep, or too large with its aliases";

#[test]
fn each_fault_has_its_line() {
    for (text, expected) in [
        ("a: 1\nb: \"x\nc: 2\n", (2, NOT_YAML)),
        ("a: *no\n", (1, NOT_YAML)),
        ("a: 1\n- b\n", (2, NOT_YAML)),
        (
            "a: 1\n{{- if .Values.x }}\nb: 2\n{{- end }}\n",
            (2, NOT_YAML),
        ),
        ("a: 1\nb: {{ .Values.x }}\n", (2, NOT_YAML)),
        ("a: 1\r\nb: [\r\n", (2, NOT_YAML)),
        ("a: &x [*x]\n", (1, NOT_YAML)),
        (
            "a: 1\nb: 2\na: 3\n",
            (3, "the mapping has this key already"),
        ),
        ("a: 1\n---\n- b\n---\nc: 1\n", (3, NO_MAPPING)),
        ("some text\n", (1, NO_MAPPING)),
        ("[{\"a\": 1}]", (1, NO_MAPPING)),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn what_parses_is_judged_in_full() {
    let comments = format!("a:\n{}  githubToken: x\n", "  # x\n".repeat(500));
    assert_eq!(literals(&comments), [(502, "GITHUB_TOKEN".to_owned())]);
    let text = "\u{feff}a: 1\r\n---\r\n# nothing\r\n---\r\ngithubToken: x\r\n...\r\n";
    assert_eq!(literals(text), [(5, "GITHUB_TOKEN".to_owned())]);
    for text in [
        "",
        "# nothing\n",
        "---\n---\n",
        "~\n",
        "1: a\ntrue: b\n'<<': c\n",
        "a: 1e999\n",
    ] {
        assert_eq!(literals(text), [], "{text}");
    }
    let many = (0..500).map(|index| format!("a{index}: {{<<: *b}}\n"));
    let many = format!("b: &b {{githubToken: x}}\n{}", many.collect::<String>());
    assert_eq!(literals(&many), [(1, "GITHUB_TOKEN".to_owned())]);
}

/// Runs a test with the stack of a main thread: a test has a fourth of it.
fn with_main_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(8 * 1024 * 1024);
    thread.spawn(test).unwrap().join().unwrap();
}

#[test]
fn nesting_and_aliases_have_a_bound() {
    with_main_stack(|| {
        let deep = format!("a: {}{}\n", "[".repeat(200), "]".repeat(200));
        assert_eq!(fault(&deep), (1, TOO_LARGE));
        let block: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        fault(&block);
        let mut laughs = "a0: &a0 [ha, ha]\n".to_owned();
        for i in 1..40 {
            let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        assert_eq!(fault(&laughs).1, TOO_LARGE);
        let mut chain = "a0: &a0 [ha]\n".to_owned();
        for i in 1..500 {
            chain.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
        }
        assert_eq!(fault(&chain).1, TOO_LARGE);
    });
}

#[test]
fn a_broken_file_hides_no_finding_in_another() {
    let Judgement { checks, broken } = judged(&["a: [", "githubToken: x"]);
    assert_eq!(broken, ["0"]);
    let found: Vec<_> = checks.iter().map(|it| (it.id, it.status)).collect();
    let expected = [
        (Id::ValuesParsed, Status::Fail),
        (Id::ValuesCredentials, Status::Fail),
        (Id::ValuesStore, Status::Skip),
        (Id::ValuesTarget, Status::Skip),
    ];
    assert_eq!(found, expected);
}

proptest! {
    /// Whatever the text: no panic, and no value shows.
    #[test]
    fn any_text_is_survived(
        text in "([-a-c:&*<>|\"'{}\\[\\],# \n~!?%$]|s3ntinel|: |- |---\n|API_KEYS: |kind: |\
                 externalSecret: |targetSecretName: |enabled: |name: |value: ){0,40}",
    ) {
        let judgement = judged(&[&text]);
        prop_assert!(judgement.checks.len() >= 4);
        let shown = format!("{judgement:?} {:?}", yaml::parse(&SecretValue::from(&*text)).err());
        prop_assert!(!shown.contains(SENTINEL));
    }

    /// Whatever the value of a key, it does not show; and what is not a reference is found.
    #[test]
    fn any_value_is_found_and_hidden(value in "[a-z0-9+=_-]{8,64}") {
        let text = format!("POSTGRES_URL: '{SENTINEL}{value}'\n");
        prop_assert_eq!(literals(&text).len(), 1);
        let shown = format!("{:?}", judged(&[&text]));
        prop_assert!(!shown.contains(SENTINEL));
    }
}
