//! The fleet namespaces have the tokens of home.

use crate::checks::{follow, follow_all, of};
use crate::fleet::{administrator, own_reads, requests_of};
use crate::fleet_checks::{CheckedFleet as Fleet, ID};
use crate::sandbox::SANDBOX;
use crate::secret_checks::delete;
use crate::space::{EMBEDDINGS, ROUTER, Space};
use crate::steps::steps;
use crate::token_checks::{
    EMBEDDINGS_KEY, ROUTER_TOKEN, STRANGER, TOKENS, fingerprint, hides, hint, look, marks_of_helm,
    mend, statuses, the,
};
use serde_json::{Value, json};

#[test]
fn a_fleet_that_is_not_named_is_not_looked_at() {
    let fleet = Fleet::new(1);
    fleet.members[0].set_keys(ROUTER, &[(ROUTER_TOKEN, STRANGER)], "kubectl-edit");
    let ran = fleet.look(&[], 0);
    assert_eq!(of(&ran, ID)[0]["message"], "no fleet namespace is given");
    assert_eq!(statuses(&ran, ID), ["skip"]);
}

/// How a test spoils the first member, and what is said of it.
type Spoiled = (fn(&Space), &'static str, &'static [&'static str]);

#[test]
fn what_a_fleet_namespace_lacks_is_told_and_brought() {
    let spoiled: [Spoiled; 5] = [
        (|space| delete(space, ROUTER), "fail", &["Secret not found"]),
        (
            |space| space.remove_key(ROUTER, ROUTER_TOKEN),
            "fail",
            &[ROUTER_TOKEN, "missing"],
        ),
        (
            |space| space.set_keys(ROUTER, &[(EMBEDDINGS_KEY, "")], "kubectl-edit"),
            "fail",
            &[EMBEDDINGS_KEY, "empty"],
        ),
        (
            |space| space.set_keys(ROUTER, &[(ROUTER_TOKEN, "")], "some-controller"),
            "fail",
            &[ROUTER_TOKEN, "empty", "some-controller"],
        ),
        (
            |space| {
                let data = json!({ "data": { ROUTER_TOKEN: "//79" } });
                SANDBOX.expect("PATCH", &space.path(ROUTER), &data);
            },
            "fail",
            &[ROUTER_TOKEN, "not text"],
        ),
    ];
    let fleet = Fleet::new(2);
    let ways = fleet.ways();
    // Of the one way as of the other.
    for ((spoil, status, words), way) in spoiled.into_iter().zip(ways.iter().cycle()) {
        spoil(&fleet.members[0]);
        let ran = fleet.look(way, 1);
        let mut both = statuses(&ran, ID);
        both.sort();
        assert_eq!(both, ["fail", "pass"]);
        let mut check = fleet.the(&ran, status, words);
        if words.contains(&"not text") {
            let member = fleet.members[0].namespace.as_str();
            let words = [
                ("NAMESPACE", member),
                ("SECRET", ROUTER),
                ("KEY", ROUTER_TOKEN),
            ];
            steps("/data/KEY", &fleet.home, &hint(&check), &words, &[]).exits(0);
            let ran = fleet.look(way, 1);
            check = fleet.the(&ran, "fail", &[ROUTER_TOKEN, "missing"]);
        }
        mend(&fleet.spaces(), &check, &[]);
        fleet.is_well(way);
    }
}

#[test]
fn a_fleet_namespace_with_another_token_gets_that_of_home() {
    let fleet = Fleet::new(2);
    let own = ("OF_THE_AGENTS", "stays");
    let member = &fleet.members[0];
    member.set_keys(ROUTER, &[own], "kubectl-edit");
    let managers = ["kubectl-edit", "some-controller"];
    for ((token, manager), way) in TOKENS.into_iter().zip(managers).zip(&fleet.ways()) {
        member.set_keys(ROUTER, &[(token, STRANGER)], manager);
        let ran = fleet.look(way, 1);
        let (theirs, ours) = (
            format!("the fleet namespace has {}", fingerprint(STRANGER)),
            format!(
                "the home namespace has {}",
                fingerprint(&fleet.home.filed()[token])
            ),
        );
        let check = fleet.the(&ran, "fail", &[token, &theirs, &ours]);
        mend(&fleet.spaces(), &check, &[]);
        fleet.is_well(way);
        assert_eq!(member.data(ROUTER)[own.0], own.1);
    }
}

/// `--apply` refuses as a whole where one disagrees.
#[test]
fn each_hint_mends_its_check_whatever_else_is_wrong_in_the_fleet() {
    for first in 0..4 {
        let mut fleet = Fleet::new(4);
        let [lacking, differing, absent, owned] = [0, 1, 2, 3];
        fleet.members[lacking].remove_key(ROUTER, ROUTER_TOKEN);
        fleet.members[differing].set_keys(ROUTER, &[(EMBEDDINGS_KEY, STRANGER)], "kubectl-edit");
        fleet.members[absent] = Space::without_namespace();
        let other = Space::without_namespace();
        delete(&fleet.members[owned], ROUTER);
        let foreign = TOKENS.map(|token| (token, STRANGER));
        fleet.members[owned].create_secret(ROUTER, &foreign, &marks_of_helm());
        let mut way = fleet.ways()[0].clone();
        way.push(format!("--fleet-namespace={}", other.namespace));
        fleet.members.push(other);

        let ran = fleet.look(&way, 1);
        let at = |index: usize| fleet.members[index].namespace.clone();
        let wrong: Vec<_> = of(&ran, ID);
        let of_namespace = |checks: &[Value], name: &str| -> Vec<Value> {
            let here = checks.iter().filter(|check| check["namespace"] == name);
            here.cloned().collect()
        };
        // Two of Helm's, one of each other.
        assert_eq!(wrong.len(), 6, "{wrong:#?}");
        let index = [lacking, differing, absent, 4][first];
        let check = &of_namespace(&wrong, &at(index))[0];
        let left = || of_namespace(&of(&fleet.look(&way, 1), ID), &at(index)).pop();
        for ran in follow_all(&fleet.home, check, &[], left) {
            hides(&fleet.spaces(), &ran);
        }
        let ran = fleet.look(&way, 1);
        assert_eq!(of_namespace(&of(&ran, ID), &at(index)), [Value::Null; 0]);
    }
}

#[test]
fn a_named_namespace_that_is_absent_is_told_and_made() {
    let mut fleet = Fleet::new(1);
    fleet.members.insert(0, Space::without_namespace());
    // Home is named too, and counts once.
    let mut way = fleet.ways()[0].clone();
    way.push(format!("--fleet-namespace={}", fleet.home.namespace));
    let absent = &fleet.members[0];
    let arguments: Vec<_> = way.iter().map(String::as_str).collect();
    let ran = look(&fleet.spaces()[..1], &arguments, 1);
    let check = fleet.the(&ran, "fail", &["namespace does not exist"]);
    assert!(hint(&check).contains(&format!("create namespace {}", absent.namespace)));
    mend(&fleet.spaces()[..1], &check, &[]);
    let ran = fleet.look(&way, 1);
    let check = fleet.the(&ran, "fail", &["Secret not found"]);
    mend(&fleet.spaces(), &check, &[]);
    fleet.is_well(&way);
}

#[test]
fn a_selector_that_matches_nothing_warns() {
    let mut fleet = Fleet::new(0);
    let way = &fleet.ways()[1];
    let ran = fleet.look(way, 0);
    let check = the(&ran, (ID, "warn"), ("", ""), &["matches no namespace"]);
    assert_eq!(statuses(&ran, ID), ["warn"]);
    // It shows the labels that there are.
    let shown = follow(&fleet.home, &hint(&check), &[]).exits(0);
    let label = format!("kubernetes.io/metadata.name={}", fleet.home.namespace);
    assert!(shown.out.contains(&label), "{}", shown.out);

    // With one that is named beside it, both are told.
    let named = fleet.home.namespace.clone();
    let ran = fleet.look(&[way[0].clone(), format!("--fleet-namespace={named}")], 0);
    assert_eq!(statuses(&ran, ID), ["warn"]);
    fleet.grow(1);
    fleet.is_well(way);
}

#[test]
fn home_counts_once_where_the_selector_matches_it() {
    let mut fleet = Fleet::new(0);
    fleet.label(&fleet.home);
    let [_, way] = fleet.ways();
    let ran = fleet.look(&way, 0);
    assert_eq!(statuses(&ran, ID), ["skip"]);
    assert_eq!(of(&ran, "secret.present").len(), 3);
    fleet.grow(2);
    fleet.is_well(&way);
    assert_eq!(of(&fleet.look(&way, 0), "tokens.match").len(), 2);
}

#[test]
fn a_router_secret_outside_the_fleet_is_nobodys_business() {
    let fleet = Fleet::new(1);
    let stranger = Space::new();
    stranger.create_secret(ROUTER, &[(ROUTER_TOKEN, STRANGER)], &Value::Null);
    for way in &fleet.ways() {
        fleet.is_well(way);
        let ran = fleet.look(way, 0);
        assert!(!ran.out.contains(&format!("\"{}\"", stranger.namespace)));
    }
}

/// Only home has the other two Secrets.
#[test]
fn a_fleet_namespace_needs_the_router_secret_only() {
    let fleet = Fleet::new(1);
    for way in &fleet.ways() {
        let ran = fleet.look(way, 0);
        for check in of(&ran, "secret.present") {
            assert_eq!(check["namespace"], *fleet.home.namespace);
        }
    }
}

#[test]
fn without_the_tokens_of_home_the_fleet_is_not_compared() {
    let fleet = Fleet::new(1);
    delete(&fleet.home, ROUTER);
    delete(&fleet.home, EMBEDDINGS);
    std::fs::remove_file(fleet.home.file()).unwrap();
    for way in &fleet.ways() {
        let ran = fleet.look(way, 1);
        for token in TOKENS {
            let all = of(&ran, ID);
            let mut messages = all.iter().map(|check| check["message"].as_str().unwrap());
            let told = messages.any(|it| it.contains(token) && it.contains("home namespace"));
            assert!(told, "{all:#?}");
        }
        assert_eq!(statuses(&ran, ID), ["skip", "skip"]);
    }
}

#[test]
fn of_many_namespaces_only_those_that_are_wrong_are_named() {
    let fleet = Fleet::new(20);
    fleet.members[3].remove_key(ROUTER, ROUTER_TOKEN);
    fleet.members[17].set_keys(ROUTER, &[(EMBEDDINGS_KEY, STRANGER)], "kubectl-edit");
    for way in &fleet.ways() {
        let ran = fleet.look(way, 1);
        let mut found = statuses(&ran, ID);
        found.sort();
        assert_eq!(found, ["fail", "fail", "pass"]);
        let all = of(&ran, ID);
        let pass = all.iter().find(|check| check["status"] == "pass").unwrap();
        assert_eq!(
            pass["message"],
            "18 fleet namespaces have the tokens of the home namespace"
        );
    }
    let ran = fleet.look(&fleet.ways()[1], 1);
    let fails = of(&ran, ID);
    let fail = fails.iter().find(|check| check["status"] == "fail");
    mend(&fleet.spaces(), fail.unwrap(), &[]);
    fleet.is_well(&fleet.ways()[1]);
}

#[test]
fn the_requests_do_not_grow_with_the_selected_namespaces() {
    let mut fleet = Fleet::new(0);
    let mut counts = Vec::new();
    for size in [5, 15] {
        fleet.grow(size - fleet.members.len());
        let user = format!("verifier-{}-{size}", fleet.home.namespace);
        fleet.home.kubeconfig = administrator(&user);
        fleet.is_well(&fleet.ways()[1]);
        fleet.home.kubeconfig = SANDBOX.kubeconfig.clone();
        let sent = requests_of(&user);
        counts.push(own_reads(sent));
    }
    assert!(counts[0].len() > 5, "{counts:#?}");
    assert_eq!(counts[0].len(), counts[1].len(), "{counts:#?}");
}
