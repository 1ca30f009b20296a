//! Tokens in Secrets of a Helm release: the steps upgrade the release.

use crate::fleet_checks::CheckedFleet;
use crate::secret_checks::delete;
use crate::space::{EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::steps::steps;
use crate::token_checks::*;
use serde_json::{Value, json};

/// The check of copies, and one of the names that operators use.
const COPIES: &str = "tokens.copies";
/// See [`COPIES`].
const COPY: &str = "agentibrain-mcp-secrets";

/// Upgrades the release of [`install_secret`] as the steps of a hint say. No value shows.
#[track_caller]
fn upgraded(spaces: &[&Space], at: &Space, check: &Value, chart: &str) {
    let words = [
        ("RELEASE", "agents"),
        ("CHART", chart),
        ("VALUES", "/dev/null"),
    ];
    let ran = steps("helm -n NAMESPACE", at, &hint(check), &words, &[]);
    hides(spaces, &ran);
    ran.exits(0);
}

/// A release that makes one Secret. Gives the chart to which a test upgrades it; it has the second
/// data.
pub fn install_secret(space: &Space, name: &str, data: [&[(&str, &str)]; 2]) -> String {
    let charts = data.map(|data| {
        let folder = tempfile::tempdir_in(space.folder.path()).unwrap().keep();
        std::fs::create_dir(folder.join("templates")).unwrap();
        let chart = json!({ "apiVersion": "v2", "name": "copies", "version": "1.0.0" });
        std::fs::write(folder.join("Chart.yaml"), chart.to_string()).unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
            "stringData": data.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        });
        std::fs::write(folder.join("templates/secret.yaml"), secret.to_string()).unwrap();
        folder.display().to_string()
    });
    let [before, after] = charts;
    let line = format!("helm -n {} install agents {before}", space.namespace);
    let ran = Ran::from(space.shell(&line).output().unwrap());
    ran.exits(0);
    after
}

#[test]
fn a_list_in_a_secret_that_helm_owns_is_mended_by_its_release() {
    let space = Space::new();
    space.run(&["--apply"]).exits(0);
    let key = space.filed()[EMBEDDINGS_KEY].clone();
    let with = |list: &'static str| {
        [
            INPUTS[0],
            ("EMBEDDINGS_API_KEYS", list),
            ("LLM_API_KEY", ""),
            ("LLM_API_BASE", ""),
            ("LLM_EMBED_MODEL", "m"),
        ]
    };
    let mut after = with("");
    after[1].1 = &key;
    let chart = install_secret(&space, EMBEDDINGS, [&with(THIRD), &after]);
    let ran = look(&[&space], &[], 1);
    let at = (space.namespace.as_str(), &*secret(EMBEDDINGS));
    let check = the(&ran, ("tokens.pair", "fail"), at, &[EMBEDDINGS_KEY]);
    upgraded(&[&space], &space, &check, &chart);
    agrees(&space);
}

#[test]
fn a_stale_copy_that_helm_owns_is_mended_by_its_release() {
    let space = Space::new();
    space.bootstrapped();
    let filed = space.filed();
    let right = [(ROUTER_TOKEN, &*filed[ROUTER_TOKEN])];
    let data: [&[(&str, &str)]; 2] = [&[(ROUTER_TOKEN, STRANGER)], &right];
    let chart = install_secret(&space, COPY, data);
    let ran = look(&[&space], &[], 0);
    let at = (space.namespace.as_str(), &*secret(COPY));
    let check = the(&ran, (COPIES, "warn"), at, &[ROUTER_TOKEN, "stale"]);
    upgraded(&[&space], &space, &check, &chart);
    assert_eq!(statuses(&look(&[&space], &[], 0), COPIES), ["pass"]);
}

#[test]
fn a_fleet_secret_that_helm_owns_is_mended_by_its_release() {
    let fleet = CheckedFleet::new(2);
    let member = &fleet.members[0];
    let right = fleet.home.filed();
    for (wrong, words) in [
        (vec![(ROUTER_TOKEN, STRANGER)], ["differs", ROUTER_TOKEN]),
        (vec![], ["missing", ROUTER_TOKEN]),
    ] {
        delete(member, ROUTER);
        let key = (EMBEDDINGS_KEY, right[EMBEDDINGS_KEY].as_str());
        let wrong: Vec<_> = wrong.into_iter().chain([key]).collect();
        let after: Vec<_> = right
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let chart = install_secret(member, ROUTER, [&wrong, &after]);
        let way = &fleet.ways()[1];
        let ran = fleet.look(way, 1);
        let check = fleet.the(&ran, "fail", &words);
        upgraded(&fleet.spaces(), member, &check, &chart);
        fleet.is_well(way);
        let line = format!("helm -n {} uninstall agents", member.namespace);
        Ran::from(member.shell(&line).output().unwrap()).exits(0);
        fleet.home.run(&["--apply", way[0].as_str()]).exits(0);
    }
}
