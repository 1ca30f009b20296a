//! The invariants of a rotation: after every event, when the servers are probed, and at the end.

use super::*;

/// True if a server accepts the token. A server without tokens accepts every request.
fn accepts(env: &Texts, token: TokenName, value: &SecretValue) -> bool {
    let keys: &[&str] = match token {
        KB => &[LIST, "KB_ROUTER_TOKEN"],
        KEY => &[API_KEYS],
    };
    keys.iter()
        .filter_map(|key| env.get(*key))
        .find(|list| list.entries().next().is_some())
        .is_none_or(|list| list.lists(value))
}

impl Sim {
    /// Checks the answers of the servers to the old, the new and an unknown token.
    pub(super) fn prove(&self) {
        let row = self.state.as_ref().unwrap().phase.row();
        for (name, values) in self.values.iter() {
            let Some((old, new)) = values else { continue };
            for server in self.loads.iter().filter(|load| load.is_server(name)) {
                for pod in server.running() {
                    let is_accepted =
                        |side| accepts(&pod.env, name, [old, new][side as usize].value());
                    assert!(is_accepted(row.sent), "{name}");
                    let unknown = SecretValue::from("an-unknown-token");
                    let accepts_all = accepts(&pod.env, name, &unknown);
                    let is_second_accepted = is_accepted(row.sent.other());
                    assert!(accepts_all || is_second_accepted == row.both, "{name}");
                }
            }
        }
    }

    /// Checks the invariants that hold after every event.
    pub(super) fn check(&self) {
        for client in &self.loads {
            for (pod, name) in client
                .running()
                .flat_map(|pod| TokenName::ALL.map(|it| (pod, it)))
            {
                let Some(value) = pod
                    .env
                    .get(name.as_str())
                    .filter(|_| !client.is_server(name))
                else {
                    continue;
                };
                for server in self.loads.iter().filter(|load| load.is_server(name)) {
                    let at = &server.workload.namespace;
                    if *at == ns("home") || *at == client.workload.namespace {
                        let is_accepted =
                            server.running().all(|pod| accepts(&pod.env, name, value));
                        assert!(
                            is_accepted,
                            "{} rejects {name} of {}",
                            server.workload, client.workload
                        );
                    }
                }
            }
        }
        if let Some(rotation) = self.state.as_ref().filter(|it| it.phase.row().both) {
            let values = TokenValues::find(rotation, self.known());
            for (name, _) in rotation.changes() {
                let (old, new) = self.values.get(name).as_ref().unwrap();
                assert_eq!(values.get(name, Side::Old), Some(old), "old {name}");
                assert_eq!(values.get(name, Side::New), Some(new), "new {name}");
            }
        }
        for ((at, key), foreign) in &self.foreign {
            let list = self.secrets[at].texts.get(*key);
            let entries = list.iter().flat_map(|list| list.entries());
            let kept: Vec<_> = entries
                .filter(|entry| entry.starts_with("foreign"))
                .collect();
            assert_eq!(kept, *foreign, "{at} {key}");
        }
    }

    /// Checks that all places hold the same tokens, and that nothing of the rotation is left.
    pub(super) fn check_finished(&self, index: usize) {
        let current = self.home_tokens();
        for (name, values) in self.values.iter() {
            let Some((old, new)) = values else { continue };
            let (kept, removed) = if self.last_phase.unwrap().is_back() {
                (old, new)
            } else {
                (new, old)
            };
            assert_eq!(current.get(name).as_ref(), Some(kept), "{name}");
            let is_retired = |it: &Token| is_retired(self.retired.as_deref(), name, it.value());
            assert!(is_retired(removed) && !is_retired(kept), "{name}");
        }
        for (at, stored) in &self.secrets {
            assert_eq!(stored.list_added_by, None, "{at}");
            for key in stored.texts.keys() {
                assert!(key != NEXT_KEY && key != PREVIOUS_KEY, "{at} {key}");
            }
            for (key, name) in [(LIST, KB), (EMBEDDINGS_API_KEYS, KEY), (API_KEYS, KEY)] {
                let token = current.get(name).as_ref().unwrap().value();
                let list = stored.texts.get(key);
                let entries: Vec<_> = list.iter().flat_map(|list| list.entries()).collect();
                let foreign = self.foreign.get(&(at.clone(), key)).map_or(0, Vec::len);
                let ours: Vec<_> = entries
                    .iter()
                    .filter(|entry| !entry.starts_with("foreign"))
                    .copied()
                    .collect();
                assert!(entries.is_empty() || ours == [token.expose()], "{at} {key}");
                if key == LIST {
                    let stays = self.had_list.contains(at) || foreign > 0;
                    assert_eq!(!entries.is_empty(), stays, "{at} {key}");
                }
            }
            if at.name == ROUTER.secret {
                for (name, token) in current.iter() {
                    let value = token.as_ref().unwrap().value();
                    assert_eq!(&stored.texts[name.as_str()], value, "{at} {name}");
                }
            }
        }
        let held = Held {
            current,
            ..Held::default()
        };
        assert_eq!(self.operators[index].held, held);
    }
}
