//! `externalsecrets`, and `migrate` as far as it needs no cluster.

use crate::folder::Folder;
use insta::assert_snapshot;
use serde_json::Value;

const TO: [&str; 4] = ["--prefix", "brain", "--store", "openbao"];

fn printed(arguments: &[&str]) -> String {
    let run = Folder::new().run(arguments);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}");
    run.out
}

#[test]
fn the_external_secrets_are_those_of_the_charts() {
    let out = printed(&[&["externalsecrets", "-n", "brain"], &TO[..]].concat());
    let first = out.split("---\n").next().unwrap();
    assert_snapshot!(first, @"
    apiVersion: external-secrets.io/v1
    kind: ExternalSecret
    metadata:
      name: agentibrain-brain-api-secrets
      namespace: brain
    spec:
      dataFrom:
      - extract:
          key: brain/router
      refreshInterval: 30s
      secretStoreRef:
        kind: ClusterSecretStore
        name: openbao
      target:
        creationPolicy: Owner
        deletionPolicy: Retain
        name: agentibrain-router-secrets
        template:
          metadata: {}
    ");
}

#[test]
fn an_entry_can_have_another_path_and_the_fleet_gets_the_router_only() {
    let arguments = [
        &["externalsecrets", "-n", "brain", "-o", "json"],
        &TO[..],
        &["--store-kind", "SecretStore", "--path", "embeddings=team/x"],
        // Home is no fleet.
        &["--fleet-namespace", "agents", "--fleet-namespace", "brain"],
    ];
    let document: Value = serde_json::from_str(&printed(&arguments.concat())).unwrap();
    let told: Vec<_> = document["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let (metadata, spec) = (&object["metadata"], &object["spec"]);
            assert_eq!(spec["secretStoreRef"]["kind"], "SecretStore");
            [
                metadata["namespace"].as_str().unwrap(),
                metadata["name"].as_str().unwrap(),
                spec["dataFrom"][0]["extract"]["key"].as_str().unwrap(),
                spec["target"]["name"].as_str().unwrap(),
            ]
            .join(" ")
        })
        .collect();
    assert_snapshot!(told.join("\n"), @"
    brain agentibrain-brain-api-secrets brain/router agentibrain-router-secrets
    brain agentibrain-embeddings-secrets team/x embeddings-secrets
    brain brain-keeper-secrets brain/agenticore agenticore-secrets
    agents agentibrain-brain-api-secrets brain/router agentibrain-router-secrets
    ");
}

#[test]
fn a_migration_as_yaml_is_the_same_and_contacts_nothing() {
    let fleet = ["--fleet-namespace", "agents"];
    let of = |command: &str| printed(&[&[command, "-o", "yaml"], &TO[..], &fleet].concat());
    assert_eq!(of("migrate"), of("externalsecrets"));
    let selected = [
        &["migrate", "-o", "yaml", "--fleet-selector", "a=b"],
        &TO[..],
    ]
    .concat();
    let run = Folder::new().run(&selected);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("--fleet-namespace"), "{}", run.err);
}

#[test]
fn what_is_missing_or_odd_is_a_mistake_of_usage() {
    for (arguments, says) in [
        (&["externalsecrets", "--prefix", "p"][..], "--store"),
        (&["externalsecrets", "--store", "s"], "--prefix"),
        (&["migrate", "--store", "s"], "--prefix"),
        (&["migrate", "--prefix", "p"], "--store"),
        (&["migrate", "--rollback", "--prefix", "p"], "--rollback"),
        (&["migrate", "--rollback", "-o", "yaml"], "-o yaml"),
        (
            &["externalsecrets", "--prefix", "/p", "--store", "s"],
            "is not a path",
        ),
        (
            &["externalsecrets", "--prefix", "p", "--store", "S"],
            "is not the name",
        ),
        (
            &[
                "externalsecrets",
                "--prefix",
                "p",
                "--store",
                "s",
                "--path",
                "x=y",
            ],
            "does not name an entry: router, embeddings, agenticore",
        ),
        (&["sync", "--timeout", "soon"], "is not a time"),
    ] {
        let run = Folder::new().run(arguments);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{arguments:?}");
        assert!(run.err.contains(says), "{arguments:?}: {}", run.err);
    }
}
