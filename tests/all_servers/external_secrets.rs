//! Secrets that an ExternalSecret makes, or is about to.

use crate::path2::GROUP;
use crate::sandbox::SANDBOX;
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use crate::wait::wait;
use serde_json::{Value, json};

/// Makes an ExternalSecret of a store that there is not, and waits until a list from the server's cache shows it.
pub fn external_secret(space: &Space, name: &str, spec: &Value) {
    let path = format!("{GROUP}/namespaces/{}/externalsecrets", space.namespace);
    let mut object = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": { "name": name },
        "spec": {
            "secretStoreRef": { "kind": "ClusterSecretStore", "name": "absent" },
            "dataFrom": [{ "extract": { "key": "brain" } }],
        },
    });
    let spec = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(spec);
    SANDBOX.expect("POST", &path, &object);
    let list = format!("{path}?resourceVersion=0");
    wait("the ExternalSecret is listed", || {
        let (status, list) = SANDBOX.request("GET", &list, "application/json", &Value::Null);
        status == 200
            && list["items"].as_array().is_some_and(|items| {
                items
                    .iter()
                    .any(|item| item["metadata"]["name"].as_str() == Some(name))
            })
    });
}

#[test]
fn the_target_of_an_external_secret_belongs_to_it_before_it_is_made() {
    let to = |target: &str| json!({ "target": { "name": target } });
    for (name, spec, exists) in [
        ("brain-embeddings", to(EMBEDDINGS), true),
        ("brain-embeddings", to(EMBEDDINGS), false),
        // Without a target's name the Secret is called like the ExternalSecret.
        (EMBEDDINGS, json!({}), false),
    ] {
        let space = Space::new();
        external_secret(&space, name, &spec);
        if exists {
            space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "theirs")], &json!({}));
        }
        // The operator itself may put a label on it meanwhile.
        let data = || {
            space
                .object(EMBEDDINGS)
                .map(|object| object["data"].clone())
        };
        let before = data();

        let owner = format!("ExternalSecret {name}");
        space
            .bootstrapped()
            .says(&["[skip]", &owner, "change the value in the secret store"]);
        assert_eq!(data(), before);
        assert_eq!(space.writes().len(), 2, "{:?}", space.writes());
        assert_eq!(space.data(ROUTER), space.filed());
        assert!(space.object(AGENTICORE).is_some());
    }
}

#[test]
fn a_target_elsewhere_claims_nothing_here() {
    let (space, other) = (Space::new(), Space::new());
    external_secret(&other, "far", &json!({ "target": { "name": EMBEDDINGS } }));
    external_secret(&space, "near", &json!({ "target": { "name": "another" } }));
    space.bootstrapped();
    assert_eq!(space.versions().len(), 3);
}

#[test]
fn no_token_is_minted_where_an_external_secret_is_about_to_bring_it() {
    let space = Space::new();
    external_secret(
        &space,
        "brain-api",
        &json!({ "target": { "name": ROUTER } }),
    );

    space.run_with(&INPUTS, &["--apply"]).exits(1).says(&[
        ROUTER,
        "ExternalSecret brain-api",
        "KB_ROUTER_TOKEN",
        "EMBEDDINGS_API_KEY",
    ]);
    assert!(!space.file().exists());
    assert_eq!(space.writes(), [""; 0]);
    assert_eq!(space.versions(), [""; 0]);

    // With the tokens at hand nothing has to be minted, and the rest goes on.
    let tokens = [
        ("KB_ROUTER_TOKEN", "a-router-token-of-the-store"),
        ("EMBEDDINGS_API_KEY", "a-embeddings-key-of-the-store"),
    ];
    space.write_file(&tokens);
    space.bootstrapped().says(&["[skip]"]);
    assert_eq!(space.object(ROUTER), None);
    assert_eq!(space.data(EMBEDDINGS)["EMBEDDINGS_API_KEYS"], tokens[1].1);
}

/// Such an ExternalSecret adds to a Secret that somebody else makes, or makes none.
#[test]
fn an_external_secret_that_makes_no_secret_claims_none() {
    for policy in ["Merge", "None"] {
        let space = Space::new();
        let target = json!({ "name": AGENTICORE, "creationPolicy": policy });
        external_secret(&space, "adder", &json!({ "target": target }));
        space.bootstrapped();
        assert!(space.object(AGENTICORE).is_some(), "{policy}");
    }
}
