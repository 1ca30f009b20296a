//! The simulated cluster: Secrets, and pods that read their environment when they start.

use super::*;

impl Load {
    pub(super) fn new(
        namespace: &Namespace,
        kind: WorkloadKind,
        name: &str,
        reloaded: bool,
    ) -> Self {
        let mut main = Container {
            name: "main".to_owned(),
            ..Container::default()
        };
        let whole = |secret: &str| Whole {
            prefix: String::new(),
            secret: Some(secret.to_owned()),
            optional: false,
        };
        match name {
            "agents" => main.env.push(Variable {
                name: KB.as_str().to_owned(),
                source: VariableSource::Secret {
                    name: ROUTER.secret.to_owned(),
                    key: KB.as_str().to_owned(),
                    optional: true,
                },
            }),
            EMBEDDINGS => main.env_from.push(whole(EMBEDDINGS_BUNDLE.secret)),
            _ => main.env_from.push(whole(ROUTER.secret)),
        }
        let spec = PodSpec {
            containers: vec![main],
            volumes: Vec::new(),
        };
        let workload = Workload {
            kind,
            namespace: namespace.clone(),
            name: name.to_owned(),
            spec,
            reloaded: reloaded && kind != WorkloadKind::Pod,
            mark: None,
            rollout: Rollout::default(),
        };
        Self {
            workload,
            pods: Vec::new(),
            leaving: Vec::new(),
            is_reload_due: false,
        }
    }

    pub(super) fn is_server(&self, token: TokenName) -> bool {
        self.workload.name == [BRAIN_API, EMBEDDINGS][usize::from(token == KEY)]
    }

    pub(super) fn observed(&self) -> Workload {
        let (all, ready) = (self.pods.len() as i64, self.running().count() as i64);
        let rollout = Rollout {
            generation: 1,
            observed: 1,
            wanted: 1,
            replicas: all,
            updated: 1,
            ready,
            available: ready,
            same_revision: true,
            ..Rollout::default()
        };
        Workload {
            rollout,
            ..self.workload.clone()
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Running> {
        let all = self.pods.iter().chain(&self.leaving);
        all.filter(|pod| pod.at.is_some())
    }

    pub(super) fn pod(&self, pod: &Running) -> Pod {
        let Workload {
            kind,
            namespace,
            name,
            spec,
            ..
        } = &self.workload;
        let owner = (kind.as_str().to_owned(), name.clone());
        Pod {
            namespace: namespace.clone(),
            name: name.clone(),
            owner: (*kind != WorkloadKind::Pod).then_some(owner),
            spec: spec.clone(),
            ready: pod.at.is_some(),
            started: pod
                .at
                .map(|at| ("main".to_owned(), at))
                .into_iter()
                .collect(),
            waiting: BTreeMap::new(),
            stuck: BTreeMap::new(),
            unschedulable: false,
            mark: pod.mark.clone(),
        }
    }
}

impl Sim {
    pub(super) fn new(world: &World) -> Self {
        let mut sim = Self {
            now: 100,
            secrets: BTreeMap::new(),
            state: None,
            retired: None,
            loads: Vec::new(),
            operators: Vec::new(),
            rotating: world.rotating.clone(),
            foreign: BTreeMap::new(),
            had_list: BTreeSet::new(),
            mint_count: 0,
            openings: 0,
            values: PerToken::default(),
            last_phase: None,
            denied: BTreeSet::new(),
        };
        let tokens = PerToken::from_fn(|_| sim.mint());
        let mut reloaded = (0..).map(|bit| world.reloaded >> bit & 1 == 1);
        for (name, (list, serves)) in ["home", "one", "two"].into_iter().zip(&world.places) {
            let (home, namespace) = (name == "home", ns(name));
            let at = router(&namespace);
            for (token, value) in tokens.iter() {
                sim.put(&at, token.as_str(), value.value().expose());
            }
            sim.list(&at, LIST, *list, tokens.get(KB));
            let mut loads = vec![(WorkloadKind::Deployment, "agents")];
            loads.extend(serves.then_some((WorkloadKind::StatefulSet, BRAIN_API)));
            loads.extend(home.then_some((WorkloadKind::StatefulSet, "brain-keeper")));
            loads.extend((home && world.bare).then_some((WorkloadKind::Pod, "bare")));
            if let Some((keys, api_keys)) = world.embeddings.filter(|_| home) {
                let at = SecretRef {
                    name: EMBEDDINGS_BUNDLE.secret,
                    ..at
                };
                sim.put(&at, "POSTGRES_URL", "postgres://somewhere");
                sim.list(&at, EMBEDDINGS_API_KEYS, keys, tokens.get(KEY));
                sim.list(&at, API_KEYS, api_keys, tokens.get(KEY));
                loads.push((WorkloadKind::StatefulSet, EMBEDDINGS));
            }
            for (kind, name) in loads {
                let load = Load::new(&namespace, kind, name, reloaded.next().unwrap());
                sim.loads.push(load);
            }
        }
        for index in 0..sim.loads.len() {
            sim.restart(index, None);
            sim.start(index);
        }
        for has_file in &world.operators {
            let mut operator = Operator::default();
            if *has_file {
                operator.held.current = PerToken::from_fn(|name| Some(tokens.get(name).clone()));
            }
            sim.operators.push(operator);
        }
        sim
    }

    pub(super) fn mint(&mut self) -> Token {
        self.mint_count += 1;
        let text = format!("a-minted-token-{:04}", self.mint_count);
        Token::parse(&SecretValue::from(text)).unwrap()
    }

    pub(super) fn put(&mut self, at: &SecretRef, key: &str, value: &str) {
        let stored = self.secrets.entry(at.clone()).or_default();
        stored.texts.insert(key.to_owned(), value.into());
        stored.changed = self.now;
        stored.version += 1;
    }

    /// Writes a list of the shape: absent, empty, or `ours` with foreign entries before, after or
    /// around it.
    pub(super) fn list(&mut self, at: &SecretRef, key: &'static str, shape: usize, ours: &Token) {
        let ours = ours.value().expose();
        let entries: &[&str] = match shape {
            0 => return,
            1 => &[],
            2 => &[ours],
            3 => &["foreign-1", ours],
            4 => &[ours, "foreign-1"],
            _ => &["foreign-1", ours, "foreign-2"],
        };
        let foreign = entries
            .iter()
            .filter(|entry| entry.starts_with("foreign"))
            .map(|entry| (*entry).to_owned())
            .collect();
        self.put(at, key, &entries.join(","));
        self.foreign.insert((at.clone(), key), foreign);
        if key == LIST && shape > 1 {
            self.had_list.insert(at.clone());
        }
    }

    pub(super) fn home(&self) -> &Stored {
        &self.secrets[&router(&ns("home"))]
    }

    pub(super) fn mark(&self) -> Option<String> {
        self.state.as_ref().map(Rotation::mark)
    }

    /// Creates a new pod of a workload; `mark` goes into its template.
    pub(super) fn restart(&mut self, index: usize, mark: Option<String>) {
        let load = &mut self.loads[index];
        if mark.is_some() {
            load.workload.mark = mark;
        }
        // A Deployment keeps the old pod until the new one is ready.
        let keeps_old = load.workload.kind == WorkloadKind::Deployment;
        load.pods.retain(|pod| keeps_old && pod.at.is_some());
        load.pods.push(Running {
            at: None,
            mark: load.workload.mark.clone(),
            env: Texts::new(),
        });
    }

    /// Starts the new pod of a workload with the current values as its environment.
    pub(super) fn start(&mut self, index: usize) {
        let workload = &self.loads[index].workload;
        let mut env = Texts::new();
        for reference in workload.spec.references() {
            let variables = self
                .secrets
                .iter()
                .filter(|(at, _)| at.namespace == workload.namespace)
                .filter(|(at, _)| at.name == reference.secret)
                .flat_map(|(_, stored)| &stored.texts)
                .filter(|(key, _)| reference.key.is_none_or(|it| it == *key))
                .map(|(key, value)| (key.clone(), value.clone()));
            env.extend(variables);
        }
        let load = &mut self.loads[index];
        if load.pods.last().is_some_and(|pod| pod.at.is_none()) {
            let mut new = load.pods.pop().unwrap();
            (new.at, new.env) = (Some(self.now), env);
            load.leaving.append(&mut load.pods);
            load.pods.push(new);
        }
    }

    pub(super) fn index(&self, of: &WorkloadRef) -> usize {
        self.loads
            .iter()
            .position(|load| WorkloadRef::of(&load.workload) == *of)
            .unwrap()
    }

    pub(super) fn facts(&self) -> ClusterSnapshot {
        let mut places: BTreeMap<Namespace, NamespaceSnapshot> = BTreeMap::new();
        for (at, stored) in &self.secrets {
            let live = LiveSecret {
                data: stored
                    .texts
                    .iter()
                    .map(|(key, value)| (key.clone(), LiveValue::encode(value)))
                    .collect(),
                changed: Some(stored.changed),
                ..LiveSecret::default()
            };
            let observed = Observed {
                live: Some(live),
                ..Observed::default()
            };
            let place = places.entry(at.namespace.clone()).or_default();
            place.secrets.insert(at.name, observed);
        }
        for load in &self.loads {
            let place = places.get_mut(&load.workload.namespace).unwrap();
            place.workloads.push(load.observed());
            place.pods.extend(load.pods.iter().map(|pod| load.pod(pod)));
            place
                .leaving
                .extend(load.leaving.iter().map(|pod| load.pod(pod)));
        }
        for denied in &self.denied {
            hide(&mut places, denied);
        }
        ClusterSnapshot {
            server: String::new(),
            version: None,
            now: self.now,
            home: ns("home"),
            places,
            nothing_selected: false,
            copies: BTreeMap::new(),
            absent: BTreeSet::new(),
            denied: self.denied.clone(),
            probes: Vec::new(),
            path2: None,
        }
    }

    /// Lets one of the reads fail that a rotation needs, in one namespace or in all, or none.
    pub(super) fn deny(&mut self, which: usize, is_permitted: bool) {
        let why = is_permitted.then(|| "the server does not answer".to_owned());
        let mut namespaces: Vec<_> = self.secrets.keys().map(|at| at.namespace.clone()).collect();
        namespaces.dedup();
        let fleet = namespaces.iter().filter(|it| **it != ns("home"));
        let mut reads = vec![None];
        for namespace in namespaces.iter().map(Some).chain([None]) {
            let lists = ["pods", "statefulsets", "deployments"];
            reads.extend(lists.map(|list| Some(Denied::new("list", list, namespace))));
        }
        reads.extend(fleet.map(|namespace| Some(Denied::secret(namespace, ROUTER.secret))));
        let read = reads.into_iter().cycle().nth(which).unwrap();
        match read {
            Some(denied) => self.denied.extend([denied.because(why)]),
            None => self.denied.clear(),
        }
    }

    pub(super) fn target(&self, at: &SecretRef, facts: &ClusterSnapshot, id: &str) -> TokenPlace {
        let stored = &self.secrets[at];
        let bundle = BUNDLES
            .into_iter()
            .find(|bundle| bundle.secret == at.name)
            .unwrap();
        TokenPlace {
            at: PlaceRef::Secret(at.clone()),
            namespace: at.namespace.clone(),
            bundle,
            home: bundle == &ROUTER && at.namespace == facts.home,
            texts: stored.texts.clone(),
            read_by_server: bundle == &ROUTER && reads_router_secret(&facts.places[&at.namespace]),
            added_list: stored.list_added_by.as_deref() == Some(id),
            last_write: stored.last_write.clone(),
        }
    }

    /// The tokens and lists in the Secrets of home.
    pub(super) fn known(&self) -> Vec<(TokenName, &SecretValue)> {
        self.secrets
            .iter()
            .filter(|(at, _)| at.namespace == ns("home"))
            .flat_map(|(_, stored)| &stored.texts)
            .filter_map(|(key, value)| match key.as_str() {
                "KB_ROUTER_TOKEN" | LIST => Some((KB, value)),
                "EMBEDDINGS_API_KEY" | NEXT_KEY | PREVIOUS_KEY => Some((KEY, value)),
                EMBEDDINGS_API_KEYS | API_KEYS => Some((KEY, value)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn home_tokens(&self) -> PerToken<Option<Token>> {
        PerToken::from_fn(|name| Token::parse(&self.home().texts[name.as_str()]).ok())
    }

    pub(super) fn apply(&mut self, edit: &Edit, id: &str, mark: &str) {
        let PlaceRef::Secret(at) = &edit.at else {
            unreachable!()
        };
        let stored = self.secrets.get_mut(at).unwrap();
        stored.list_added_by = edit.added_list.then(|| id.to_owned());
        stored.last_write = Some(mark.to_owned());
        stored.changed = self.now;
        stored.version += 1;
        for (key, value) in &edit.set {
            stored.texts.insert((*key).to_owned(), value.clone());
        }
        for key in &edit.remove {
            stored.texts.remove(*key);
        }
        if !edit.set.is_empty() || !edit.remove.is_empty() {
            self.notify_reloader(at);
        }
    }

    /// Restores the values from before the phase, like a person who applies an old manifest. Lists are
    /// reset only before clients have the new token. A value that no other place has is not reset.
    pub(super) fn reset(&mut self, which: usize) {
        match self.state.as_ref().map(|it| it.phase) {
            Some(Phase::Open) => self.reset_list(which),
            Some(Phase::Switch) => self.reset_client(which, Side::Old),
            Some(Phase::Back) => self.reset_client(which, Side::New),
            _ => {}
        }
    }

    fn reset_client(&mut self, which: usize, side: Side) {
        let routers = self.secrets.keys().filter(|at| at.name == ROUTER.secret);
        let at = routers.cycle().nth(which).unwrap().clone();
        for (name, values) in self.values.clone().iter() {
            // The Secret of home may be the only place with this value.
            let is_only_place = name == KEY && at == router(&ns("home"));
            if let Some((old, new)) = values.as_ref().filter(|_| !is_only_place) {
                let token = [old, new][side as usize];
                self.put(&at, name.as_str(), token.value().expose());
            }
        }
        self.notify_reloader(&at);
    }

    fn reset_list(&mut self, which: usize) {
        let lists_of = |(at, stored): (&SecretRef, &Stored)| {
            [(LIST, KB), (EMBEDDINGS_API_KEYS, KEY), (API_KEYS, KEY)]
                .into_iter()
                .filter(|(key, _)| stored.texts.contains_key(*key))
                .map(|(key, name)| (at.clone(), key, name))
                .collect::<Vec<_>>()
        };
        let lists: Vec<_> = self
            .secrets
            .iter()
            .flat_map(lists_of)
            .filter(|(at, key, _)| *at != router(&ns("home")) || *key != LIST)
            .collect();
        let Some((at, key, name)) = lists.get(which % lists.len().max(1)) else {
            return;
        };
        let Some((_, new)) = self.values.get(*name) else {
            return;
        };
        let list = &self.secrets[at].texts[*key];
        let kept: Vec<_> = list
            .entries()
            .filter(|entry| *entry != new.value().expose())
            .collect();
        let text = kept.join(",");
        self.put(at, key, &text);
        self.notify_reloader(at);
    }

    pub(super) fn notify_reloader(&mut self, at: &SecretRef) {
        for load in &mut self.loads {
            let Workload {
                namespace,
                spec,
                reloaded,
                ..
            } = &load.workload;
            let reads = spec.references().iter().any(|it| it.secret == at.name);
            load.is_reload_due |= *reloaded && *namespace == at.namespace && reads;
        }
    }
}

/// Removes what a failed read does not show.
fn hide(places: &mut BTreeMap<Namespace, NamespaceSnapshot>, denied: &Denied) {
    let is_there = |at: &Namespace| denied.namespace.as_ref().is_none_or(|it| it == at);
    for (_, place) in places.iter_mut().filter(|(at, _)| is_there(at)) {
        match denied.resource.as_str() {
            "pods" => {
                place.pods.clear();
                place.leaving.clear();
            }
            resource if denied.verb == "list" => place
                .workloads
                .retain(|workload| workload.kind.resource() != resource),
            _ => {
                place.secrets.remove(ROUTER.secret);
            }
        }
    }
}
