//! `owner.secret`: Secrets of a Helm release and of an ExternalSecret.

use crate::checks::{follow, verify};
use crate::external_secrets::external_secret;
use crate::marks::*;
use crate::secret_checks::{OTHER, bootstrapped, delete, only, set};
use crate::space::{AGENTICORE, Space};
use crate::steps::steps;
use serde_json::json;
use std::fs;

#[test]
fn a_secret_of_a_chart_is_helms_and_the_hint_upgrades_it() {
    let space = bootstrapped();
    delete(&space, AGENTICORE);
    chart(&space);
    let install = format!("helm -n {} install keeper ./chart", space.namespace);
    follow(&space, &install, &[]).exits(0);
    let message = "owned by Helm release keeper: change the values of the Helm release";
    only(&space, OWNER, AGENTICORE, "pass", message);
    let message = "ANTHROPIC_API_KEY is a placeholder";
    only(&space, "secret.value", AGENTICORE, "fail", message);

    let values = space.folder.path().join("better.yaml");
    fs::write(values, format!("key: {OTHER}\n")).unwrap();
    let words = [
        ("RELEASE", "keeper"),
        ("CHART", "./chart"),
        ("VALUES", "better.yaml"),
    ];
    steps("helm -n NAMESPACE", &space, &hint(&space), &words, &[]).exits(0);
    let fine = "no value is a placeholder or malformed";
    only(&space, "secret.value", AGENTICORE, "pass", fine);
    verify(&space, &[]).exits(0);
}

#[test]
fn a_secret_that_an_external_secret_targets_is_its_before_it_takes_it() {
    let space = marked(&json!({}));
    only(&space, OWNER, AGENTICORE, "pass", "created with kubectl");
    external_secret(
        &space,
        "keeper",
        &json!({ "target": { "name": AGENTICORE } }),
    );
    let message = "owned by ExternalSecret keeper: change the value in the secret store";
    only(&space, OWNER, AGENTICORE, "pass", message);
    let words = [("KIND", "externalsecret"), ("NAME", "keeper")];
    let ran = steps("describe KIND NAME", &space, &hint(&space), &words, &[]);
    ran.exits(0).says(&["keeper"]);
    // When the store has it right. There is none here, which eso.synced tells.
    set(&space, AGENTICORE, "ANTHROPIC_API_KEY", OTHER);
    let fine = "no value is a placeholder or malformed";
    only(&space, "secret.value", AGENTICORE, "pass", fine);
}

/// A chart of one Secret, which a value of the chart fills.
fn chart(space: &Space) {
    let folder = space.folder.path().join("chart");
    fs::create_dir_all(folder.join("templates")).unwrap();
    let meta = "apiVersion: v2\nname: keeper\nversion: 0.1.0\n";
    fs::write(folder.join("Chart.yaml"), meta).unwrap();
    fs::write(folder.join("values.yaml"), "key: changeme\n").unwrap();
    let template = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {AGENTICORE}}}\ntype: Opaque\n\
         stringData: {{ANTHROPIC_API_KEY: \"{{{{.Values.key}}}}\", GITHUB_TOKEN: \"\"}}\n"
    );
    fs::write(folder.join("templates/secret.yaml"), template).unwrap();
}
