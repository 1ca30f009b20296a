//! Secrets that belong to somebody else, and keys that another field manager owns.

use crate::marks::{apply_as, reference};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use serde_json::{Value, json};

/// The managers that own a key of the embeddings Secret.
fn managers_of(space: &Space, key: &str) -> Vec<String> {
    let object = space.object(EMBEDDINGS).unwrap();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .filter(|entry| !entry["fieldsV1"]["f:data"][format!("f:{key}")].is_null())
        .map(|entry| entry["manager"].as_str().unwrap().to_owned())
        .collect()
}

fn version(space: &Space, name: &str) -> Value {
    space.object(name).unwrap()["metadata"]["resourceVersion"].clone()
}

/// What a JSON document says of a Secret.
fn secret<'a>(document: &'a Value, name: &str) -> &'a Value {
    let secrets = document["secrets"].as_array().unwrap();
    secrets
        .iter()
        .find(|secret| secret["name"] == name)
        .unwrap()
}

#[test]
fn a_secret_of_somebody_else_is_left_alone_and_the_others_are_made() {
    for (metadata, owner, instead) in [
        (
            reference("ExternalSecret", "eso"),
            "ExternalSecret eso",
            "change the value in the secret store",
        ),
        (
            json!({
                "labels": { "app.kubernetes.io/managed-by": "Helm" },
                "annotations": { "meta.helm.sh/release-name": "brain" },
            }),
            "Helm release brain",
            "change the values of the Helm release",
        ),
        (
            json!({ "annotations": { "argocd.argoproj.io/tracking-id": "app:/Secret:ns/s" } }),
            "Argo CD application app",
            "change it in the git repository that Argo CD applies",
        ),
        (
            json!({ "labels": { "kustomize.toolkit.fluxcd.io/name": "apps" } }),
            "Flux Kustomization apps",
            "change it in the git repository that Flux applies",
        ),
        (
            reference("SealedSecret", "sealed"),
            "SealedSecret sealed",
            "change the object that owns it",
        ),
    ] {
        let space = Space::new();
        let more = json!({ "metadata": metadata });
        space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "theirs")], &more);
        let before = version(&space, EMBEDDINGS);

        space.bootstrapped().says(&["[skip]", owner, instead]);
        assert_eq!(version(&space, EMBEDDINGS), before, "{owner}");
        assert_eq!(space.data(ROUTER), space.filed());
        assert_eq!(space.data(AGENTICORE)["ANTHROPIC_API_KEY"], INPUTS[1].1);

        let again = space.run_with(&INPUTS, &["--apply", "-o", "json"]).exits(0);
        let document = again.json();
        let skipped = secret(&document, EMBEDDINGS);
        assert_eq!(skipped["action"], "skipped");
        assert_eq!(skipped["owner"], owner);
        assert!(skipped["reason"].as_str().unwrap().contains(instead));
        assert_eq!(space.writes().len(), 2, "{:?}", space.writes());
    }
}

#[test]
fn a_skipped_secret_is_not_said_to_follow_update() {
    let space = Space::new();
    let more = json!({ "metadata": reference("ExternalSecret", "eso") });
    space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "theirs")], &more);
    // --update of a key of somebody else's Secret is refused, so it must not be recommended.
    let ran = space.bootstrapped();
    let line = ran
        .out
        .lines()
        .find(|line| line.contains("[skip]"))
        .unwrap();
    assert!(!line.contains("--update"), "{line}");
}

#[test]
fn update_of_a_key_in_a_secret_of_somebody_else_is_refused() {
    let space = Space::new();
    let more = json!({ "metadata": reference("ExternalSecret", "eso") });
    space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "theirs")], &more);
    let before = version(&space, EMBEDDINGS);

    space
        .run_with(&INPUTS, &["--apply", "--update", "POSTGRES_URL"])
        .exits(1)
        .says(&["POSTGRES_URL", "ExternalSecret eso", "secret store"]);
    assert_eq!(version(&space, EMBEDDINGS), before);
    assert_eq!(space.writes(), [""; 0]);
    assert!(!space.file().exists());
}

#[test]
fn a_key_of_another_manager_stays_theirs_when_we_repair_another_key() {
    let space = Space::new();
    space.bootstrapped();
    apply_as(&space, "someone", &[("EXTRA", "theirs")]);
    let before = space.data(EMBEDDINGS);
    // The second repair builds on an apply of our own, whose key has to stay too.
    for key in ["LLM_EMBED_MODEL", "LLM_API_BASE"] {
        space.remove_key(EMBEDDINGS, key);
        space.bootstrapped().says(&["configured", key]);
        assert_eq!(space.data(EMBEDDINGS), before);
        assert_eq!(managers_of(&space, "EXTRA"), ["someone"]);
    }
    let writes = space.writes();
    space.bootstrapped();
    assert_eq!(space.writes(), writes);
}

#[test]
fn a_field_conflict_is_refused_before_the_first_write_and_force_takes_the_key() {
    let space = Space::new();
    space.bootstrapped();
    apply_as(&space, "someone", &[("POSTGRES_URL", "postgres://theirs")]);
    // Another Secret that would be written shows that none is.
    space.remove_key(AGENTICORE, "GITHUB_TOKEN");
    let (versions, writes) = (space.versions(), space.writes());
    let update = ["--apply", "--update", "POSTGRES_URL"];

    space.run_with(&INPUTS, &update).exits(1).says(&[
        "POSTGRES_URL",
        "someone",
        "--force-conflicts",
        EMBEDDINGS,
    ]);
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
    assert_eq!(managers_of(&space, "POSTGRES_URL"), ["someone"]);

    let forced = [&update[..], &["--force-conflicts"]].concat();
    space.run_with(&INPUTS, &forced).exits(0);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], INPUTS[0].1);
    assert_eq!(managers_of(&space, "POSTGRES_URL"), ["k8s-bootstrap"]);

    let (versions, writes) = (space.versions(), space.writes());
    space.run_with(&INPUTS, &update).exits(0);
    assert_eq!(space.versions(), versions);
    assert_eq!(space.writes(), writes);
}

#[test]
fn a_differing_key_of_another_manager_does_not_stop_the_others() {
    let space = Space::new();
    apply_as(&space, "someone", &[("POSTGRES_URL", "postgres://theirs")]);

    // The given value differs, and nobody asked to change theirs.
    space.bootstrapped().says(&["configured", "POSTGRES_URL"]);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], "postgres://theirs");
    assert_eq!(managers_of(&space, "POSTGRES_URL"), ["someone"]);
    assert_eq!(managers_of(&space, "LLM_API_KEY"), ["k8s-bootstrap"]);
}

#[test]
fn a_key_of_a_person_and_of_another_manager_is_a_conflict() {
    let space = Space::new();
    space.bootstrapped();
    space.set_keys(EMBEDDINGS, &[("POSTGRES_URL", "shared")], "kubectl-edit");
    apply_as(&space, "someone", &[("POSTGRES_URL", "shared")]);
    let writes = space.writes();

    space
        .run_with(&INPUTS, &["--apply", "--update", "POSTGRES_URL"])
        .exits(1)
        .says(&["POSTGRES_URL", "someone"]);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], "shared");
    assert_eq!(space.writes(), writes);
}

#[test]
fn a_key_that_a_person_left_behind_is_adopted_quietly() {
    for manager in [
        "kubectl-edit",
        "kubectl-client-side-apply",
        "before-first-apply",
    ] {
        let space = Space::new();
        space.bootstrapped();
        space.set_keys(EMBEDDINGS, &[("POSTGRES_URL", "by hand")], manager);
        apply_as(&space, manager, &[("LLM_API_BASE", "https://by-hand")]);
        let inputs = [INPUTS[0], INPUTS[1], ("LLM_API_BASE", "https://ours")];
        let update = ["--apply", "--update", "POSTGRES_URL,LLM_API_BASE"];

        let ran = space.run_with(&inputs, &update).exits(0);
        assert!(!ran.err.contains(manager), "{}", ran.err);
        assert!(!ran.err.contains("warning"), "{}", ran.err);
        let data = space.data(EMBEDDINGS);
        assert_eq!(data["POSTGRES_URL"], INPUTS[0].1, "{manager}");
        assert_eq!(data["LLM_API_BASE"], "https://ours", "{manager}");

        let (versions, writes) = (space.versions(), space.writes());
        space.run_with(&inputs, &update).exits(0);
        assert_eq!(space.versions(), versions);
        assert_eq!(space.writes(), writes);
    }
}

#[test]
fn complete_secrets_of_another_are_adopted_without_changing_a_value() {
    let space = Space::new();
    let (router, embeddings) = (
        "a-router-token-from-before",
        "an-embeddings-key-from-before",
    );
    let none = json!({});
    space.create_secret(
        ROUTER,
        &[
            ("KB_ROUTER_TOKEN", router),
            ("EMBEDDINGS_API_KEY", embeddings),
        ],
        &none,
    );
    space.create_secret(
        EMBEDDINGS,
        &[
            ("POSTGRES_URL", INPUTS[0].1),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "another-model"),
            ("EMBEDDINGS_API_KEYS", embeddings),
        ],
        &none,
    );
    space.create_secret(
        AGENTICORE,
        &[("ANTHROPIC_API_KEY", INPUTS[1].1), ("GITHUB_TOKEN", "")],
        &none,
    );
    let versions = space.versions();
    for _ in 0..2 {
        space.documented();
        assert_eq!(space.versions(), versions);
        assert_eq!(space.writes(), [""; 0]);
        assert_eq!(space.filed()["KB_ROUTER_TOKEN"], router);
        assert_eq!(space.filed()["EMBEDDINGS_API_KEY"], embeddings);
    }

    // The list that the service reads is all that is added, once.
    let mut expected = space.data(EMBEDDINGS);
    expected.insert("API_KEYS".to_owned(), embeddings.to_owned());
    space.bootstrapped();
    assert_eq!(space.data(EMBEDDINGS), expected);
    let (after, writes) = (space.versions(), space.writes());
    assert_eq!([&after[0], &after[2]], [&versions[0], &versions[2]]);
    let path = space.path(EMBEDDINGS);
    assert!(writes.iter().all(|write| write.contains(&path)));
    space.bootstrapped();
    assert_eq!((space.versions(), space.writes()), (after, writes));
}

/// What is wrong within it is theirs to mend, and does not stop the rest.
#[test]
fn a_secret_of_somebody_else_in_a_wrong_form_does_not_stop_the_run() {
    let space = Space::new();
    let helm = json!({
        "type": "kubernetes.io/basic-auth",
        "metadata": { "labels": { "app.kubernetes.io/managed-by": "Helm" } },
    });
    space.create_secret(AGENTICORE, &[("username", "u"), ("password", "p")], &helm);
    space.bootstrapped().says(&["[skip]", "Helm release"]);
    assert!(space.object(ROUTER).is_some() && space.object(EMBEDDINGS).is_some());
}
