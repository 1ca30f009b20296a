//! `verify --values`: what is told of Helm values files, with no cluster to ask.

use crate::folder::{Folder, PROGRAM, Run, SENTINEL, make_fifo};
use insta::assert_snapshot;
use serde_json::Value;

/// What a chart may carry.
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

/// Three files with everything that is told, and the sentinel wherever a file can hold it.
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
        "broken.yaml",
        "github: {token: s3ntinel}\nservice: {{ s3ntinel\nKB_ROUTER_TOKEN: s3ntinel\n",
    );
    folder.write("list.yaml", "- s3ntinel\n- API_KEYS=s3ntinel\n");
    folder
}

const BAD: [&str; 4] = ["umbrella.yaml", "broken.yaml", "list.yaml", "absent.yaml"];

fn verify(folder: &Folder, options: &[&str], files: &[&str]) -> Run {
    let all = [&["verify", "-n", "brain"], options, &["--values"], files];
    folder.run(&all.concat()).check()
}

/// Id, status, message and hint of the checks of values files.
fn told(folder: &Folder, files: &[&str]) -> Vec<[String; 4]> {
    let run = verify(folder, &["-o", "json"], files);
    assert_eq!(run.code, 3, "there is no cluster: {run}");
    of_values(&run)
}

fn of_values(run: &Run) -> Vec<[String; 4]> {
    let document = run.json();
    let checks = document["checks"].as_array().unwrap().iter();
    let of = |check: &Value| {
        ["id", "status", "message", "hint"].map(|field| check[field].as_str().unwrap().to_owned())
    };
    let all = checks.map(of);
    all.filter(|check| check[0].starts_with("values."))
        .collect()
}

/// Statuses and messages of one of those checks.
fn of_id(folder: &Folder, id: &str, text: &str) -> Vec<String> {
    folder.write("v.yaml", text);
    let told = told(folder, &["v.yaml"]).into_iter();
    let of_id = told.filter(|[found, ..]| found == id);
    of_id
        .map(|[_, status, message, _]| match status.as_str() {
            "fail" => message,
            other => other.to_owned(),
        })
        .collect()
}

#[test]
fn without_the_option_nothing_is_told_of_values() {
    let folder = Folder::new();
    folder.write("values.yaml", "password: x\n");
    let run = folder.run(&["verify", "-o", "json"]).check();
    assert!(of_values(&run).is_empty(), "{run}");
    assert!(!run.shows("values"), "{run}");
}

#[test]
fn each_check_passes_once_where_all_is_well() {
    let folder = Folder::new();
    folder.write("one.yaml", GOOD);
    folder.write("two.yaml", "");
    std::os::unix::fs::symlink("one.yaml", folder.path("link.yaml")).unwrap();
    let run = verify(&folder, &[], &["one.yaml", "two.yaml", "link.yaml"]);
    assert_eq!(run.code, 3, "there is no cluster: {run}");
    let (_, values) = run.out.split_once("values\n------\n").unwrap();
    assert_snapshot!(values.split("\n\n").next().unwrap(), @"
    [ok]   values.parsed       each values file is understood
    [ok]   values.credentials  no credential stands in the values files
    [ok]   values.store        each ExternalSecret that is enabled has a store and a path
    [ok]   values.target       each ExternalSecret makes the Secret that the pods read
    ");
}

#[test]
fn what_is_wrong_is_told_with_file_and_line_and_what_mends_it() {
    let run = verify(&bad(), &["--short"], &BAD);
    assert_eq!(run.code, 3);
    let (_, values) = run.out.split_once("values\n------\n").unwrap();
    assert_snapshot!(values, @r#"
    [fail] values.parsed       broken.yaml:2:11: this is no YAML
                               hint: ${EDITOR:-vi} broken.yaml
    [fail] values.parsed       list.yaml:1:1: a values file is a mapping, and this is none
                               hint: ${EDITOR:-vi} list.yaml
    [fail] values.parsed       cannot read absent.yaml: No such file or directory (os error 2)
                               hint: ls -la .
    [fail] values.credentials  umbrella.yaml:5: a value of POSTGRES_URL stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} umbrella.yaml && POSTGRES_URL="$POSTGRES_URL" k8s-bootstrap -n brain --apply
    [fail] values.credentials  umbrella.yaml:6: a value of EMBEDDINGS_API_KEYS stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} umbrella.yaml && k8s-bootstrap -n brain --apply
    [fail] values.credentials  umbrella.yaml:7: a password stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.credentials  umbrella.yaml:13: a URL with a password stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.credentials  broken.yaml:1: a value of GITHUB_TOKEN stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} broken.yaml && GITHUB_TOKEN="$GITHUB_TOKEN" k8s-bootstrap -n brain --apply
    [fail] values.credentials  broken.yaml:3: a value of KB_ROUTER_TOKEN stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} broken.yaml && k8s-bootstrap -n brain --apply
    [fail] values.credentials  list.yaml:2: a value of API_KEYS stands there: take it out, it belongs into a Secret or the store; rotate it if the file was ever pushed
                               hint: ${EDITOR:-vi} list.yaml && k8s-bootstrap -n brain --apply --with-api-keys
    [skip] values.credentials  not looked at in full: broken.yaml, list.yaml, absent.yaml
    [fail] values.store        umbrella.yaml:9: externalSecret is enabled without secretPath
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.store        umbrella.yaml:14: externalSecret is enabled without storeName and without secretPath
                               hint: ${EDITOR:-vi} umbrella.yaml
    [skip] values.store        not looked at in full: broken.yaml, list.yaml, absent.yaml
    [fail] values.target       umbrella.yaml:11: targetSecretName is not the Secret that the pods read: embeddings-secrets
                               hint: ${EDITOR:-vi} umbrella.yaml
    [fail] values.target       umbrella.yaml:14: targetSecretName is not the Secret that the pods read: agenticore-secrets
                               hint: ${EDITOR:-vi} umbrella.yaml
    [skip] values.target       not looked at in full: broken.yaml, list.yaml, absent.yaml

    not healthy: 15 failed (cluster.reachable, values.parsed, values.credentials, values.store, values.target), 0 passed, 1 to look at, 7 skipped
    "#);
}

#[test]
fn several_files_stand_after_one_option_or_each_after_its_own() {
    let folder = bad();
    let together = told(&folder, &BAD);
    let apart = [
        "umbrella.yaml",
        "--values=broken.yaml",
        "--short",
        "--values=list.yaml",
    ];
    let apart = [&apart as &[_], &["--values", "absent.yaml"]].concat();
    assert_eq!(told(&folder, &apart), together);
}

#[test]
fn no_value_shows_however_much_is_shown() {
    let folder = bad();
    let formats: [&[&str]; 2] = [&[], &["-o", "json"]];
    let levels: [&[&str]; 5] = [&[], &["-q"], &["-v"], &["-vv"], &["-vvv", "--short"]];
    for format in formats {
        for level in levels {
            let run = verify(&folder, &[format, level].concat(), &BAD);
            assert!(!run.shows(SENTINEL), "{run}");
            assert_eq!(run.code, 3);
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_finding() {
    let folder = Folder::new();
    make_fifo(&folder.path("fifo.yaml"));
    std::fs::create_dir(folder.path("folder.yaml")).unwrap();
    folder.write("binary.yaml", b"password: \xff\n");
    folder.write("large.yaml", vec![b'\n'; 1024 * 1024 + 1]);
    folder.write("largest.yaml", vec![b'\n'; 1024 * 1024]);
    for (name, why) in [
        (
            "absent.yaml",
            Some("No such file or directory (os error 2)"),
        ),
        ("fifo.yaml", Some("it is not a regular file")),
        ("folder.yaml", Some("it is not a regular file")),
        ("binary.yaml", Some("it is not UTF-8")),
        ("large.yaml", Some("it is larger than 1 MiB")),
        ("largest.yaml", None),
    ] {
        let told = told(&folder, &[name]);
        let [_, status, message, hint] = &told[0];
        match why {
            Some(why) => {
                assert_eq!(status, "fail");
                assert_eq!(*message, format!("cannot read {name}: {why}"));
                let run = folder.sh(hint);
                assert_eq!(run.code, 0, "{run}");
                // Nothing passes that was not looked at.
                assert!(told[1..].iter().all(|check| check[1] == "skip"), "{told:?}");
            }
            None => assert!(told.iter().all(|check| check[1] == "pass"), "{told:?}"),
        }
    }
}

#[test]
fn an_external_secret_that_is_enabled_needs_a_store_and_a_path() {
    let folder = Folder::new();
    let of = |text: &str| of_id(&folder, "values.store", text);
    let without = |line: usize, what: &str| {
        vec![format!(
            "v.yaml:{line}: externalSecret is enabled without {what}"
        )]
    };
    let both = "storeName and without secretPath";
    for (text, expected) in [
        ("externalSecret:\n  enabled: true\n", without(2, both)),
        (
            "externalSecret: {enabled: true, storeName: s}\n",
            without(1, "secretPath"),
        ),
        (
            "externalSecret: {enabled: true, secretPath: p}\n",
            without(1, "storeName"),
        ),
        (
            "externalSecret: {enabled: true, secretPath: p, storeName: ' '}\n",
            without(1, "storeName"),
        ),
        (
            "externalSecret: {enabled: true, secretPath: p, storeName: null}\n",
            without(1, "storeName"),
        ),
        ("externalSecret: {enabled: 'true'}\n", without(1, both)),
        (
            "a:\n  b:\n  - externalSecret:\n      enabled: true\n",
            without(4, both),
        ),
        (
            "a: 1\n---\nexternalSecret:\n  enabled: true\n",
            without(4, both),
        ),
        (
            "x: &x {enabled: true}\na: {externalSecret: *x}\nb: {externalSecret: *x}\n",
            without(1, both),
        ),
        (
            "x: &x {enabled: true}\na: {externalSecret: {<<: *x, storeName: s}}\n",
            without(1, "secretPath"),
        ),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    for text in [
        "externalSecret: {enabled: true, storeName: s, secretPath: p}\n",
        "x: &x {storeName: s, secretPath: p}\nexternalSecret: {<<: *x, enabled: true}\n",
        "externalSecret: {enabled: false}\n",
        "externalSecret: {enabled: true, enabled: false}\n",
        "externalSecret: {enabled: }\n",
        "externalSecret: {}\n",
        "externalSecret: true\n",
        "other: {enabled: true}\n",
    ] {
        assert_eq!(of(text), ["pass"], "{text}");
    }
}

#[test]
fn an_external_secret_makes_the_secret_that_the_pods_read() {
    let folder = Folder::new();
    let of = |text: &str| of_id(&folder, "values.target", text);
    let secrets = [
        "agentibrain-router-secrets",
        "embeddings-secrets",
        "agenticore-secrets",
    ];
    let target = |name: &str| format!("externalSecret:\n      targetSecretName: {name}\n");
    let charts = [
        ("brain-api", secrets[0]),
        ("agentibrain-brain-api", secrets[0]),
        ("brainApi", secrets[0]),
        ("embeddings", secrets[1]),
        ("agentibrain-embeddings", secrets[1]),
        ("brain-keeper", secrets[2]),
    ];
    for (chart, right) in charts {
        for secret in secrets.iter().chain(&["agentibrain-embeddings-secrets"]) {
            let text = format!("top:\n  {chart}:\n    {}", target(secret));
            let what = "targetSecretName is not the Secret that the pods read";
            let expected = match *secret == right {
                true => "pass".to_owned(),
                false => format!("v.yaml:4: {what}: {right}"),
            };
            assert_eq!(of(&text), [expected], "{text}");
        }
    }
    for secret in secrets {
        assert_eq!(of(&target(secret)), ["pass"]);
    }
    assert_eq!(of("externalSecret: {targetSecretName: ''}\n"), ["pass"]);
    assert_eq!(
        of(&target("s3ntinel")),
        [
            "v.yaml:2: targetSecretName is not the Secret that the pods read: one of \
          agentibrain-router-secrets, embeddings-secrets, agenticore-secrets"
        ]
    );
    // The nearest chart counts.
    let nested =
        "embeddings: {brain-api: {externalSecret: {targetSecretName: embeddings-secrets}}}";
    assert!(of(nested)[0].ends_with(": agentibrain-router-secrets"));
}

/// An editor that writes a good file and says where, and the program.
fn with_tools(folder: &Folder) {
    folder.write("good", GOOD);
    folder.tool("vi", "cat good > \"$1\" && echo \"edited $1\"\n");
    folder.tool(
        "k8s-bootstrap",
        &format!("echo run \"$@\"; exec {PROGRAM} \"$@\"\n"),
    );
}

#[test]
fn the_hints_can_be_run() {
    for (text, then) in [
        ("password: s3ntinel\n", ""),
        ("broken: [\n", ""),
        ("- list\n", ""),
        ("externalSecret: {enabled: true}\n", ""),
        ("externalSecret: {targetSecretName: x}\n", ""),
        ("POSTGRES_URL: s3ntinel\n", "run -n brain --apply\n"),
        ("GITHUB_TOKEN: s3ntinel\n", "run -n brain --apply\n"),
        ("KB_ROUTER_TOKEN: s3ntinel\n", "run -n brain --apply\n"),
        ("KB_ROUTER_TOKENS: s3ntinel\n", "run -n brain --apply\n"),
        (
            "API_KEYS: s3ntinel\n",
            "run -n brain --apply --with-api-keys\n",
        ),
    ] {
        let folder = Folder::new();
        with_tools(&folder);
        let name = "it's $(touch pwned).yaml";
        folder.write(name, text);
        let failed = told(&folder, &[name]);
        let failed: Vec<_> = failed.iter().filter(|check| check[1] == "fail").collect();
        let [[.., hint]] = failed.as_slice() else {
            panic!("{text}: {failed:?}");
        };
        let run = folder.sh(hint).check();
        assert_eq!(run.out, format!("edited {name}\n{then}"), "{run}");
        // There is no cluster to apply to.
        assert_eq!(run.code, if then.is_empty() { 0 } else { 3 }, "{run}");
        assert!(!folder.path("pwned").exists());
        let now = told(&folder, &[name]);
        assert!(now.iter().all(|check| check[1] == "pass"), "{now:?}");
    }
}

#[test]
fn a_name_forges_no_line() {
    let folder = Folder::new();
    for name in ["x\n[ok]   values.parsed", "x\r", "\u{1b}[2J"] {
        folder.write(name, "password: x\n");
        let run = folder.run(&["verify", "--values", name]).check();
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{run}");
        assert!(
            run.err
                .starts_with("error: --values is empty or has a control character\n")
        );
        assert!(!run.shows("[ok]") && !run.shows("\u{1b}"), "{run}");
    }
}
