//! Whether an ExternalSecret is wired, by examples.

use super::tests::failures;
use crate::domain::checks::check::Id;

const BOTH: &str = "externalSecret is enabled without storeName and without secretPath";

#[test]
fn an_external_secret_that_is_enabled_needs_a_store_and_a_path() {
    let path = BOTH.replace("storeName and without ", "");
    let store = BOTH.replace(" and without secretPath", "");
    for (text, line, what) in [
        ("externalSecret:\n  enabled: true\n", 2, BOTH),
        ("externalSecret: {enabled: true, storeName: s}", 1, &path),
        ("externalSecret: {enabled: true, secretPath: p}", 1, &store),
        (
            "externalSecret: {enabled: true, awsSecretPath: p}",
            1,
            &store,
        ),
        (
            "externalSecret: {enabled: true, secretPath: p, storeName: ' '}",
            1,
            &store,
        ),
        (
            "externalSecret: {enabled: true, secretPath: p, storeName: null}",
            1,
            &store,
        ),
        ("externalSecret: {enabled: 'true'}", 1, BOTH),
        ("externalSecret: {enabled: yes}", 1, BOTH),
        (
            "a:\n  b:\n  - externalSecret:\n      enabled: true\n",
            4,
            BOTH,
        ),
        ("a: 1\n---\nexternalSecret:\n  enabled: true\n", 4, BOTH),
        (
            "x: &x {enabled: true}\na: {externalSecret: *x}\nb: {externalSecret: *x}\n",
            1,
            BOTH,
        ),
        (
            "x: &x {enabled: true}\na: {externalSecret: {<<: *x, storeName: s}}\n",
            1,
            &path,
        ),
    ] {
        let expected = [(line, what.to_owned())];
        assert_eq!(failures(Id::ValuesStore, text), expected, "{text}");
    }
    for text in [
        "externalSecret: {enabled: true, storeName: s, secretPath: p}",
        "externalSecret: {enabled: true, storeName: s, awsSecretPath: p}",
        "x: &x {storeName: s, secretPath: p}\nexternalSecret: {<<: *x, enabled: true}",
        "externalSecret: {enabled: false}",
        "externalSecret: {enabled: 0}",
        "externalSecret: {enabled: }",
        "externalSecret: {enabled: ''}",
        "externalSecret: {}",
        "externalSecret: true",
        "other: {enabled: true}",
    ] {
        assert_eq!(failures(Id::ValuesStore, text), [], "{text}");
    }
    // Helm takes every text for true.
    let text = "externalSecret: {enabled: 'false', storeName: s}";
    assert_eq!(failures(Id::ValuesStore, text), [(1, path.clone())]);
}

#[test]
fn a_manifest_names_its_store_and_what_it_reads() {
    let manifest = |spec: &str| {
        format!("apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nspec: {{{spec}}}\n")
    };
    let store = "the ExternalSecret is without spec.secretStoreRef";
    let data = "the ExternalSecret is without data and dataFrom";
    for (spec, what) in [
        (
            "secretStoreRef: {name: s}, dataFrom: [{extract: {key: k}}]",
            None,
        ),
        (
            "dataFrom: [{sourceRef: {storeRef: {name: s}}, extract: {key: k}}]",
            None,
        ),
        ("target: {name: a}", Some(store)),
        ("secretStoreRef: {}, data: [{secretKey: a}]", Some(store)),
        ("secretStoreRef: {name: s}", Some(data)),
    ] {
        let found = failures(Id::ValuesStore, &manifest(spec));
        let expected = what.map(|what| (3, what.to_owned()));
        assert_eq!(found, Vec::from_iter(expected), "{spec}");
    }
}

#[test]
fn a_chart_makes_the_secret_that_its_pods_read() {
    let charts = [
        ("brain-api", "agentibrain-router-secrets"),
        ("brainApi", "agentibrain-router-secrets"),
        ("embeddings", "embeddings-secrets"),
        ("agentibrain-embeddings", "embeddings-secrets"),
        ("brain-keeper", "agenticore-secrets"),
        ("mcp", "agentibrain-mcp-secrets"),
        ("agentibrain-mcp", "agentibrain-mcp-secrets"),
        ("brain-ops", "brain-ops-secrets"),
    ];
    let what = "externalSecret makes a Secret that the pods do not read; they read";
    for (chart, right) in charts {
        let nested = |name: &str| {
            format!("{chart}:\n  tpl: {{externalSecret: {{targetSecretName: {name}}}}}\n")
        };
        let named = |name: &str| {
            format!(
                "tpl:\n  {{fullnameOverride: {chart}, externalSecret: {{targetSecretName: {name}}}}}"
            )
        };
        for (_, secret) in charts
            .iter()
            .chain(&[("", "agentibrain-embeddings-secrets")])
        {
            let expected = (*secret != right).then(|| (2, format!("{what} {right}")));
            for text in [nested(secret), named(secret)] {
                let found = failures(Id::ValuesTarget, &text);
                assert_eq!(found, Vec::from_iter(expected.clone()), "{text}");
            }
        }
    }
}

#[test]
fn the_secret_that_the_values_name_is_the_one_that_the_pods_read() {
    let values = |rest: &str| {
        format!(
            "tpl:\n  secrets: {{external: {{secretName: mine}}}}\n  externalSecret: {{{rest}}}\n"
        )
    };
    let what = "externalSecret makes a Secret that the pods do not read; they read \
                secrets.external.secretName (line 2)";
    for (rest, line) in [
        ("targetSecretName: mine", None),
        ("enabled: true, targetSecretName: mine", None),
        ("enabled: false, targetSecretName: theirs", None),
        ("targetSecretName: theirs", Some(3)),
        ("targetSecretName: embeddings-secrets", Some(3)),
        // The chart's own default, which is one of the table.
        ("enabled: true", Some(2)),
    ] {
        let expected = line.map(|line| (line, what.to_owned()));
        let found = failures(Id::ValuesTarget, &values(rest));
        assert_eq!(found, Vec::from_iter(expected), "{rest}");
    }
    let extra = "env: {extra: [{name: A, valueFrom: {secretKeyRef: {name: theirs, key: a}}}]}\n\
                 externalSecret: {targetSecretName: theirs}\n";
    assert_eq!(failures(Id::ValuesTarget, extra), []);
    let nobody = failures(
        Id::ValuesTarget,
        "externalSecret: {targetSecretName: theirs}\n",
    );
    let [(1, message)] = nobody.as_slice() else {
        panic!("{nobody:?}");
    };
    let all = "agentibrain-router-secrets or embeddings-secrets or agenticore-secrets or \
               agentibrain-mcp-secrets or brain-ops-secrets";
    assert!(message.ends_with(all), "{message}");
    // The nearest chart counts.
    let nested =
        "embeddings: {brain-api: {externalSecret: {targetSecretName: embeddings-secrets}}}";
    assert!(
        failures(Id::ValuesTarget, nested)[0]
            .1
            .ends_with("read agentibrain-router-secrets")
    );
}

#[test]
fn an_external_secret_makes_a_secret_that_a_workload_of_the_file_reads() {
    let made = |target: &str| {
        format!(
            "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {{name: own}}\n\
             spec: {{secretStoreRef: {{name: s}}, dataFrom: [{{extract: {{key: k}}}}]{target}}}\n---\n"
        )
    };
    let workload = |reads: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nspec: {{template: {{spec: {{containers: \
             [{{name: a, {reads}}}]}}}}}}\n"
        )
    };
    let target = ", target: {name: mine}";
    let from = |name: &str| format!("envFrom: [{{secretRef: {{name: {name}}}}}]");
    let key = "env: [{name: A, valueFrom: {secretKeyRef: {name: mine, key: a}}}]";
    let what = "the ExternalSecret makes a Secret that no workload of this file reads".to_owned();
    for (text, line) in [
        (made(target) + &workload(&from("mine")), None),
        (made(target) + &workload(key), None),
        (made("") + &workload(&from("own")), None),
        (made(target) + &workload(&from("theirs")), Some(4)),
        (made("") + &workload(&from("theirs")), Some(3)),
        (made(target) + &workload("image: b"), Some(4)),
        (made(target), None),
        (
            made(target) + "apiVersion: v1\nkind: Ingress\nspec: {tls: [{secretName: theirs}]}",
            None,
        ),
    ] {
        let expected = line.map(|line| (line, what.clone()));
        let found = failures(Id::ValuesTarget, &text);
        assert_eq!(found, Vec::from_iter(expected), "{text}");
    }
}
