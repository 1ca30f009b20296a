//! The command under load.

use super::load::{BRAIN_API_APP, EMBEDDINGS_APP, Holds};
use super::reloader::Reloader;
use super::scene::{Scene, Tokens};
use crate::services::Kind;
use crate::space::{EMBEDDINGS, ROUTER, Ran};

const THIRD: &str = "the-token-of-somebody-else";

impl Scene {
    /// Runs `rotate`, where nobody plays Reloader.
    pub fn rotate(&self, words: &[&str]) -> Ran {
        let alone = ["rotate", "--reloader-grace", "0"];
        self.run(&[&alone, words].concat())
    }

    /// The new tokens while both are accepted: the last ones on the lists.
    #[track_caller]
    fn opened(&self) -> Tokens {
        let last = |list: &str| list.rsplit(',').next().unwrap().to_owned();
        let routers: Vec<_> = self
            .spaces()
            .iter()
            .filter_map(|space| space.data(ROUTER).remove("KB_ROUTER_TOKENS"))
            .collect();
        assert!(
            routers.iter().all(|list| *list == routers[0]),
            "one in all namespaces"
        );
        let new = Tokens {
            router: last(&routers[0]),
            embeddings: last(&self.home.data(EMBEDDINGS)["EMBEDDINGS_API_KEYS"]),
        };
        self.are_others(&new);
        self.accepted(&self.first);
        self.accepted(&new);
        new
    }

    /// Both tokens are others than at first.
    #[track_caller]
    fn are_others(&self, tokens: &Tokens) {
        assert!(tokens.router != self.first.router, "another router token");
        let keys = [&tokens.embeddings, &self.first.embeddings];
        assert!(keys[0] != keys[1], "another embeddings key");
    }

    /// The rotation is over: everybody has new tokens, and the first are worth nothing.
    #[track_caller]
    pub fn rotated(&self) -> Tokens {
        let new = self.served();
        self.are_others(&new);
        self.is_plain(&new);
        assert!(self.first.are_forgotten(&self.home), "the file forgot");
        self.accepted(&new);
        self.refused(&self.first);
        self.load.wait_for_traffic();
        new
    }

    /// The rotation is taken back: everybody has the first tokens, and the new are worth nothing.
    #[track_caller]
    fn taken_back(&self, new: &Tokens) {
        self.is_plain(&self.first);
        assert!(new.are_forgotten(&self.home), "the file forgot");
        self.accepted(&self.first);
        self.refused(new);
        self.load.wait_for_traffic();
    }
}

#[test]
fn a_rotation_at_home_refuses_nothing_and_restarts_no_more_than_it_has_to() {
    let mut scene = Scene::new(&[]);
    scene.rotate(&["--apply"]).exits(0);
    scene.rotated();

    let counts = scene.load.stop();
    counts.assert_no_refusal();
    let starts = |app| counts.starts(&scene.home.namespace, app);
    assert_eq!(starts(BRAIN_API_APP), 1 + 3);
    assert_eq!(starts(EMBEDDINGS_APP), 1 + 2);
    assert_eq!(starts("brain-keeper"), 1 + 1);
    assert_eq!(starts("agents"), 1 + 1);
}

#[test]
fn a_rotation_with_a_fleet_refuses_nothing() {
    let mut scene = Scene::new(&[Holds::Agents]);
    scene.rotate(&["--apply"]).exits(0);
    scene.rotated();
    let counts = scene.load.stop();
    counts.assert_no_refusal();
    assert_eq!(
        counts.starts(&scene.members[0].0.namespace, "agents"),
        1 + 1
    );
}

#[test]
fn a_rotation_in_steps_refuses_nothing_with_a_brain_api_in_the_fleet_either() {
    let mut scene = Scene::new(&[Holds::BrainApi, Holds::Agents]);
    scene.rotate(&["--until", "open", "--apply"]).exits(0);
    let new = scene.opened();
    assert!(scene.served() == scene.first, "clients are left alone");
    scene.load.wait_for_traffic();

    scene.rotate(&["--until", "switch", "--apply"]).exits(0);
    assert!(scene.opened() == new, "the same rotation");
    assert!(scene.served() == new, "clients have the new ones");
    assert!(Tokens::of(&scene.home.filed()) == new, "the file too");
    assert!(!scene.first.are_forgotten(&scene.home), "the file knows");
    scene.load.wait_for_traffic();

    scene.rotate(&["--apply"]).exits(0);
    assert!(scene.rotated() == new, "the same rotation");
    let counts = scene.load.stop();
    counts.assert_no_refusal();
    let member = &scene.members[0].0.namespace;
    assert_eq!(counts.starts(member, BRAIN_API_APP), 1 + 3);
    assert_eq!(counts.starts(member, "agents"), 1 + 1);
}

#[test]
fn a_rotation_waits_for_old_pods_to_end() {
    let mut scene = Scene::slow(&[Holds::Agents]);
    scene.rotate(&["--apply"]).exits(0);
    scene.rotated();
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_rotation_of_one_token_leaves_the_other_alone() {
    let mut scene = Scene::new(&[]);
    scene
        .rotate(&["--token", "KB_ROUTER_TOKEN", "--apply"])
        .exits(0);
    let new = scene.served();
    assert!(new.router != scene.first.router, "another router token");
    let keys = [&new.embeddings, &scene.first.embeddings];
    assert!(keys[0] == keys[1], "the same embeddings key");
    scene.is_plain(&new);
    scene.accepted(&new);
    let counts = scene.load.stop();
    counts.assert_no_refusal();
    assert_eq!(counts.starts(&scene.home.namespace, EMBEDDINGS_APP), 1);
}

#[test]
fn somebody_elses_entries_stay_on_the_lists_and_are_never_refused() {
    let mut scene = Scene::with(&[], 1, |home, first| {
        // Before and behind ours.
        let routers = format!("{THIRD},{}", first.router);
        home.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", &routers)], "kubectl-edit");
        let keys = format!("{},{THIRD}", first.embeddings);
        let lists = [("EMBEDDINGS_API_KEYS", &*keys), ("API_KEYS", &*keys)];
        home.set_keys(EMBEDDINGS, &lists, "kubectl-edit");
    });
    for kind in [Kind::BrainApi, Kind::Embeddings] {
        scene.load.send("somebody else", kind, THIRD);
    }
    scene.rotate(&["--apply"]).exits(0);
    let new = scene.served();
    scene.are_others(&new);
    let routers = format!("{THIRD},{}", new.router);
    let router = scene.home.data(ROUTER);
    assert!(router["KB_ROUTER_TOKENS"] == routers, "in their order");
    let keys = format!("{THIRD},{}", new.embeddings);
    let lists = scene.home.data(EMBEDDINGS);
    for list in ["EMBEDDINGS_API_KEYS", "API_KEYS"] {
        assert!(lists[list] == keys, "{list} in its order");
    }
    scene.accepted(&new);
    scene.refused(&scene.first);
    scene.load.wait_for_traffic();
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_rotation_is_taken_back_from_open() {
    let mut scene = Scene::new(&[Holds::Agents]);
    scene.rotate(&["--until", "open", "--apply"]).exits(0);
    let new = scene.opened();
    scene.rotate(&["--abort", "--apply"]).exits(0);
    scene.taken_back(&new);
    let counts = scene.load.stop();
    counts.assert_no_refusal();
    // They never had another token.
    assert_eq!(counts.starts(&scene.home.namespace, "agents"), 1);
}

#[test]
fn a_rotation_is_taken_back_from_switch() {
    let mut scene = Scene::new(&[Holds::BrainApi]);
    scene.rotate(&["--until", "switch", "--apply"]).exits(0);
    let new = scene.opened();
    scene.rotate(&["--abort", "--apply"]).exits(0);
    scene.taken_back(&new);
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_rotation_refuses_nothing_where_reloader_restarts_what_reads_a_secret() {
    let mut scene = Scene::new(&[Holds::BrainApi]);
    let reloader = Reloader::start(&scene.spaces());
    // Time enough for it, and for the clients of this machine.
    let words = ["rotate", "--reloader-grace", "2s", "--apply"];
    scene.run(&words).exits(0);
    scene.settle();
    scene.rotated();
    assert!(reloader.reloads() > 0);
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_rotation_at_once_refuses_requests() {
    // All restart at the same time: who takes longest to end meets the new servers for sure.
    let mut scene = Scene::with(&[], 60, |_, _| {});
    scene.rotate(&["--immediate", "--apply"]).exits(0);
    scene.rotated();
    scene.load.stop().assert_refusals();
}
