//! A brain with its fleet and its operator, under load.

use super::load::{Holds, Load};
use crate::sandbox::SANDBOX;
use crate::services::Kind;
use crate::space::{Data, EMBEDDINGS, INPUTS, ROUTER, Ran, Space};
use crate::wait::wait;
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::Command;

/// The two tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// `KB_ROUTER_TOKEN`.
    pub router: String,
    /// `EMBEDDINGS_API_KEY`.
    pub embeddings: String,
}

/// Who plays in a rotation.
pub struct Scene {
    /// The home namespace, where both doors are closed, and its operator's folder.
    pub home: Space,
    /// The namespaces of the fleet.
    pub members: Vec<(Space, Holds)>,
    /// The load on all of it.
    pub load: Load,
    /// The tokens that everybody has at first.
    pub first: Tokens,
}

impl Scene {
    /// Everything runs, and every client has got an answer.
    pub fn new(fleet: &[Holds]) -> Self {
        Self::with(fleet, 1, |_, _| {})
    }

    /// The same, and the agents take two seconds to end: far longer than a rollout.
    pub fn slow(fleet: &[Holds]) -> Self {
        Self::with(fleet, 20, |_, _| {})
    }

    /// The same with agents of that grace period, in seconds; what `before` does to home precedes
    /// every start of a pod.
    pub fn with(fleet: &[Holds], period: u64, before: impl FnOnce(&Space, &Tokens)) -> Self {
        let home = Space::new();
        let members: Vec<_> = fleet.iter().map(|holds| (Space::new(), *holds)).collect();
        let mut words = vec!["--apply"];
        words.extend(named(&members));
        home.run_with(&INPUTS, &words).exits(0);
        let first = Tokens::of(&home.filed());
        before(&home, &first);
        let load = Load::start(&home, &members, period);
        load.wait_for_traffic();
        Self {
            home,
            members,
            load,
            first,
        }
    }

    /// All namespaces, home first.
    pub fn spaces(&self) -> Vec<&Space> {
        let members = self.members.iter().map(|(space, _)| space);
        [&self.home].into_iter().chain(members).collect()
    }

    /// Runs the program for home and the whole fleet.
    pub fn run(&self, words: &[&str]) -> Ran {
        self.run_by(&self.home, words)
    }

    /// The same by another operator of home.
    pub fn run_by(&self, operator: &Space, words: &[&str]) -> Ran {
        self.command_by(operator, words).output().unwrap().into()
    }

    /// The program, to be run by an operator of home for the whole fleet.
    pub fn command_by(&self, operator: &Space, words: &[&str]) -> Command {
        operator.command(&[], &[words, &named(&self.members)].concat())
    }

    /// Waits until all workloads have rolled out and no older pod is there, not even one that is
    /// being deleted, which a rollout does not wait for; and until all clients have got answers.
    pub fn settle(&self) {
        self.load.wait_ready(&self.home, &self.members);
        for space in self.spaces() {
            let path = format!("/api/v1/namespaces/{}/pods", space.namespace);
            wait("no pod is being deleted", || {
                let pods = SANDBOX.expect("GET", &path, &Value::Null);
                let mut pods = pods["items"].as_array().unwrap().iter();
                pods.all(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            });
        }
        self.load.wait_for_traffic();
    }

    /// The tokens that are served to clients, the same in each namespace.
    #[track_caller]
    pub fn served(&self) -> Tokens {
        let home = Tokens::of(&self.home.data(ROUTER));
        for space in self.spaces() {
            assert!(Tokens::of(&space.data(ROUTER)) == home, "one in all");
        }
        home
    }

    /// All services accept these tokens.
    #[track_caller]
    pub fn accepted(&self, tokens: &Tokens) {
        assert_eq!(self.answers(tokens), [vec![200], vec![422]]);
    }

    /// All services refuse these tokens.
    #[track_caller]
    pub fn refused(&self, tokens: &Tokens) {
        assert_eq!(self.answers(tokens), [vec![401], vec![401]]);
    }

    /// Which answers the services of each kind give.
    fn answers(&self, tokens: &Tokens) -> [Vec<u16>; 2] {
        let all = [
            (Kind::BrainApi, &tokens.router),
            (Kind::Embeddings, &tokens.embeddings),
        ];
        all.map(|(kind, token)| {
            let mut answers = self.load.answers(kind, token);
            answers.sort_unstable();
            answers.dedup();
            answers
        })
    }

    /// Nothing tells of a rotation, apart from the values: these are the tokens, in the file too,
    /// and alone on the lists, which are those of before.
    #[track_caller]
    pub fn is_plain(&self, tokens: &Tokens) {
        self.is_plain_for(&self.home, tokens);
    }

    /// The same where the file is that of an operator.
    #[track_caller]
    pub fn is_plain_for(&self, operator: &Space, tokens: &Tokens) {
        assert!(self.served() == *tokens, "all have the tokens");
        assert!(Tokens::of(&operator.filed()) == *tokens, "the file too");
        let lists = self.home.data(EMBEDDINGS);
        for list in ["EMBEDDINGS_API_KEYS", "API_KEYS"] {
            assert!(lists[list] == tokens.embeddings, "{list} has it alone");
        }
        for space in self.spaces() {
            let keys: Vec<_> = space.data(ROUTER).into_keys().collect();
            assert_eq!(keys, ["EMBEDDINGS_API_KEY", "KB_ROUTER_TOKEN"]);
        }
    }
}

impl Tokens {
    /// Those among values.
    pub fn of(values: &Data) -> Self {
        Self {
            router: values["KB_ROUTER_TOKEN"].clone(),
            embeddings: values["EMBEDDINGS_API_KEY"].clone(),
        }
    }

    /// Whether the tokens file mentions neither.
    pub fn are_forgotten(&self, space: &Space) -> bool {
        let text = std::fs::read_to_string(space.file()).unwrap();
        !text.contains(&self.router) && !text.contains(&self.embeddings)
    }
}

fn named(members: &[(Space, Holds)]) -> Vec<&str> {
    let names = members.iter().map(|(space, _)| space.namespace.as_str());
    names.flat_map(|name| ["--fleet-namespace", name]).collect()
}

/// A random number from 0 to 1.
pub fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / (u64::MAX as f64 + 1.0)
}
