//! What a rotation promises: at every moment, when it asks the servers, and when it is over.

use super::*;

/// What a server lets in: everybody, where nothing is set.
fn accepts(env: &Texts, token: TokenName, value: &SecretValue) -> bool {
    let keys: &[&str] = match token {
        KB => &[LIST, "KB_ROUTER_TOKEN"],
        KEY => &[API_KEYS],
    };
    let lists = keys.iter().filter_map(|key| env.get(*key));
    let mut lists = lists.filter(|list| list.entries().next().is_some());
    lists.next().is_none_or(|list| list.lists(value))
}

impl Sim {
    /// What asking the servers would show.
    pub(super) fn prove(&self) {
        let row = self.state.as_ref().unwrap().phase.row();
        for (name, values) in self.values.iter() {
            let Some((old, new)) = values else { continue };
            for server in self.loads.iter().filter(|load| load.is_server(name)) {
                for pod in server.running() {
                    let lets_in = |side| accepts(&pod.env, name, [old, new][side as usize].value());
                    assert!(lets_in(row.sent), "{name}");
                    let nobody = SecretValue::from("a-made-up-token-of-nobody");
                    let open = accepts(&pod.env, name, &nobody);
                    assert!(open || lets_in(row.sent.other()) == row.both, "{name}");
                }
            }
        }
    }

    /// What holds at every moment.
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
                        let good = server.running().all(|pod| accepts(&pod.env, name, value));
                        assert!(
                            good,
                            "{} refuses {name} of {}",
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
        for ((at, key), theirs) in &self.theirs {
            let list = self.secrets[at].texts.get(*key);
            let entries = list.iter().flat_map(|list| list.entries());
            let kept: Vec<_> = entries
                .filter(|entry| entry.starts_with("theirs"))
                .collect();
            assert_eq!(kept, *theirs, "{at} {key}");
        }
    }

    /// One token, one value, everywhere, and nothing of the rotation left.
    pub(super) fn over(&self, index: usize) {
        let current = self.home_tokens();
        for (name, values) in self.values.iter() {
            let Some((old, new)) = values else { continue };
            let back = self.last.unwrap().is_back();
            let (right, wrong) = if back { (old, new) } else { (new, old) };
            assert_eq!(current.get(name).as_ref(), Some(right), "{name}");
            let retired = |it: &Token| is_retired(self.retired.as_deref(), name, it.value());
            assert!(retired(wrong) && !retired(right), "{name}");
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
                let theirs = self.theirs.get(&(at.clone(), key)).map_or(0, Vec::len);
                let ours = entries.iter().filter(|entry| !entry.starts_with("theirs"));
                let ours: Vec<_> = ours.copied().collect();
                assert!(entries.is_empty() || ours == [token.expose()], "{at} {key}");
                if key == LIST {
                    let kept = self.before.contains(at) || theirs > 0;
                    assert_eq!(!entries.is_empty(), kept, "{at} {key}");
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
