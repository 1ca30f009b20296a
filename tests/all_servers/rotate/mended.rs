//! What a rotation has to see that others did to it, and what it knows when it is carried on.

use super::decisions::{brain, joined, rotate, rotation_of};
use super::load::Holds;
use super::scene::Scene;
use crate::sandbox::SANDBOX;
use crate::space::{ROUTER, Ran, Space};
use crate::workloads::{BRAIN_API, KEEPER, pod_of, restart};
use serde_json::json;

#[test]
fn a_server_that_has_lost_the_new_token_restarts_before_a_client_gets_it() {
    let mut scene = Scene::new(&[Holds::Agents]);
    scene.rotate(&["--until", "open", "--apply"]).exits(0);
    let old = [("KB_ROUTER_TOKENS", scene.first.router.as_str())];
    scene.home.set_keys(ROUTER, &old, "kubectl-edit");
    restart(&scene.home, BRAIN_API);
    scene.settle();
    let ran = scene.rotate(&["--apply"]).exits(0);
    ran.says(&["may have started with the wrong values restart once more"]);
    scene.rotated();
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_client_that_was_given_the_old_token_again_restarts_before_servers_forget_it() {
    let mut scene = Scene::new(&[Holds::Agents]);
    scene.rotate(&["--until", "switch", "--apply"]).exits(0);
    let new = scene.served();
    let old = [("KB_ROUTER_TOKEN", scene.first.router.as_str())];
    scene.home.set_keys(ROUTER, &old, "kubectl-edit");
    restart(&scene.home, KEEPER);
    scene.settle();
    let held = |mark: &str| {
        let pod = pod_of(&scene.home, KEEPER).unwrap();
        pod["metadata"]["annotations"]["k8s-bootstrap/rotation"] == mark
    };
    let id = rotation_of(&scene.home)["id"].as_str().unwrap().to_owned();
    assert!(held(&format!("{id}.switch")), "it counts as switched");
    let ran = scene.rotate(&["--apply"]).exits(0);
    ran.says(&["may have started with the wrong values restart once more"]);
    assert!(held(&format!("{id}.switch.1")), "it was restarted");
    assert!(scene.rotated() == new, "the same rotation");
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_copy_and_a_namespace_are_known_to_who_carries_on() {
    let (space, other) = (brain(), Space::new());
    let token = space.filed()["KB_ROUTER_TOKEN"].clone();
    other.create_secret("copy", &[("TOKEN", &token)], &json!({}));
    let copy = format!("{}/copy", other.namespace);
    rotate(&space, &["--copy", &copy, "--until", "open", "--apply"]).exits(0);
    // A namespace that comes in on the way.
    let late = Space::new();
    late.create_secret(ROUTER, &[("KB_ROUTER_TOKEN", &token)], &json!({}));
    let held = rotate(&space, &["--fleet-namespace", &late.namespace, "--apply"]).exits(1);
    let held = held.says(&[&copy, "rotate --continue --apply"]);
    assert!(!held.err.contains(&token), "{}", held.err);
    assert_ne!(late.data(ROUTER)["KB_ROUTER_TOKEN"], token);
    // As the hint says, without any option.
    rotate(&space, &["--continue", "--apply"])
        .exits(1)
        .says(&[&copy]);
    rotate(&space, &["--status"]).exits(0).says(&[&copy]);
    let forced = rotate(&space, &["--continue", "--close-anyway", "--apply"]).exits(0);
    forced.says(&["still held by", &copy, "is left behind"]);
    assert_eq!(
        late.data(ROUTER)["KB_ROUTER_TOKEN"],
        space.filed()["KB_ROUTER_TOKEN"]
    );
    // What carries on never begins one.
    let after = space.data(ROUTER);
    rotate(&space, &["--continue", "--apply"])
        .exits(0)
        .says(&["nothing to do"]);
    assert_eq!(space.data(ROUTER), after);
}

#[test]
fn the_home_of_another_rotation_is_no_fleet() {
    let home = brain();
    let fleet = Space::new();
    let both = joined(&home, &fleet);
    rotate(
        &home,
        &[&both[..], &["--until", "open", "--apply"]].concat(),
    )
    .exits(0);
    let before = (home.data(ROUTER), fleet.data(ROUTER));
    let token = ["--token", "KB_ROUTER_TOKEN", "--apply"];
    let named = ["--fleet-namespace", &home.namespace];
    for words in [&token[..], &[&token[..], &named[..]].concat()] {
        let ran = rotate(&fleet, words).exits(1);
        ran.says(&[
            "a rotation is open in home namespace",
            &home.namespace,
            "rotate --status",
        ]);
    }
    assert_eq!((home.data(ROUTER), fleet.data(ROUTER)), before);
    rotate(&home, &["--abort", "--apply"]).exits(0);
}

#[test]
fn a_leak_during_an_abort_does_not_bring_the_old_token_back() {
    let space = brain();
    let old = space.data(ROUTER);
    rotate(&space, &["--until", "switch", "--apply"]).exits(0);
    // The abort is held by who has the new token already.
    let new = space.data(ROUTER)["KB_ROUTER_TOKEN"].clone();
    space.create_secret("brain-ops-secrets", &[("TOKEN", &new)], &json!({}));
    rotate(&space, &["--abort", "--apply"])
        .exits(1)
        .says(&["brain-ops-secrets"]);
    rotate(&space, &["--status"])
        .exits(0)
        .says(&["in back since"]);
    rotate(&space, &["--immediate", "--apply"]).exits(0);
    assert_eq!(space.data(ROUTER)["KB_ROUTER_TOKEN"], new);
    assert_ne!(
        space.data(ROUTER)["EMBEDDINGS_API_KEY"],
        old["EMBEDDINGS_API_KEY"]
    );
    assert_eq!(space.filed(), space.data(ROUTER));
}

/// Whoever was stopped between its look at the phase and its write comes too late, also where the
/// abort finds all as it should be.
#[test]
fn an_abort_leaves_no_place_as_somebody_else_has_seen_it() {
    let (home, agents) = (brain(), Space::new());
    let fleet = joined(&home, &agents);
    let open = [&fleet[..], &["--until", "open", "--apply"]].concat();
    rotate(&home, &open).exits(0);
    let (data, seen) = (agents.data(ROUTER), agents.object(ROUTER).unwrap());
    rotate(&home, &["--abort", "--apply"]).exits(0);
    assert_eq!(agents.data(ROUTER), data);
    let late = json!({
        "metadata": { "resourceVersion": seen["metadata"]["resourceVersion"] },
        "stringData": { "KB_ROUTER_TOKEN": "what the switch would have written" },
    });
    let content_type = "application/merge-patch+json";
    let (status, _) = SANDBOX.request("PATCH", &agents.path(ROUTER), content_type, &late);
    assert_eq!(status, 409);
    assert_eq!(agents.data(ROUTER), data);
}

#[test]
fn the_command_of_the_preview_does_what_it_shows() {
    let (space, fleet) = (brain(), Space::new());
    let both = joined(&space, &fleet);
    let before = space.data(ROUTER);
    let shown = rotate(
        &space,
        &[&both[..], &["--token", "EMBEDDINGS_API_KEY"]].concat(),
    )
    .exits(0);
    let line = shown
        .out
        .lines()
        .find_map(|line| line.split_once("To do it: "));
    let ran: Ran = space
        .shell(line.expect("a command").1)
        .output()
        .unwrap()
        .into();
    ran.exits(0);
    let after = space.data(ROUTER);
    assert_eq!(after["KB_ROUTER_TOKEN"], before["KB_ROUTER_TOKEN"]);
    assert_ne!(after["EMBEDDINGS_API_KEY"], before["EMBEDDINGS_API_KEY"]);
    assert_eq!(fleet.data(ROUTER), after);
}
