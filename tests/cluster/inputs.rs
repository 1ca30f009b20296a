//! Inputs: they never overwrite a live value unless named.

use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Every input that the environment can bring, its Secret, and a value.
const ALL: [(&str, &str, &str); 6] = [
    (EMBEDDINGS, "POSTGRES_URL", "postgres://old"),
    (EMBEDDINGS, "LLM_API_KEY", "sk-old"),
    (EMBEDDINGS, "LLM_API_BASE", "https://old"),
    (EMBEDDINGS, "LLM_EMBED_MODEL", "model-old"),
    (AGENTICORE, "ANTHROPIC_API_KEY", "sk-ant-old"),
    (AGENTICORE, "GITHUB_TOKEN", "gh-old"),
];

/// Every input with this value.
fn every(value: &str) -> [(&'static str, &str); 6] {
    ALL.map(|(_, key, _)| (key, value))
}

/// A namespace with every input set.
fn full() -> Space {
    let space = Space::new();
    let environment = ALL.map(|(_, key, value)| (key, value));
    space.run_with(&environment, &["--apply"]).exits(0);
    space
}

/// Runs `--apply` with these inputs, which has to succeed and to write so many Secrets.
#[track_caller]
fn applied(space: &Space, inputs: &[(&str, &str)], more: &[&str], writes: usize) -> Ran {
    let before = space.writes().len();
    let ran = space
        .run_with(inputs, &[&["--apply"], more].concat())
        .exits(0);
    let mut sent = space.writes().split_off(before);
    // With force it is the second try at a key of a manager that a person, or we, left behind.
    sent.retain(|write| !write.contains("force=true"));
    assert_eq!(sent.len(), writes, "{sent:?}");
    ran
}

/// All Secrets, by name.
fn everything(space: &Space) -> BTreeMap<&'static str, crate::space::Data> {
    [ROUTER, EMBEDDINGS, AGENTICORE]
        .into_iter()
        .filter(|name| space.object(name).is_some())
        .map(|name| (name, space.data(name)))
        .collect()
}

fn named<'a>(list: &'a Value, field: &str, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|x| x[field] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

/// What the document says of a key: its action and its source.
fn said(document: &Value, secret: &str, key: &str) -> (String, String) {
    let key = named(
        &named(&document["secrets"], "name", secret)["keys"],
        "key",
        key,
    );
    let word = |field: &str| key[field].as_str().unwrap().to_owned();
    (word("action"), word("source"))
}

/// The operations by which the program's field manager owns keys of a Secret.
fn operations(space: &Space, secret: &str) -> Vec<String> {
    let object = space.object(secret).unwrap();
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter();
    entries
        .filter(|entry| entry["manager"] == "k8s-bootstrap")
        .map(|entry| entry["operation"].as_str().unwrap().to_owned())
        .collect()
}

fn env_file(space: &Space, text: &str) -> [&'static str; 2] {
    fs::write(space.folder.path().join("inputs.env"), text).unwrap();
    ["--env-file", "inputs.env"]
}

// Kept.

#[test]
fn an_input_that_differs_is_said_and_the_live_value_kept() {
    let space = full();
    let before = everything(&space);
    let environment = every("host=of-another-mind");

    let document = applied(&space, &environment, &["-o", "json"], 0).json();
    assert_eq!(document["ok"], true);
    for (secret, key, _) in ALL {
        assert_eq!(
            said(&document, secret, key),
            ("differs".into(), "cluster".into())
        );
        let action = &named(&document["secrets"], "name", secret)["action"];
        assert_eq!(action, "unchanged");
    }
    let ran = applied(&space, &environment, &[], 0).says(&["--update"]);
    let ran = ran.says(&ALL.map(|(_, key, _)| key));
    assert!(!ran.out.contains("of-another-mind"), "{}", ran.out);
    space.run_with(&environment, &["diff"]).exits(0);
    assert_eq!(everything(&space), before);
}

#[test]
fn an_input_that_is_unset_or_empty_never_overwrites() {
    let space = full();
    let before = everything(&space);
    let empty: String = ALL.map(|(_, key, _)| format!("{key}=\n")).concat();
    let file = env_file(&space, &empty);

    for (environment, more) in [
        (&[][..], &[][..]),
        (&every(""), &[]),
        (&[], &file),
        (&every("of-the-environment"), &file),
    ] {
        let more = [more, &["-o", "json"]].concat();
        let document = applied(&space, environment, &more, 0).json();
        for (secret, key, _) in ALL {
            assert_eq!(
                said(&document, secret, key),
                ("kept".into(), "cluster".into())
            );
        }
        assert_eq!(everything(&space), before);
    }
}

#[test]
fn update_without_a_value_is_a_usage_error() {
    let space = full();
    let (before, writes) = (everything(&space), space.writes());
    for environment in [&[][..], &[("LLM_API_KEY", "")]] {
        space
            .run_with(environment, &["--apply", "--update", "LLM_API_KEY"])
            .exits(2)
            .says(&["--update LLM_API_KEY", "no value"]);
    }
    assert_eq!((everything(&space), space.writes()), (before, writes));
}

#[test]
fn a_default_never_overwrites() {
    for live in ["text-embedding-ada-002", ""] {
        let space = Space::new();
        let data = [("POSTGRES_URL", INPUTS[0].1), ("LLM_EMBED_MODEL", live)];
        space.create_secret(EMBEDDINGS, &data, &Value::Null);
        for _ in 0..2 {
            space.bootstrapped();
            assert_eq!(space.data(EMBEDDINGS)["LLM_EMBED_MODEL"], live);
        }
        let ran = applied(&space, &INPUTS, &["-o", "json"], 0);
        let said = said(&ran.json(), EMBEDDINGS, "LLM_EMBED_MODEL");
        assert_eq!(said, ("kept".into(), "cluster".into()));
    }
}

// Updated.

#[test]
fn update_changes_the_key_that_it_names_and_no_other() {
    let space = full();
    let mut expected = everything(&space);
    let environment = every("host=new");
    for (at, (secret, key, _)) in ALL.into_iter().enumerate() {
        let more = ["--update", key, "-o", "json"];
        let document = applied(&space, &environment, &more, 1).json();
        expected
            .get_mut(secret)
            .unwrap()
            .insert(key.to_owned(), "host=new".to_owned());
        assert_eq!(everything(&space), expected);
        assert_eq!(said(&document, secret, key), ("set".into(), "env".into()));
        for (secret, other, _) in &ALL[at + 1..] {
            assert_eq!(said(&document, secret, other).0, "differs");
        }
    }
}

#[test]
fn update_takes_a_list_and_counts_as_one_write_a_secret() {
    let space = full();
    let mut expected = everything(&space);
    let named = ["POSTGRES_URL", "LLM_API_KEY", "GITHUB_TOKEN"];
    applied(
        &space,
        &every("host=new"),
        &["--update", &named.join(",")],
        2,
    );
    for (secret, key, _) in ALL.into_iter().filter(|(_, key, _)| named.contains(key)) {
        let data = expected.get_mut(secret).unwrap();
        data.insert(key.to_owned(), "host=new".to_owned());
    }
    assert_eq!(everything(&space), expected);
}

#[test]
fn update_to_the_live_value_sends_no_write() {
    let space = full();
    for (_, key, value) in ALL {
        applied(&space, &[(key, value)], &["--update", key], 0).says(&[": unchanged"]);
    }
}

#[test]
fn update_works_right_after_our_own_create_and_again_after_that() {
    let space = full();
    assert_eq!(operations(&space, EMBEDDINGS), ["Update"]);
    for value in ["first", "second", "third"] {
        applied(
            &space,
            &[("LLM_API_KEY", value)],
            &["--update", "LLM_API_KEY"],
            1,
        );
        assert_eq!(space.data(EMBEDDINGS)["LLM_API_KEY"], value);
        assert!(operations(&space, EMBEDDINGS).contains(&"Apply".to_owned()));
    }
}

#[test]
fn keys_that_were_applied_before_survive_a_later_apply() {
    let space = Space::new();
    space.documented();
    applied(&space, &[], &[], 1);
    let mut expected = everything(&space);
    assert_eq!(
        expected[EMBEDDINGS]["API_KEYS"],
        expected[EMBEDDINGS]["EMBEDDINGS_API_KEYS"]
    );

    let (key, value) = ("LLM_API_KEY", "new");
    space
        .run_with(&[(key, value)], &["--apply", "--update", key])
        .exits(0);
    let data = expected.get_mut(EMBEDDINGS).unwrap();
    data.insert(key.to_owned(), value.to_owned());
    assert_eq!(everything(&space), expected);
}

#[test]
fn a_key_that_a_later_version_applied_survives() {
    let space = Space::new();
    let path = format!("{}?fieldManager=k8s-bootstrap", space.path(AGENTICORE));
    let encoded = |text: &str| json!(STANDARD.encode(text));
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": AGENTICORE, "annotations": { "k8s-bootstrap/of-later": "yes" } },
        "data": { "ANTHROPIC_API_KEY": encoded("sk-ant-old"), "OF_LATER": encoded("kept") },
    });
    let (status, _) = SANDBOX.request("PATCH", &path, "application/apply-patch+yaml", &object);
    assert_eq!(status, 201);

    space.bootstrapped();
    let (key, value) = ("GITHUB_TOKEN", "gh-new");
    space
        .run_with(&[(key, value)], &["--apply", "--update", key])
        .exits(0);
    let data = space.data(AGENTICORE);
    assert_eq!(
        (data["OF_LATER"].as_str(), data[key].as_str()),
        ("kept", value)
    );
    assert_eq!(data["ANTHROPIC_API_KEY"], "sk-ant-old");
    let annotations = &space.object(AGENTICORE).unwrap()["metadata"]["annotations"];
    assert_eq!(annotations["k8s-bootstrap/of-later"], "yes");
}

#[test]
fn the_times_of_minting_survive_a_later_apply() {
    let times = |space: &Space| space.object(ROUTER).unwrap()["metadata"]["annotations"].clone();
    let (router, embeddings) = ("KB_ROUTER_TOKEN", "EMBEDDINGS_API_KEY");

    // Minted by a create, then by an apply; each followed by applies of something else.
    let created = full();
    let applied_to = Space::new();
    let old = [(router, "0123456789abcdef0123456789abcdef")];
    applied_to.create_secret(ROUTER, &old, &Value::Null);
    applied_to.bootstrapped();
    for (space, minted) in [
        (&created, &[router, embeddings][..]),
        (&applied_to, &[embeddings]),
    ] {
        let before = times(space);
        let names: Vec<_> = before.as_object().unwrap().keys().collect();
        let mut expected: Vec<_> = minted
            .iter()
            .map(|key| format!("k8s-bootstrap/minted-at.{key}"))
            .collect();
        expected.sort();
        assert_eq!(names, expected.iter().collect::<Vec<_>>());
        for key in [router, embeddings, router] {
            space.remove_key(ROUTER, key);
            space.bootstrapped();
            assert_eq!(times(space), before);
            assert_eq!(space.data(ROUTER), space.filed());
        }
    }
}

// Where values come from.

#[test]
fn log_level_comes_from_the_env_file_only() {
    let space = Space::new();
    let environment = [INPUTS[0], INPUTS[1], ("LOG_LEVEL", "DEBUG")];
    space.run_with(&environment, &["--apply"]).exits(0);
    assert!(!space.data(EMBEDDINGS).contains_key("LOG_LEVEL"));
    space
        .run_with(&environment, &["--apply", "--update", "LOG_LEVEL"])
        .exits(2);

    let file = env_file(&space, "LOG_LEVEL=WARNING\n");
    applied(&space, &environment, &file, 1);
    assert_eq!(space.data(EMBEDDINGS)["LOG_LEVEL"], "WARNING");

    let fresh = Space::new();
    let file = env_file(&fresh, "LOG_LEVEL=ERROR\n");
    applied(&fresh, &environment, &file, 3);
    assert_eq!(fresh.data(EMBEDDINGS)["LOG_LEVEL"], "ERROR");
}

#[test]
fn the_env_file_beats_the_environment() {
    let space = Space::new();
    let text =
        "# a comment\nexport POSTGRES_URL='postgres://of-the-file'\nGITHUB_TOKEN='gh $x # y'\n";
    let file = env_file(&space, text);
    applied(&space, &every("of-the-environment"), &file, 3);
    let (embeddings, agenticore) = (space.data(EMBEDDINGS), space.data(AGENTICORE));
    assert_eq!(embeddings["POSTGRES_URL"], "postgres://of-the-file");
    assert_eq!(embeddings["LLM_API_KEY"], "of-the-environment");
    assert_eq!(agenticore["ANTHROPIC_API_KEY"], "of-the-environment");
    assert_eq!(agenticore["GITHUB_TOKEN"], "gh $x # y");
}

#[test]
fn tokens_among_the_inputs_are_ignored() {
    let space = Space::new();
    let planted = "0123456789abcdef0123456789abcdef";
    let file = env_file(&space, &format!("EMBEDDINGS_API_KEY={planted}\n"));
    let environment = [INPUTS[0], INPUTS[1], ("KB_ROUTER_TOKEN", planted)];
    applied(&space, &environment, &file, 3);
    assert!(space.data(ROUTER).values().all(|value| value != planted));
}

// Missing.

#[test]
fn a_missing_key_is_added_with_its_value_or_its_default() {
    let cases = [
        (EMBEDDINGS, "POSTGRES_URL", Some("postgres://new")),
        (EMBEDDINGS, "LLM_API_KEY", Some("")),
        (EMBEDDINGS, "LLM_API_BASE", Some("")),
        (
            EMBEDDINGS,
            "LLM_EMBED_MODEL",
            Some("text-embedding-3-small"),
        ),
        (AGENTICORE, "ANTHROPIC_API_KEY", Some("sk-ant-new")),
        (AGENTICORE, "GITHUB_TOKEN", Some("")),
    ];
    let given = [
        ("POSTGRES_URL", "postgres://new"),
        ("ANTHROPIC_API_KEY", "sk-ant-new"),
    ];
    let space = full();
    let mut expected = everything(&space);
    for (secret, key, value) in cases {
        // The default or the required value, then a given one.
        for (inputs, value) in [
            (&given[..], value.unwrap()),
            (&[(key, "host=given")], "host=given"),
        ] {
            space.remove_key(secret, key);
            let document = applied(&space, inputs, &["-o", "json"], 1).json();
            let source = if inputs.iter().any(|(name, _)| *name == key) {
                "env"
            } else {
                "default"
            };
            assert_eq!(said(&document, secret, key), ("set".into(), source.into()));
            let data = expected.get_mut(secret).unwrap();
            data.insert(key.to_owned(), value.to_owned());
            assert_eq!(everything(&space), expected);
        }
    }
}

#[test]
fn a_required_key_that_nobody_has_is_said_and_the_rest_proceeds() {
    let space = full();
    space.remove_key(EMBEDDINGS, "POSTGRES_URL");
    space.remove_key(EMBEDDINGS, "LLM_API_BASE");
    applied(&space, &[], &[], 1).says(&["POSTGRES_URL is not set"]);
    let data = space.data(EMBEDDINGS);
    assert_eq!(data["LLM_API_BASE"], "");
    assert!(!data.contains_key("POSTGRES_URL"));
    applied(&space, &[], &[], 0).says(&["POSTGRES_URL is not set"]);
}

#[test]
fn a_secret_is_skipped_until_its_required_input_is_there() {
    for (secret, key) in [
        (EMBEDDINGS, "POSTGRES_URL"),
        (AGENTICORE, "ANTHROPIC_API_KEY"),
    ] {
        let space = Space::new();
        let without: Vec<_> = INPUTS
            .into_iter()
            .filter(|(name, _)| *name != key)
            .collect();
        let document = applied(&space, &without, &["-o", "json"], 2).json();
        assert_eq!(document["ok"], true);
        let skipped = named(&document["secrets"], "name", secret);
        assert_eq!(
            (&skipped["action"], &skipped["owner"]),
            (&json!("skipped"), &Value::Null)
        );
        assert_eq!(skipped["reason"], json!(format!("{key} is not set")));
        assert!(space.object(secret).is_none());
        applied(&space, &without, &[], 0).says(&[&format!("{key} is not set")]);
        let before = everything(&space);

        applied(&space, &INPUTS, &[], 1).says(&[&format!("{secret}: created")]);
        let mut after = everything(&space);
        assert_eq!(after.remove(secret).unwrap()[key], space.data(secret)[key]);
        assert_eq!(after, before);
        assert_eq!(space.data(ROUTER), space.filed());
    }
}
