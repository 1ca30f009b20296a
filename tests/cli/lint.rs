//! `lint`: what is said of values files and manifests, without a cluster or a kubeconfig.

use crate::folder::{Folder, PROGRAM, Run, SENTINEL, make_fifo};
use insta::assert_snapshot;
use serde_json::{Value, json};

/// A chart that is wired, and one that is off.
const GOOD: &str = "\
embeddings:
  LLM_API_BASE: https://llm.example/v1
  apiKey: ${EMBEDDINGS_API_KEY}
  existingSecret: embeddings-secrets
  externalSecret:
    enabled: true
    storeName: bao
    secretPath: brain/embeddings
    targetSecretName: embeddings-secrets
---
externalSecret: {enabled: false, storeName: ''}
";

/// Files with every finding, and the sentinel wherever a file can hold it.
fn bad() -> Folder {
    let folder = Folder::new();
    folder.write(
        "umbrella.yaml",
        "# s3ntinel\n\
         embeddings:\n\
         \x20 env:\n\
         \x20   - name: POSTGRES_URL\n\
         \x20     value: postgres://u:s3ntinel@db/brain\n\
         \x20 apiKeys: s3ntinel-key\n\
         \x20 s3ntinel: &s3ntinel {password: s3ntinel}\n\
         \x20 externalSecret:\n\
         \x20   enabled: true\n\
         \x20   storeName: s3ntinel\n\
         \x20   targetSecretName: s3ntinel\n\
         ---\n\
         s3ntinel: https://u:s3ntinel@h/\n\
         brain-keeper: {externalSecret: {enabled: true, targetSecretName: embeddings-secrets}}\n",
    );
    folder.write(
        "rendered.yaml",
        "apiVersion: v1\n\
         kind: Secret\n\
         stringData:\n\
         \x20 GITHUB_TOKEN: s3ntinel\n\
         ---\n\
         apiVersion: external-secrets.io/v1\n\
         kind: ExternalSecret\n\
         metadata: {name: s3ntinel}\n\
         spec: {target: {name: s3ntinel-target}}\n\
         ---\n\
         apiVersion: apps/v1\n\
         kind: Deployment\n\
         spec: {template: {spec: {containers: [{envFrom: [{secretRef: {name: s3ntinel}}]}]}}}\n",
    );
    folder.write(
        "broken.yaml",
        "github: {token: s3ntinel}\nservice: {{ s3ntinel\nKB_ROUTER_TOKEN: s3ntinel\n",
    );
    folder.write("twice.yaml", "s3ntinel: 1\ns3ntinel: s3ntinel\n");
    folder.write("list.yaml", "- s3ntinel\n- API_KEYS=s3ntinel\n");
    folder
}

const BAD: [&str; 6] = [
    "umbrella.yaml",
    "broken.yaml",
    "rendered.yaml",
    "twice.yaml",
    "list.yaml",
    "absent.yaml",
];

fn lint(folder: &Folder, arguments: &[&str]) -> Run {
    folder.run(&[&["lint"], arguments].concat()).check()
}

fn lint_stdin(folder: &Folder, text: impl Into<Vec<u8>>, arguments: &[&str]) -> Run {
    let mut command = folder.command(PROGRAM);
    command.arg("lint").args(arguments);
    folder.end_with_input(&mut command, text).check()
}

/// Id, status, message and hint of each check.
fn checks(run: &Run) -> Vec<[String; 4]> {
    let document = run.json();
    let checks = document["checks"].as_array().unwrap().iter();
    let of = |check: &Value| {
        ["id", "status", "message", "hint"].map(|field| check[field].as_str().unwrap().to_owned())
    };
    checks.map(of).collect()
}

#[test]
fn each_check_passes_once_where_all_is_well() {
    let folder = Folder::new();
    folder.write("one.yaml", GOOD);
    folder.write("two.yaml", "");
    folder.write("three.json", "{\"embeddings\": {\"apiKey\": \"\"}}");
    std::os::unix::fs::symlink("one.yaml", folder.path("link.yaml")).unwrap();
    let files = ["one.yaml", "two.yaml", "three.json", "link.yaml"];
    assert_snapshot!(lint(&folder, &files), @r#"
    exit code 0
    --- stdout
    values
    ------
    [ok]   values.parsed       each file is valid YAML
    [ok]   values.credentials  no key of the table has a literal value
    [ok]   values.store        each ExternalSecret names its store and its path
    [ok]   values.target       each ExternalSecret makes the Secret that the pods read

    healthy: 4 checks passed
    --- stderr
    "#);
    let short = lint(&folder, &["--short", "one.yaml"]);
    assert_eq!(short, Run::answered("healthy: 4 checks passed\n"));
    let run = lint(&folder, &["one.yaml", "-o", "json"]);
    let document = run.json();
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(document["command"], "lint");
    assert_eq!(
        (&document["ok"], &document["error"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(checks(&run).len(), 4);
}

#[test]
fn findings_have_file_and_line_and_broken_files_end_with_3() {
    assert_snapshot!(lint(&bad(), &[&["--short"], &BAD[..]].concat()), @r#"
    exit code 3
    --- stdout
    values
    ------
    [fail] values.parsed       broken.yaml:2: not valid YAML; a Helm template has to be rendered first (helm template)
                               hint: ${EDITOR:-vi} broken.yaml
    [fail] values.parsed       twice.yaml:2: the mapping has this key already
                               hint: ${EDITOR:-vi} twice.yaml
    [fail] values.parsed       list.yaml:1: not a mapping: neither values nor a manifest
                               hint: ${EDITOR:-vi} list.yaml
    [fail] values.parsed       cannot read absent.yaml: No such file or directory (os error 2)
                               hint: ls -ld absent.yaml
    [fail] values.credentials  umbrella.yaml:5: POSTGRES_URL has a literal value: move it to the Secret or the store, and rotate it if the file was ever shared
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.credentials  umbrella.yaml:6: API_KEYS has a literal value: move it to the Secret or the store, and rotate it if the file was ever shared
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.credentials  rendered.yaml:4: GITHUB_TOKEN has a literal value: move it to the Secret or the store, and rotate it if the file was ever shared
                               hint: ${EDITOR:-vi} rendered.yaml
    [fail] values.store        umbrella.yaml:9: externalSecret is enabled without secretPath
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.store        umbrella.yaml:14: externalSecret is enabled without storeName and without secretPath
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.store        rendered.yaml:9: the ExternalSecret is without spec.secretStoreRef
                               hint: ${EDITOR:-vi} rendered.yaml
    [fail] values.target       umbrella.yaml:11: externalSecret makes a Secret that the pods do not read; they read embeddings-secrets
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.target       umbrella.yaml:14: externalSecret makes a Secret that the pods do not read; they read agenticore-secrets
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.target       rendered.yaml:9: the ExternalSecret makes a Secret that no workload of this file reads
                               hint: ${EDITOR:-vi} rendered.yaml

    not healthy: 13 failed (values.parsed, values.credentials, values.store, values.target), 0 passed
    --- stderr
    error: cannot check broken.yaml, twice.yaml, list.yaml, absent.yaml
      hint: fix what values.parsed reports, and run lint again
    "#);
}

#[test]
fn the_exit_code_tells_findings_from_files_that_cannot_be_judged() {
    let folder = bad();
    folder.write("good.yaml", GOOD);
    for (files, code) in [
        (&["good.yaml"] as &[&str], 0),
        (&["good.yaml", "umbrella.yaml"], 1),
        (&["rendered.yaml"], 1),
        (&["good.yaml", "broken.yaml"], 3),
        (&["broken.yaml", "umbrella.yaml"], 3),
        (&["umbrella.yaml", "absent.yaml"], 3),
        (&[], 2),
        (&["-", "-"], 2),
    ] {
        let run = lint(&folder, files);
        assert_eq!(run.code, code, "{files:?}: {run}");
        let json = lint(&folder, &[files, &["-o", "json"]].concat());
        assert_eq!(json.code, code, "{files:?}: {json}");
        let document = json.json();
        assert_eq!(document["ok"], code == 0);
        assert_eq!(document["error"].is_object(), code > 1, "{json}");
        let judged = code != 2;
        assert_eq!(document["checks"].is_array(), judged, "{json}");
        let has_finding = files
            .iter()
            .any(|file| ["umbrella.yaml", "rendered.yaml"].contains(file));
        assert_eq!(json.shows("has a literal value: "), has_finding, "{json}");
    }
}

#[test]
fn no_value_shows_however_much_is_shown() {
    let folder = bad();
    let formats: [&[&str]; 2] = [&[], &["-o", "json"]];
    let levels: [&[&str]; 5] = [&[], &["-q"], &["-v"], &["-vv"], &["-vvv", "--short"]];
    for format in formats {
        for level in levels {
            let run = lint(&folder, &[format, level, &BAD].concat());
            assert!(!run.shows(SENTINEL), "{run}");
            assert_eq!(run.code, 3);
        }
    }
}

#[test]
fn a_file_that_cannot_be_judged_is_named_with_its_line() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("folder.yaml")).unwrap();
    folder.write("binary.yaml", b"a: 1\ngithubToken: \xff\n");
    folder.write("utf16.yaml", b"\xff\xfea\0:\0");
    folder.write("nul.yaml", "a: 1\nb: \0\n");
    folder.write("large.yaml", vec![b'\n'; 16 * 1024 * 1024 + 1]);
    folder.write(
        "template.yaml",
        "a: 1\n{{- if .Values.x }}\nb: 2\n{{- end }}\n",
    );
    folder.write("open.json", "{\n\"a\": [1,\n");
    let yaml = "not valid YAML; a Helm template has to be rendered first (helm template)";
    for (name, why) in [
        (
            "absent.yaml",
            "cannot read absent.yaml: No such file or directory (os error 2)",
        ),
        (
            "folder.yaml",
            "cannot read folder.yaml: Is a directory (os error 21)",
        ),
        (
            "binary.yaml",
            "cannot read binary.yaml: line 2 is not UTF-8",
        ),
        ("utf16.yaml", "cannot read utf16.yaml: line 1 is not UTF-8"),
        ("nul.yaml", &format!("nul.yaml:2: {yaml}")),
        ("large.yaml", "cannot read large.yaml: larger than 16 MiB"),
        ("template.yaml", &format!("template.yaml:2: {yaml}")),
        ("open.json", &format!("open.json:2: {yaml}")),
    ] {
        let run = lint(&folder, &[name, "-o", "json"]);
        assert_eq!(run.code, 3, "{run}");
        let found = checks(&run);
        let [id, status, message, hint] = &found[0];
        assert_eq!(
            (&**id, &**status, &**message),
            ("values.parsed", "fail", why)
        );
        let reads = !message.starts_with("cannot read ");
        let command = if reads { "${EDITOR:-vi}" } else { "ls -ld" };
        assert_eq!(*hint, format!("{command} {name}"));
        // Nothing passes that was not judged.
        assert!(found[1..].iter().all(|check| check[1] == "skip"), "{run}");
        assert!(
            run.err
                .starts_with(&format!("error: cannot check {name}\n")),
            "{run}"
        );
    }
    folder.write("largest.yaml", vec![b'\n'; 16 * 1024 * 1024]);
    assert_eq!(lint(&folder, &["largest.yaml"]).code, 0);
}

#[test]
fn stdin_and_pipes_are_read() {
    let folder = Folder::new();
    let text = "a: 1\ngithubToken: s3ntinel\n";
    let run = lint_stdin(&folder, text, &["-", "--short"]);
    assert_snapshot!(run, @r#"
    exit code 1
    --- stdout
    values
    ------
    [fail] values.credentials  stdin:2: GITHUB_TOKEN has a literal value: move it to the Secret or the store, and rotate it if the file was ever shared

    not healthy: 1 failed (values.credentials), 3 passed
    --- stderr
    "#);
    assert_eq!(lint_stdin(&folder, GOOD, &["-"]).code, 0);
    assert_eq!(lint_stdin(&folder, "a: [", &["-"]).code, 3);
    folder.write("v.yaml", text);
    let run = lint_stdin(&folder, text, &["v.yaml", "-", "-o", "json"]);
    let found: Vec<_> = checks(&run)
        .into_iter()
        .map(|[_, _, message, _]| message)
        .collect();
    assert!(
        found[1].starts_with("v.yaml:2: ") && found[2].starts_with("stdin:2: "),
        "{run}"
    );
    make_fifo(&folder.path("fifo.yaml"));
    let run = folder
        .sh("cat v.yaml > fifo.yaml & \"$PROGRAM\" lint fifo.yaml")
        .check();
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.shows("fifo.yaml:2: GITHUB_TOKEN has a literal value"),
        "{run}"
    );
}

#[test]
fn no_cluster_is_asked() {
    let folder = Folder::new();
    folder.write("v.yaml", GOOD);
    let before = folder.everything();
    let options = ["--kubeconfig", "absent", "--context", "absent", "v.yaml"];
    assert_eq!(lint(&folder, &options).code, 0);
    assert_eq!(folder.everything(), before);
}

#[test]
fn the_hints_can_be_run() {
    for text in [
        "broken: [\n",
        "- list\n",
        "externalSecret: {enabled: true}\n",
        "externalSecret: {targetSecretName: x}\n",
        "POSTGRES_URL: s3ntinel\n",
    ] {
        let folder = Folder::new();
        folder.write("good", GOOD);
        folder.tool("vi", "cat good > \"$1\" && echo \"edited $1\"\n");
        let name = "it's $(touch pwned).yaml";
        folder.write(name, text);
        let run = lint(&folder, &[name, "-o", "json"]);
        let failed = checks(&run).into_iter().filter(|check| check[1] == "fail");
        let [[.., hint]] = &failed.collect::<Vec<_>>()[..] else {
            panic!("{text}: {run}");
        };
        let edited = folder.sh(hint).check();
        assert_eq!(edited, Run::answered(&format!("edited {name}\n")));
        assert!(!folder.path("pwned").exists());
        assert_eq!(lint(&folder, &[name]).code, 0);
    }
}

#[test]
fn a_name_forges_no_line() {
    let folder = Folder::new();
    for name in ["x\n[ok]   values.parsed", "x\r", "\u{1b}[2J"] {
        folder.write(name, "githubToken: x\n");
        let run = lint(&folder, &[name]);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run}");
        let message = "error: <FILE>... is empty or has a control character\n";
        assert!(run.err.starts_with(message), "{run}");
        assert!(!run.shows("[ok]") && !run.shows("\u{1b}"), "{run}");
    }
}

#[test]
fn the_help_has_the_arguments() {
    let run = lint(&Folder::new(), &["--help"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    for text in [
        "Usage: k8s-bootstrap lint [OPTIONS] <FILE>...",
        "- is stdin",
        "--short",
    ] {
        assert!(run.out.contains(text), "{text}: {run}");
    }
}
