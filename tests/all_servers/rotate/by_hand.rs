//! That the load can tell a rotation that overlaps from one that does not: both by hand.

use super::load::{BRAIN_API_APP, Holds};
use super::reloader::Reloader;
use super::scene::{Scene, Tokens};
use crate::space::{EMBEDDINGS, ROUTER};
use crate::wait::wait;
use crate::workloads::{AGENTS, BRAIN_API, EMBEDDINGS_SERVICE, KEEPER, restart};

/// The next tokens.
fn next() -> Tokens {
    Tokens {
        router: "the-next-router-token".to_owned(),
        embeddings: "the-next-embeddings-key".to_owned(),
    }
}

impl Scene {
    fn accept(&self, tokens: &[&Tokens]) {
        let list = |of: fn(&Tokens) -> &str| {
            let entries: Vec<_> = tokens.iter().map(|tokens| of(tokens)).collect();
            entries.join(",")
        };
        let routers = list(|tokens| &tokens.router);
        for space in self.spaces() {
            space.set_keys(ROUTER, &[("KB_ROUTER_TOKENS", &routers)], "test");
        }
        let keys = list(|tokens| &tokens.embeddings);
        let lists = [("EMBEDDINGS_API_KEYS", &*keys), ("API_KEYS", &*keys)];
        self.home.set_keys(EMBEDDINGS, &lists, "test");
    }

    fn send(&self, tokens: &Tokens) {
        let both = [
            ("KB_ROUTER_TOKEN", tokens.router.as_str()),
            ("EMBEDDINGS_API_KEY", &tokens.embeddings),
        ];
        for space in self.spaces() {
            space.set_keys(ROUTER, &both, "test");
        }
    }

    fn restart_brain_apis(&self) {
        restart(&self.home, BRAIN_API);
        for (space, holds) in &self.members {
            if *holds == Holds::BrainApi {
                restart(space, BRAIN_API);
            }
        }
    }

    fn restart_servers(&self) {
        restart(&self.home, EMBEDDINGS_SERVICE);
        self.restart_brain_apis();
    }

    fn restart_clients(&self) {
        restart(&self.home, KEEPER);
        self.restart_brain_apis();
        for space in self.spaces() {
            restart(space, AGENTS);
        }
    }
}

#[test]
fn a_rotation_that_overlaps_refuses_nothing() {
    let mut scene = Scene::slow(&[Holds::BrainApi]);
    scene.is_plain(&scene.first);
    scene.accept(&[&scene.first, &next()]);
    // It does not wait to be restarted.
    scene.load.crash(&scene.home, BRAIN_API);
    scene.restart_servers();
    scene.settle();
    scene.accepted(&scene.first);
    scene.accepted(&next());
    scene.send(&next());
    scene.restart_clients();
    scene.settle();
    scene.accept(&[&next()]);
    scene.restart_servers();
    scene.settle();
    scene.refused(&scene.first);
    scene.accepted(&next());

    let counts = scene.load.stop();
    counts.assert_no_refusal();
    for (space, starts) in scene.spaces().into_iter().zip([5, 4]) {
        assert_eq!(counts.starts(&space.namespace, BRAIN_API_APP), starts);
        assert_eq!(counts.starts(&space.namespace, "agents"), 2);
    }
}

#[test]
fn a_rotation_that_overlaps_and_is_reloaded_refuses_nothing() {
    let mut scene = Scene::new(&[Holds::Agents]);
    let reloader = Reloader::start(&scene.spaces());
    // The readers of the router Secrets, and the one of the lists.
    let mut reloads = 0;
    let mut reloaded = |count: usize| {
        reloads += count;
        wait("all is reloaded", || reloader.reloads() == reloads);
        scene.settle();
    };
    scene.accept(&[&scene.first, &next()]);
    reloaded(5);
    scene.send(&next());
    reloaded(4);
    scene.accept(&[&next()]);
    reloaded(5);
    scene.refused(&scene.first);
    scene.accepted(&next());
    scene.load.stop().assert_no_refusal();
}

#[test]
fn a_rotation_in_one_step_refuses_requests() {
    let mut scene = Scene::new(&[]);
    scene.accept(&[&next()]);
    scene.send(&next());
    scene.restart_servers();
    // By now all clients send what no server accepts.
    scene.load.wait_ready(&scene.home, &[]);
    scene.restart_clients();
    scene.settle();
    scene.load.stop().assert_refusals();
}
