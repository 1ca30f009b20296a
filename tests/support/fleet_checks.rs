//! A fleet whose tokens `verify` compares.

use crate::checks::of;
use crate::sandbox::SANDBOX;
use crate::space::{Data, ROUTER, Ran, Space};
use crate::token_checks::{TOKENS, look, secret, statuses, the};
use serde_json::{Value, json};

/// The check.
pub const ID: &str = "tokens.fleet";

/// A home namespace with everything, and members with a label that only they have.
pub struct CheckedFleet {
    pub home: Space,
    pub members: Vec<Space>,
}

impl CheckedFleet {
    /// All members have the tokens.
    pub fn new(count: usize) -> Self {
        let mut fleet = Self {
            home: Space::new(),
            members: Vec::new(),
        };
        fleet.home.bootstrapped();
        fleet.grow(count);
        fleet
    }

    pub fn grow(&mut self, count: usize) {
        let tokens = self.home.filed();
        for _ in 0..count {
            let member = Space::new();
            self.label(&member);
            let data: Vec<_> = tokens
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect();
            member.create_secret(ROUTER, &data, &Value::Null);
            self.members.push(member);
        }
    }

    pub fn label(&self, space: &Space) {
        let path = format!("/api/v1/namespaces/{}", space.namespace);
        let labels = json!({ "metadata": { "labels": { "fleet": self.home.namespace } } });
        SANDBOX.expect("PATCH", &path, &labels);
    }

    /// The arguments that name all members, and those that select them.
    pub fn ways(&self) -> [Vec<String>; 2] {
        let names = self.members.iter();
        let named = names.map(|member| format!("--fleet-namespace={}", member.namespace));
        [
            named.collect(),
            vec![format!("--fleet-selector=fleet={}", self.home.namespace)],
        ]
    }

    pub fn spaces(&self) -> Vec<&Space> {
        std::iter::once(&self.home).chain(&self.members).collect()
    }

    /// Looks at the whole fleet in one of its ways.
    #[track_caller]
    pub fn look(&self, way: &[String], code: i32) -> Ran {
        let arguments: Vec<_> = way.iter().map(String::as_str).collect();
        look(&self.spaces(), &arguments, code)
    }

    /// The first member's router Secret, which has these words said about it.
    #[track_caller]
    pub fn the(&self, ran: &Ran, status: &str, words: &[&str]) -> Value {
        let at = (self.members[0].namespace.as_str(), &*secret(ROUTER));
        the(ran, (ID, status), at, words)
    }

    /// One check that passes, for all members.
    #[track_caller]
    pub fn is_well(&self, way: &[String]) {
        let ran = self.look(way, 0);
        let checks = of(&ran, ID);
        assert_eq!(statuses(&ran, ID), ["pass"], "{checks:#?}");
        let message = checks[0]["message"].as_str().unwrap();
        let count = format!("{} fleet namespace", self.members.len());
        assert!(message.starts_with(&count), "{message}");
        for member in &self.members {
            assert_eq!(tokens(member), self.home.filed());
        }
    }
}

/// Those of a space's keys that are tokens.
pub fn tokens(space: &Space) -> Data {
    let mut data = space.data(ROUTER);
    data.retain(|key, _| TOKENS.contains(&key.as_str()));
    data
}
