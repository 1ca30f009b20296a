//! Where all is well, and where nothing points to Path 2.

use super::{
    EXTERNALS, checks_of, extract_all, follow, ids_with, look, make, path2_ids, secret, synced,
    verify_with_store,
};
use crate::path2::BAO;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER, Space};
use crate::wait::wait;
use serde_json::json;

const ALL: [&str; 11] = [
    "eso.served",
    "eso.operator",
    "eso.store",
    "eso.present",
    "eso.synced",
    "eso.fields",
    "eso.target",
    "eso.policy",
    "store.path",
    "store.fields",
    "store.equal",
];

#[test]
fn a_healthy_path_2_passes_every_check() {
    let space = synced();
    let ran = verify_with_store(&space, &[]).exits(0);
    assert_eq!(ids_with(&ran, "fail"), [""; 0], "{}", ran.out);
    // The folder of the test is in no repository, and nothing reads the Secrets yet.
    assert_eq!(ids_with(&ran, "warn"), [""; 0], "{}", ran.out);
    assert_eq!(path2_ids(&ran), ALL);
    let skipped = ids_with(&ran, "skip");
    assert!(
        !skipped.iter().any(|id| ALL.contains(&id.as_str())),
        "{skipped:?}"
    );
    for (_, target, _) in EXTERNALS {
        for id in ["eso.present", "eso.fields", "eso.target", "store.equal"] {
            assert_eq!(
                checks_of(&ran, id, &secret(target)).len(),
                1,
                "{id} {target}"
            );
        }
    }
    let six = &checks_of(&ran, "eso.fields", &secret(EMBEDDINGS))[0]["message"];
    assert_eq!(six, "it has all 6 fields");
    // It only reads, in the cluster and in the store.
    assert_eq!(space.writes(), [""; 0]);
    assert_eq!(BAO.entry(&super::entry(&space)).unwrap().1, 1);

    // Without a way to the store nothing fails either.
    let ran = look(&space).exits(0);
    let skipped = ids_with(&ran, "skip");
    for id in ["store.path", "store.fields", "store.equal"] {
        assert!(skipped.iter().any(|it| it == id), "{}", ran.out);
    }
    let text = space.run(&["verify"]).exits(0);
    text.says(&[
        "not checked: set BAO_ADDR or VAULT_ADDR",
        "\neso\n---\n",
        "healthy: ",
    ]);
}

#[test]
fn nothing_is_said_of_path_2_where_nothing_points_to_it() {
    let space = Space::new();
    space.bootstrapped();
    let ran = verify_with_store(&space, &[]).exits(0);
    assert_eq!(path2_ids(&ran), [""; 0]);
    // Nor is it asked for.
    let asked = space.requests();
    let uris = asked
        .iter()
        .map(|event| event["requestURI"].as_str().unwrap());
    let of_path2 = |uri: &&str| uri.contains("stores") || uri.contains("/events");
    assert_eq!(uris.filter(of_path2).count(), 0);
}

/// An ExternalSecret for something else does not point to it.
#[test]
fn an_external_secret_of_another_secret_is_none_of_ours() {
    let space = Space::new();
    space.bootstrapped();
    let entry = super::extracting("nowhere");
    make(&space, "other", &json!({ "name": "other" }), &entry);
    assert_eq!(path2_ids(&look(&space).exits(0)), [""; 0]);
}

#[test]
fn one_secret_may_be_on_path_2_and_the_others_plain() {
    let space = super::filled();
    space.bootstrapped();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    space.extract(EXTERNALS[1].0, EMBEDDINGS, &super::entry(&space));
    let ran = verify_with_store(&space, &[]).exits(0);
    let message = |id: &str, name: &str| {
        let found = checks_of(&ran, id, &secret(name));
        found
            .iter()
            .map(|it| it["message"].clone())
            .collect::<Vec<_>>()
    };
    let made = format!("created by ExternalSecret {}", EXTERNALS[1].0);
    assert_eq!(message("eso.present", EMBEDDINGS), [made]);
    for plain in [ROUTER, AGENTICORE] {
        assert_eq!(
            message("eso.present", plain),
            ["no ExternalSecret creates it"]
        );
        assert_eq!(message("eso.target", plain), [""; 0]);
    }
}

#[test]
fn a_fleet_namespace_may_be_on_path_2_too() {
    let space = synced();
    let fleet = Space::new();
    let router = json!({ "name": ROUTER });
    let entry = super::extracting(&format!("{}/router", space.namespace));
    let reading = json!({ "secretStoreRef": {
        "kind": "ClusterSecretStore", "name": space.namespace,
    } });
    let mut spec = entry;
    spec.as_object_mut()
        .unwrap()
        .extend(reading.as_object().unwrap().clone());
    make(&fleet, "fleet-router", &router, &spec);
    wait("the Secret is there", || fleet.object(ROUTER).is_some());
    let options = ["--fleet-namespace", &fleet.namespace];
    let ran = verify_with_store(&space, &options).exits(0);
    let of_fleet = |id: &str, object: &str| {
        let mut found = checks_of(&ran, id, object);
        found.retain(|check| check["namespace"] == fleet.namespace);
        assert_eq!(found.len(), 1, "{id}: {}", ran.out);
        assert_eq!(found[0]["status"], "pass", "{found:?}");
    };
    of_fleet("eso.present", &secret(ROUTER));
    of_fleet("eso.synced", "ExternalSecret/fleet-router");
    of_fleet("store.equal", &secret(ROUTER));

    // Where it fails there, the steps mend it.
    let nothing = format!("{}/nothing", space.namespace);
    super::change(&fleet, "fleet-router", &super::extracting(&nothing));
    let look = || verify_with_store(&space, &options);
    wait("the operator has seen it", || look().code == 1);
    let found = || checks_of(&look(), "eso.synced", "ExternalSecret/fleet-router").remove(0);
    wait("it tells why", || {
        found()["message"]
            .as_str()
            .unwrap()
            .contains("not found in the store")
    });
    let check = found();
    assert_eq!(check["status"], "fail");
    assert_eq!(check["namespace"], fleet.namespace);
    let prefix = format!("{} --path router={nothing}", space.namespace);
    super::steps(
        "--from-cluster",
        &space,
        &check,
        &[("PREFIX", &prefix)],
        &[],
    );
    super::refresh(&fleet, "fleet-router");
    wait("it is well", || look().code == 0);
}

/// The operator takes over what is there, with the same values.
#[test]
fn a_plain_installation_that_was_taken_over_is_well() {
    let space = super::filled();
    space.bootstrapped();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    extract_all(&space);
    let from_cluster = look(&space);
    assert_eq!(
        ids_with(&from_cluster, "warn"),
        [""; 0],
        "{}",
        from_cluster.out
    );
    from_cluster.exits(0);
}

/// The operator copies what `kubectl apply` leaves on an ExternalSecret.
#[test]
fn the_annotation_of_an_external_secret_is_not_taken_for_values() {
    let space = super::filled();
    space.cluster_store(&BAO.token(&space.namespace, &["read"]));
    let object = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": { "name": EXTERNALS[1].0, "namespace": space.namespace },
        "spec": {
            "refreshInterval": "30s",
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": space.namespace },
            "target": { "name": EMBEDDINGS },
            "dataFrom": [{ "extract": { "key": super::entry(&space) } }],
        },
    });
    let file = space.folder.path().join("external-secret.json");
    std::fs::write(file, object.to_string()).unwrap();
    follow(&space, "kubectl apply -f external-secret.json", &[]).exits(0);
    wait("the Secret is there", || space.object(EMBEDDINGS).is_some());
    let metadata = space.object(EMBEDDINGS).unwrap()["metadata"].clone();
    let applied = "kubectl.kubernetes.io/last-applied-configuration";
    assert!(metadata["annotations"][applied].is_string(), "{metadata}");
    let exposed = checks_of(&look(&space), "secret.exposed", &secret(EMBEDDINGS));
    assert_eq!(exposed[0]["status"], "pass", "{exposed:?}");
}
