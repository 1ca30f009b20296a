//! No value shows in `verify`, whatever is wrong and whoever answers: it reads everything there is.

use crate::sandbox::SANDBOX;
use crate::searched::{FILED, INPUTS, LOG_LEVEL, STRANGERS, Searched};
use crate::services::{Kind, Service, Slot};
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Ran, Space};
use crate::stub::{Reply, SENTINEL, Stub, hides, raw, reply, status};
use crate::workloads::{
    AGENTS, BRAIN_API, EMBEDDINGS_SERVICE, WORKLOADS, agent_pod, agents, install, name_of_pod,
    ports, run_since, stick, wait_ready,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// How loud the program can be, in each format.
const LOUDNESS: [&[&str]; 8] = [
    &[],
    &["-v"],
    &["-vv"],
    &["-q", "-vv"],
    &["-o", "json"],
    &["-o", "json", "-v"],
    &["-o", "json", "-vv"],
    &["-o", "json", "-vv", "--short"],
];
/// A Secret of an operator.
const COPY: &str = "brain-ops-secrets";

/// Runs `verify` with and without `--live` as loud as it can be; gives the loudest document.
#[track_caller]
fn verify(at: &mut Searched, arguments: &[&str], code: i32) -> Ran {
    let mut last = None;
    for live in [&["verify"][..], &["verify", "--live"]] {
        for loudness in LOUDNESS {
            at.options = loudness.to_vec();
            last = Some(at.run(&[live, arguments].concat(), code));
        }
    }
    last.unwrap()
}

/// The ids of the checks that did not pass, and of those skipped.
fn troubles(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let checks = json["checks"].as_array().unwrap().iter();
    let wrong = checks.filter(|check| check["status"] == "fail" || check["status"] == "warn");
    let mut ids: Vec<_> = wrong
        .map(|check| check["id"].as_str().unwrap().to_owned())
        .collect();
    ids.dedup();
    ids
}

#[test]
fn no_value_shows_of_what_is_healthy() {
    let mut at = Searched::new(&[]);
    let (member, copies) = (Space::new(), Space::new());
    at.space.write_file(&FILED);
    let ignore = at.space.folder.path().join(".gitignore");
    std::fs::write(ignore, "local/.k8s-tokens\n").unwrap();
    copies.create_secret(COPY, &FILED, &Value::Null);
    let fleet = ["--fleet-namespace", &member.namespace];
    let apply = ["--apply", "--env-file", "brain.env"];
    at.run(&[&apply[..], &fleet].concat(), 0);
    let slots = [Slot::take(), Slot::take()];
    install(&at.space, &ports(slots[0].port(), slots[1].port()));
    for workload in WORKLOADS {
        wait_ready(&at.space, workload);
    }
    let [brain_api, embeddings] = slots;
    let _services = [
        Service::of(brain_api, Kind::BrainApi, &at.space, BRAIN_API),
        Service::of(embeddings, Kind::Embeddings, &at.space, EMBEDDINGS_SERVICE),
    ];
    let copy = format!("{}/{COPY}", copies.namespace);
    // The values of LOG_LEVEL and others are odd, but not to be told from good ones.
    let ran = verify(&mut at, &[&["--copy", &copy], &fleet[..]].concat(), 0);
    assert_eq!(troubles(&ran), [""; 0], "{}", ran.out);
    at.run(&["verify", "--max-age", "0s"], 0);
}

/// Values that are wrong in every way, in every key of every Secret.
fn spoil(at: &Searched, member: &Space, copies: &Space) {
    let odd = "s3ntinel of a token with spaces in it";
    let short = "s3ntinel-short";
    let list = "s3ntinel-one-that-is-long-enough, s3ntinel-two-that-is-long-enough,<s3ntinel>";
    for value in [odd, short, list] {
        at.hide(value);
    }
    let exposed = json!({ "metadata": { "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":\"s3ntinel\"}",
        "note": "s3ntinel-of-a-note",
        "k8s-bootstrap/minted-at.KB_ROUTER_TOKEN": "s3ntinel",
    } } });
    at.space.create_secret(
        ROUTER,
        &[
            ("KB_ROUTER_TOKEN", odd),
            STRANGERS[1],
            ("KB_ROUTER_TOKENS", list),
            ("OF_ANOTHER", "s3ntinel-of-another"),
        ],
        &exposed,
    );
    at.space.create_secret(
        EMBEDDINGS,
        &[
            ("POSTGRES_URL", "mysql://s3ntinel:s3ntinel@db\n"),
            ("LLM_API_KEY", "<s3ntinel>"),
            ("LLM_API_BASE", " s3ntinel"),
            ("LLM_EMBED_MODEL", "__S3NTINEL_s3ntinel__"),
            ("EMBEDDINGS_API_KEYS", list),
            ("UNKNOWN", "s3ntinel"),
            LOG_LEVEL,
        ],
        &exposed,
    );
    let binary = STANDARD.encode(b"s3ntinel\xff\xfe");
    at.hide(&binary);
    at.space.create_secret(
        AGENTICORE,
        &[
            ("ANTHROPIC_API_KEY", "${s3ntinel}"),
            ("GITHUB_TOKEN", "s3ntinel\n"),
        ],
        &json!({ "type": "tests.invalid/odd", "data": { "ANTHROPIC_API_KEY": binary } }),
    );
    member.create_secret(ROUTER, &STRANGERS, &exposed);
    let of_copy = [
        ("KB_ROUTER_TOKEN", short),
        STRANGERS[1],
        (
            "URL",
            "https://s3ntinel@brain/another-s3ntinel-embeddings-key-that-is-long-enough",
        ),
        ("LIST", list),
    ];
    copies.create_secret(COPY, &of_copy, &exposed);
    at.space.create_secret(COPY, &of_copy, &exposed);
}

/// Pods with values of their own.
fn literal_pods(at: &Searched) {
    let literal = json!({ "name": "POSTGRES_URL", "value": "s3ntinel-literal" });
    let required = json!({ "name": "B", "valueFrom": { "secretKeyRef": {
        "name": EMBEDDINGS, "key": "NOT_THERE",
    } } });
    let annotations = json!({ "note": "s3ntinel", "reloader.stakater.com/auto": "s3ntinel" });
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "literal", "annotations": annotations },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "literal" } },
            "template": {
                "metadata": { "labels": { "app": "literal" }, "annotations": annotations },
                "spec": { "containers": [{
                    "name": "main", "image": "registry.invalid/s3ntinel:1",
                    "command": ["s3ntinel"], "args": ["--token=s3ntinel"],
                    "env": [literal, required],
                }] },
            },
        },
    });
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments",
        at.space.namespace
    );
    SANDBOX.expect("POST", &path, &object);
    wait_ready(&at.space, "deployments/literal");
    let pod = name_of_pod(&at.space, "deployments/literal");
    stick(
        &at.space,
        &pod,
        "couldn't find key s3ntinel in Secret s3ntinel/s3ntinel",
    );
}

#[test]
fn no_value_shows_of_what_is_wrong_in_every_way() {
    let mut at = Searched::new(&[]);
    let (member, copies) = (Space::new(), Space::new());
    spoil(&at, &member, &copies);
    at.space.write_file(&FILED);
    let slots = [Slot::take(), Slot::take()];
    install(&at.space, &ports(slots[0].port(), slots[1].port()));
    agents(&member);
    agent_pod(&at.space, "lone");
    literal_pods(&at);
    for workload in WORKLOADS {
        wait_ready(&at.space, workload);
    }
    wait_ready(&member, AGENTS);
    // One refuses its own token, the other accepts every request.
    let [brain_api, embeddings] = slots;
    let strange = [("KB_ROUTER_TOKEN".into(), "s3ntinel-of-the-pod".into())];
    let brain_api = Service::start(brain_api, Kind::BrainApi, strange.into());
    let embeddings = Service::start(embeddings, Kind::Embeddings, [].into());
    // It knows nothing of what has changed since.
    let pod = name_of_pod(&at.space, BRAIN_API);
    run_since(&at.space, &pod, "2026-01-02T03:04:05Z", true);

    let copy = format!("{}/{COPY}", copies.namespace);
    let arguments = [
        "--fleet-namespace",
        &member.namespace,
        "--copy",
        &copy,
        "--max-age=0s",
    ];
    let ran = verify(&mut at, &arguments, 1);
    let found = troubles(&ran);
    for id in [
        "secret.present",
        "secret.keys",
        "secret.value",
        "secret.exposed",
        "tokens.match",
        "tokens.pair",
        "tokens.fleet",
        "tokens.copies",
        "workload.wired",
        "workload.fresh",
        "workload.waiting",
        "embeddings.door",
        "live.brain-api",
        "live.embeddings",
    ] {
        assert!(found.iter().any(|found| found == id), "{id}: {}", ran.out);
    }
    assert!(brain_api.answers() + embeddings.answers() > 0);

    // The file too.
    for text in [
        "KB_ROUTER_TOKEN=\"$(echo s3ntinel)\"\n",
        "KB_ROUTER_TOKEN=\"s3ntinel-that-never-ends\n",
        "KB_ROUTER_TOKEN=\"s3ntinel with spaces in the token\"\n",
        "s3ntinel-without-a-name\n",
        "KB_ROUTER_TOKEN=s3ntinel-token-one-long-enough\nKB_ROUTER_TOKEN=s3ntinel-token-two-long-enough\n",
    ] {
        std::fs::write(at.space.file(), text).unwrap();
        for loudness in LOUDNESS {
            at.options = loudness.to_vec();
            let ran = at.run(&[&["verify"], &arguments[..]].concat(), 1);
            assert!(ran.out.contains("file.parsed"), "{}", ran.out);
        }
    }
    std::fs::write(at.space.file(), b"KB_ROUTER_TOKEN=s3ntinel-\xff\xfe\n").unwrap();
    verify(&mut at, &arguments, 1);
}

/// A token that cannot stand in a request is not sent, and not shown.
#[test]
fn no_value_shows_of_a_token_that_cannot_be_sent() {
    let mut at = Searched::new(&[]);
    let (token, key) = (
        "s3ntinel\r\nHost: s3ntinel",
        "s3ntinel-\u{1}-key-that-is-long-enough",
    );
    at.space.create_secret(
        ROUTER,
        &[("KB_ROUTER_TOKEN", token), ("EMBEDDINGS_API_KEY", key)],
        &Value::Null,
    );
    at.hide(token);
    at.hide(key);
    let slots = [Slot::take(), Slot::take()];
    install(&at.space, &ports(slots[0].port(), slots[1].port()));
    let ran = verify(&mut at, &[], 1);
    assert!(
        troubles(&ran).contains(&"live.brain-api".to_owned()),
        "{}",
        ran.out
    );
}

#[test]
fn no_value_shows_where_verify_is_not_understood() {
    let mut at = Searched::new(&[]);
    let lines: [&[&str]; 8] = [
        &["verify", "s3ntinel"],
        &["verify", "--live=s3ntinel"],
        &["verify", "--copy", "s3ntinel"],
        &["verify", "--copy=s3ntinel/S3NTINEL"],
        &["verify", "--max-age=s3ntinel"],
        &["verify", "--wait", "s3ntinel"],
        &["verify", "--s3ntinel"],
        &["rbac", "verify", "--copy", "s3ntinel"],
    ];
    for loudness in LOUDNESS {
        at.options = loudness
            .iter()
            .copied()
            .filter(|option| *option != "--short")
            .collect();
        for line in lines {
            at.run(line, 2);
        }
    }
}

/// What a healthy and empty cluster answers to `verify`.
fn empty(request: &str) -> Reply {
    let path = request.split(['?', ' ']).nth(1).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    match path
        .split('/')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["version"] => reply(200, &json!({ "gitVersion": "v1.36.3" })),
        [.., "namespaces", _] => {
            let active = json!({ "phase": "Active" });
            reply(
                200,
                &json!({ "metadata": { "name": name }, "status": active }),
            )
        }
        [.., "secrets", _] => status(404, "NotFound", "not found"),
        _ => reply(200, &json!({ "metadata": {}, "items": [] })),
    }
}

/// Tells whether verify can say nothing without that answer. What else cannot be read is skipped.
fn is_needed(part: &str) -> bool {
    [
        "agenticore-secrets",
        "metadata.name",
        "/namespaces?",
        "/version",
    ]
    .contains(&part)
}

/// Lets a server answer so to every request with that in its line: no value shows, and the exit
/// code is 3 where that answer is needed.
fn answered(part: &'static str, answer: fn(&str) -> Reply, body: &Value) {
    let body = body.to_string();
    let stub = Stub::new(move |request, _| match request.contains(part) {
        true => Reply {
            body: body.clone(),
            ..answer(&body)
        },
        false => empty(request),
    });
    let space = stub.space();
    for format in ["text", "json"] {
        let arguments = [
            "verify",
            "--live",
            "-vv",
            "--request-timeout=300ms",
            "--fleet-selector=team",
            "-o",
            format,
        ];
        let ran = space.run_with(&INPUTS, &arguments);
        let ran = hides(hides(ran, SENTINEL), "s3ntinel");
        let code = if is_needed(part) { 3 } else { 1 };
        assert_eq!(ran.code, code, "{part}: {}\n{}", ran.out, ran.err);
        assert_eq!(
            ran.err.contains("error: "),
            is_needed(part),
            "{part}: {}",
            ran.err
        );
        if format == "json" {
            let document = ran.json();
            assert_eq!(document["ok"], false, "{part}");
            let error = &document["error"]["message"];
            assert_eq!(error.is_string(), is_needed(part), "{part}: {document}");
            let checks = document["checks"].as_array().unwrap();
            let unread = |check: &&Value| {
                let message = check["message"].as_str().unwrap();
                let words = [
                    "cannot be read",
                    "cannot list",
                    "does not accept your credentials",
                    "no answer",
                ];
                check["status"] == "skip" && words.iter().any(|word| message.contains(word))
            };
            let told = match is_needed(part) {
                true => checks[0]["status"] == "fail",
                false => checks.iter().any(|check| unread(&check)),
            };
            assert!(told, "{part}: {document}");
        }
    }
    assert!(stub.count(part) > 0, "{part}");
}

#[test]
fn no_value_shows_of_an_answer_that_cannot_be_read() {
    let list = |item: Value| json!({ "metadata": {}, "items": [item] });
    let pod = |spec: Value, status: Value| {
        let metadata = json!({ "name": "a", "namespace": "default" });
        list(json!({ "metadata": metadata, "spec": spec, "status": status }))
    };
    let containers = |container: Value| json!({ "containers": [container] });
    let running = json!({ "containerStatuses": [{
        "name": "main", "state": { "running": { "startedAt": SENTINEL } },
    }] });
    let env = |env: Value| containers(json!({ "name": "main", "env": env }));
    let template = |spec: Value| {
        let spec = json!({ "template": { "spec": spec } });
        list(json!({ "metadata": { "name": "a", "namespace": "default" }, "spec": spec }))
    };
    for (part, body) in [
        (
            "agenticore-secrets",
            json!({ "metadata": {}, "data": SENTINEL }),
        ),
        ("agenticore-secrets", json!({ "metadata": SENTINEL })),
        (
            "agenticore-secrets",
            json!({ "metadata": {}, "data": { "A": [SENTINEL] } }),
        ),
        ("agenticore-secrets", json!([SENTINEL])),
        (
            "type%3DOpaque",
            list(json!({ "metadata": {}, "data": SENTINEL })),
        ),
        (
            "metadata.name",
            list(json!({ "metadata": {}, "data": SENTINEL })),
        ),
        ("/pods", list(json!(SENTINEL))),
        ("/pods", pod(json!(SENTINEL), json!({}))),
        ("/pods", pod(env(json!(SENTINEL)), json!({}))),
        (
            "/pods",
            pod(
                env(json!([{ "name": "A", "value": [SENTINEL] }])),
                json!({}),
            ),
        ),
        ("/pods", pod(env(json!([{ "value": SENTINEL }])), json!({}))),
        ("/pods", pod(containers(json!({ "name": "main" })), running)),
        ("/statefulsets", template(env(json!(SENTINEL)))),
        (
            "/deployments",
            template(env(json!([{ "name": "A", "valueFrom": SENTINEL }]))),
        ),
        (
            "/cronjobs",
            list(json!({ "metadata": {}, "spec": { "jobTemplate": SENTINEL } })),
        ),
        (
            "/externalsecrets",
            list(json!({ "metadata": {}, "spec": SENTINEL })),
        ),
        ("/namespaces?", list(json!({ "metadata": SENTINEL }))),
        ("/version", json!({ "gitVersion": [SENTINEL] })),
    ] {
        answered(part, |body| raw(200, body), &body);
    }
}

#[test]
fn no_value_shows_of_the_message_of_an_error() {
    let message = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": SENTINEL,
        "message": SENTINEL, "details": { "name": SENTINEL, "causes": [{ "message": SENTINEL }] },
    });
    for part in [
        "agenticore-secrets",
        "/pods",
        "/statefulsets",
        "/namespaces?",
        "/version",
    ] {
        answered(part, |body| raw(500, body), &message);
        answered(part, |body| raw(401, body), &message);
        answered(
            part,
            |body| Reply {
                cut: true,
                ..raw(200, body)
            },
            &message,
        );
    }
}
