//! No value shows in `populate`: of the inputs, the live Secrets, the store, the tokens, healthy or
//! failing, whatever the store answers.

use crate::path2::BAO;
use crate::recorded::Executed;
use crate::searched::{FILED, FORMATS, INPUTS, LOG_LEVEL, OTHERS, STRANGERS, Searched};
use crate::space::{EMBEDDINGS, ROUTER, Ran};
use crate::stub::{Reply, SENTINEL, Stub, raw, reply};
use serde_json::{Value, json};

/// The store's token is a value too.
const TOKEN: &str = "s3ntinel-token-for-the-store";

impl Searched {
    /// Runs it with these inputs as an administrator of the store.
    #[track_caller]
    fn populate(&self, inputs: &[(&str, &str)], arguments: &[&str], code: i32) -> Ran {
        let lead = self.space.operator(&BAO.root);
        let lead = lead.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.hide(&BAO.root);
        let prefix = ["populate", "--prefix", &self.space.namespace];
        let environment = [inputs, &lead].concat();
        self.run_with(&environment, &[&prefix, arguments].concat(), code)
    }

    fn entry(&self, name: &str) -> String {
        format!("{}/{name}", self.space.namespace)
    }
}

#[test]
fn no_value_shows_of_the_store_in_its_whole_life() {
    for format in FORMATS {
        for preset in [false, true] {
            let at = Searched::new(format);
            if preset {
                at.space.write_file(&FILED);
            }
            life(&at);
        }
    }
}

fn life(at: &Searched) {
    let bao = &*BAO;
    let from_file = ["--env-file", "brain.env"];
    at.populate(&INPUTS, &from_file, 0);
    at.populate(&INPUTS, &[&["--apply"][..], &from_file].concat(), 0);
    let fields = bao.fields(&at.entry("embeddings"));
    for (name, value) in INPUTS[..4].iter().chain([&LOG_LEVEL]) {
        assert_eq!(fields[*name], *value);
    }
    at.populate(&INPUTS, &["--apply"], 0);
    at.populate(&OTHERS, &["--apply"], 0);
    let names = INPUTS.map(|(name, _)| name).join(",");
    at.populate(&OTHERS, &["--update", &names], 0);
    at.populate(&OTHERS, &["--apply", "--update", &names], 0);
    std::fs::remove_file(at.space.file()).unwrap();
    at.populate(&[], &["--apply"], 0);

    // The live Secrets, with keys of somebody else.
    at.run(&["--apply"], 0);
    let added = [
        ("ADDED", "s3ntinel-of-another"),
        ("POSTGRES_URL", "s3ntinel-live"),
    ];
    at.space.set_keys(EMBEDDINGS, &added, "kubectl-edit");
    for arguments in [
        &[][..],
        &["--apply"],
        &["--apply", "--update", "POSTGRES_URL"],
    ] {
        at.populate(&OTHERS, &[&["--from-cluster"], arguments].concat(), 0);
    }
    assert_eq!(
        bao.fields(&at.entry("embeddings"))["POSTGRES_URL"],
        "s3ntinel-live"
    );

    // Fields of others, in forms of their own.
    let path = format!("secret/data/{}", at.entry("agenticore"));
    let theirs = json!({ "THEIRS": { "s3ntinel": ["s3ntinel"] }, "GITHUB_TOKEN": "s3ntinel" });
    bao.expect("POST", &path, &json!({ "data": theirs }));
    at.populate(&INPUTS, &["--apply"], 0);
    let theirs = json!({ "GITHUB_TOKEN": { "s3ntinel": "s3ntinel" } });
    bao.expect("POST", &path, &json!({ "data": theirs }));
    at.populate(&INPUTS, &["--apply"], 1);
    bao.expect("DELETE", &path, &Value::Null);

    disagreements(at);
}

fn disagreements(at: &Searched) {
    let bao = &*BAO;
    at.space.write_file(&STRANGERS);
    at.populate(&INPUTS, &["--apply"], 1);
    at.populate(&INPUTS, &["--apply", "--from-cluster"], 1);
    // As JSON it prints documents, and the store is not asked.
    let documents = at.options.contains(&"json");
    at.populate(&INPUTS, &[], i32::from(!documents));
    std::fs::remove_file(at.space.file()).unwrap();
    bao.put(&at.entry("router"), &STRANGERS);
    at.populate(&INPUTS, &["--apply", "--from-cluster"], 1);
    at.space.set_keys(ROUTER, &STRANGERS, "kubectl-edit");
    at.populate(&INPUTS, &["--apply", "--from-cluster"], 1);
    for odd in ["s3ntinel of a token with spaces in it", "s3ntinel"] {
        at.hide(odd);
        bao.put(
            &at.entry("router"),
            &[("KB_ROUTER_TOKEN", odd), STRANGERS[1]],
        );
        at.populate(&INPUTS, &["--apply"], 1);
    }
    let list = "s3ntinel-one-that-is-long-enough,s3ntinel-two-that-is-long-enough";
    at.hide(list);
    bao.put(&at.entry("router"), &[]);
    bao.put(&at.entry("embeddings"), &[("EMBEDDINGS_API_KEYS", list)]);
    at.populate(&INPUTS, &["--apply"], 1);
    at.space.write_file(&FILED);
    at.populate(&INPUTS, &["--apply"], 1);
}

#[test]
fn no_value_shows_where_the_store_refuses() {
    for format in FORMATS {
        let at = Searched::new(format);
        at.space.write_file(&FILED);
        let run = |more: &[(&str, &str)], arguments: &[&str], code| {
            let lead = [("BAO_ADDR", &*BAO.address), ("BAO_TOKEN", TOKEN)];
            let environment = [&INPUTS[..], &lead, more].concat();
            let prefix = ["populate", "--apply", "--prefix", &at.space.namespace];
            at.run_with(&environment, &[&prefix, arguments].concat(), code);
        };
        run(&[], &[], 3);
        run(&[("BAO_TOKEN", "s3ntinel\n")], &[], 3);
        run(
            &[("BAO_ADDR", "http://s3ntinel:s3ntinel@127.0.0.1:1")],
            &[],
            3,
        );
        run(&[("BAO_NAMESPACE", "nowhere")], &[], 3);
        run(&[("BAO_TOKEN", &BAO.root)], &["--mount", "nowhere"], 3);
        run(
            &[("BAO_TOKEN", &BAO.token(&at.space.namespace, &["read"]))],
            &[],
            3,
        );
        run(&[("POSTGRES_URL", "s3ntinel\n")], &[], 2);
        let left = at.space.folder.path().join(".vault-token");
        std::fs::write(left, TOKEN).unwrap();
        run(&[("BAO_TOKEN", "")], &[], 3);
    }
}

/// What a store says that tells a value wherever one can stand.
fn answers(kind: usize, request: &str) -> Reply {
    let mount = json!({ "type": "kv", "path": "secret/", "options": { "version": "2" } });
    let healthy = match request {
        _ if request.contains("/mounts/") => reply(200, &json!({ "data": mount })),
        _ if request.contains("capabilities-self") => {
            let may = ["router", "embeddings", "agenticore"]
                .map(|entry| (format!("secret/data/p/{entry}"), json!(["root"])));
            reply(200, &json!({ "data": serde_json::Map::from_iter(may) }))
        }
        _ if request.starts_with("POST ") => reply(200, &json!({})),
        _ => raw(404, r#"{"errors":[]}"#),
    };
    let told = json!({ "errors": [SENTINEL], "data": { "data": SENTINEL } });
    let part = match kind % 4 {
        0 => "/mounts/",
        1 => "GET /v1/secret/data/p/embeddings",
        2 => "capabilities-self",
        _ => "POST /v1/secret/data/p/router",
    };
    if !request.contains(part) {
        return healthy;
    }
    match kind / 4 {
        0 => raw(200, SENTINEL),
        1 => raw(
            200,
            &format!("{{\"data\":{{\"data\":{{\"A\":\"{SENTINEL}\""),
        ),
        2 => reply(200, &told),
        3 => reply(400, &told),
        4 => reply(403, &told),
        5 => reply(500, &told),
        6 => raw(503, SENTINEL),
        _ => Reply {
            cut: true,
            ..raw(200, SENTINEL)
        },
    }
}

#[test]
fn no_value_shows_of_an_answer_of_the_store_that_cannot_be_read() {
    let mut failed = 0;
    for kind in 0..32 {
        let stub = Stub::new(move |request, _| answers(kind, request));
        let address = format!("http://127.0.0.1:{}", stub.port);
        for format in FORMATS {
            let at = Searched::new(format);
            at.hide(SENTINEL);
            let lead = [("BAO_ADDR", &*address), ("BAO_TOKEN", TOKEN)];
            let environment = [&INPUTS[..], &lead].concat();
            let arguments = [&["populate", "--prefix", "p", "--apply"][..], format].concat();
            let ran = at.space.run_with(&environment, &arguments);
            if at.space.file().exists() {
                at.hide_filed();
            }
            at.search(&format!("{}\n{}", ran.out, ran.err), &arguments);
            failed += usize::from(ran.code == 3);
            assert!(ran.code == 3 || ran.code == 0, "{kind}: {}", ran.err);
        }
    }
    // A token that may not ask what it may do, and a write whose answer need not be read, go on.
    assert!(failed >= 50, "{failed}");
}

#[test]
fn show_values_shows_them_in_the_documents_only() {
    let at = Searched::new(&[]);
    at.space.write_file(&FILED);
    for format in ["yaml", "json"] {
        let documents = ["populate", "--prefix", "p", "-vv", "-o", format];
        at.run(&documents, 0);
        let ran = at
            .space
            .run_with(&INPUTS, &[&documents[..], &["--show-values"]].concat());
        let ran = ran.exits(0);
        for (name, value) in FILED.iter().chain(&INPUTS) {
            assert!(ran.out.contains(value), "{format} hides {name}");
        }
        assert!(!ran.err.contains("s3ntinel"), "{}", ran.err);
    }
    for arguments in [&["--apply"][..], &["--apply", "-o", "json"], &[]] {
        let all = [&["populate", "--prefix", "p", "--show-values"], arguments].concat();
        at.run(&all, 2);
    }
}

#[test]
fn no_value_is_on_the_command_line_of_anything_that_populate_executes() {
    let executed = Executed::new();
    executed.programs(&["--apply"], &[], &["cat", "git", "plug-in"]);
    let arguments = ["populate", "--prefix=of-argv", "--from-cluster", "--apply"];
    let store = [("BAO_ADDR", BAO.address.as_str()), ("BAO_TOKEN", &BAO.root)];
    executed.programs(&arguments, &store, &["cat", "plug-in"]);
}
