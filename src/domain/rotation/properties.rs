//! A small cluster, operators that are killed at any moment, and everybody else who restarts pods:
//! whatever happens, no client ever holds what its server refuses, and nothing is lost.

mod cluster;
mod promise;
mod worlds;

use self::worlds::{Event, World, some_event, some_world};
use super::edits::{Edit, Part, PlaceRef, TokenPlace, edit};
use super::gate::OldTokenUser;
use super::next_step::{Step, View, next};
use super::workloads::{Standing, WorkloadRef, reads_router_secret, standing};
use super::{Change, NEXT_KEY, PREVIOUS_KEY, Phase, Rotation, Side, TokenValues, is_retired};
use crate::domain::cluster::names::WorkloadKind;
use crate::domain::cluster::names::{Namespace, SecretRef};
use crate::domain::cluster::observed_secret::{LiveSecret, LiveValue, Observed};
use crate::domain::cluster::rollout::Rollout;
use crate::domain::cluster::snapshot::{ClusterSnapshot, NamespaceSnapshot};
use crate::domain::cluster::workload::{BRAIN_API, Container, EMBEDDINGS, Pod, PodSpec};
use crate::domain::cluster::workload::{Variable, VariableSource, Whole, Workload};
use crate::domain::table::{API_KEYS, EMBEDDINGS_API_KEYS};
use crate::domain::table::{BUNDLES, EMBEDDINGS as EMBEDDINGS_BUNDLE, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName, fingerprint};
use crate::domain::values::tokens_file::Held;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NOW: &str = "2026-01-02T03:04:05Z";
const LIST: &str = "KB_ROUTER_TOKENS";
const KB: TokenName = TokenName::KbRouterToken;
const KEY: TokenName = TokenName::EmbeddingsApiKey;

type Texts = BTreeMap<String, SecretValue>;

/// A Secret.
#[derive(Clone, Default)]
struct Stored {
    texts: Texts,
    list_added_by: Option<String>,
    last_write: Option<String>,
    version: usize,
    changed: i64,
}

/// A pod; its environment is that of its start.
#[derive(Clone)]
struct Running {
    at: Option<i64>,
    mark: Option<String>,
    env: Texts,
}

struct Load {
    workload: Workload,
    pods: Vec<Running>,
    leaving: Vec<Running>,
    /// Whether Reloader is about to restart it.
    due: bool,
}

#[derive(Default)]
struct Operator {
    held: Held,
    queue: VecDeque<Act>,
    proven: Option<String>,
    until: Option<Phase>,
    holders: Vec<OldTokenUser>,
}

/// One thing that an operator does, from what it has seen before: a version, a mark of the phase.
enum Act {
    File(Held),
    Open(Rotation, TokenValues, Edit, usize),
    Write(Edit, usize, String),
    /// It has found the phase to be the same, and has not written yet.
    Put(Edit, usize, Rotation),
    Restart(WorkloadRef, String),
    Await(WorkloadRef),
    Prove(String),
    State(Rotation, usize),
    Finish(usize),
}

struct Sim {
    now: i64,
    secrets: BTreeMap<SecretRef, Stored>,
    state: Option<Rotation>,
    retired: Option<String>,
    loads: Vec<Load>,
    operators: Vec<Operator>,
    rotating: Vec<TokenName>,
    /// What others have on the lists.
    theirs: BTreeMap<(SecretRef, &'static str), Vec<String>>,
    /// The lists `KB_ROUTER_TOKENS` that are nobody's to take away.
    before: BTreeSet<SecretRef>,
    minted: usize,
    openings: usize,
    /// Old and new of the last rotation, and its last phase.
    values: PerToken<Option<(Token, Token)>>,
    last: Option<Phase>,
}

fn ns(name: &str) -> Namespace {
    name.parse().unwrap()
}

fn router(namespace: &Namespace) -> SecretRef {
    let namespace = namespace.clone();
    let name = ROUTER.secret;
    SecretRef { namespace, name }
}

impl Sim {
    /// What an operator does next, by what it sees now.
    fn decide(&mut self, index: usize) -> Vec<Act> {
        let facts = self.facts();
        let version = self.home().version;
        let Some(rotation) = &self.state else {
            return self.opening(index, &facts);
        };
        let operator = &self.operators[index];
        let held = &operator.held;
        let filed = TokenName::ALL.into_iter();
        let filed = filed.flat_map(|name| held.all(name).map(move |it| (name, it.value())));
        let values = TokenValues::find(rotation, self.known().into_iter().chain(filed));
        let targets: Vec<_> = self
            .secrets
            .keys()
            .map(|at| self.target(at, &facts, &rotation.id))
            .collect();
        let view = View {
            rotation,
            values: &values,
            held,
            home: &self.home_tokens(),
            targets: &targets,
            facts: &facts,
            outside: &BTreeMap::new(),
            stale_secrets: &[],
            is_proven: operator.proven == self.mark(),
            until: operator.until,
            close_anyway: false,
        };
        let mark = rotation.mark();
        let mut holders = Vec::new();
        let acts = match next(&view).expect("nothing odd") {
            Step::File(held) => vec![Act::File(held)],
            Step::Write(edits) => {
                let edits = edits.into_iter().map(|edit| {
                    let PlaceRef::Secret(at) = &edit.at else {
                        unreachable!()
                    };
                    let version = self.secrets[at].version;
                    Act::Write(edit, version, mark.clone())
                });
                edits.collect()
            }
            Step::CountRewrite => vec![Act::State(rotation.with_rewrite(), version)],
            Step::Roll(who, names) => {
                let acts = names.into_iter().map(|name| {
                    let place = &facts.places[&name.namespace];
                    let workload = self.loads[self.index(&name)].observed();
                    match standing(rotation, place, &workload, who) {
                        Standing::Rolling => Act::Await(name),
                        _ => Act::Restart(name, super::workloads::mark(rotation, who)),
                    }
                });
                acts.collect()
            }
            Step::Prove => vec![Act::Prove(mark)],
            Step::Advance(phase, _) => vec![Act::State(rotation.in_phase(phase, NOW), version)],
            Step::Finish(held) => vec![Act::File(held), Act::Finish(version)],
            Step::Hold(found) => {
                holders = found;
                Vec::new()
            }
            Step::Stop => Vec::new(),
            Step::Follow(_) => unreachable!(),
        };
        self.operators[index].holders = holders;
        acts
    }

    /// New values go into the file, then one write opens the rotation.
    fn opening(&mut self, index: usize, facts: &ClusterSnapshot) -> Vec<Act> {
        if self.openings == 0 {
            return Vec::new();
        }
        let current = self.home_tokens();
        let mut held = Held {
            current,
            ..Held::default()
        };
        let (mut changes, mut values) = (PerToken::default(), TokenValues::default());
        for name in self.rotating.clone() {
            let (old, new) = (held.current.get(name).clone().unwrap(), self.mint());
            *changes.get_mut(name) = Some(Change {
                old: fingerprint(old.value()),
                new: fingerprint(new.value()),
                minted: None,
            });
            values.put(name, Side::Old, old);
            values.put(name, Side::New, new.clone());
            *held.next.get_mut(name) = Some(new);
        }
        let rotation = Rotation::new(format!("{:08x}", self.minted), Phase::Open, NOW, changes);
        let target = self.target(&router(&ns("home")), facts, &rotation.id);
        let edit = edit(&rotation, &values, &target, Part::All, false)
            .unwrap()
            .unwrap();
        self.operators[index].proven = None;
        vec![
            Act::File(held),
            Act::Open(rotation, values, edit, self.home().version),
        ]
    }

    /// Carries it out; `false` where the world is no longer what the operator saw.
    fn act(&mut self, index: usize, act: Act) -> bool {
        let version = self.home().version;
        match act {
            Act::File(held) => self.operators[index].held = held,
            Act::Open(rotation, values, edit, seen) => {
                if seen != version {
                    return false;
                }
                assert!(self.state.is_none(), "a second rotation");
                self.values = PerToken::from_fn(|name| {
                    let value = |side| values.get(name, side).cloned();
                    Some((value(Side::Old)?, value(Side::New)?))
                });
                self.openings -= 1;
                self.apply(&edit, &rotation.id, &rotation.mark());
                self.state = Some(rotation);
            }
            Act::Write(edit, seen, mark) => {
                let Some(rotation) = self.state.clone().filter(|it| it.mark() == mark) else {
                    return false;
                };
                let put = Act::Put(edit, seen, rotation);
                self.operators[index].queue.push_front(put);
            }
            Act::Put(edit, seen, rotation) => {
                let PlaceRef::Secret(at) = &edit.at else {
                    unreachable!()
                };
                if self.secrets[at].version != seen {
                    return false;
                }
                self.apply(&edit, &rotation.id, &rotation.mark());
            }
            Act::Restart(of, mark) => self.restart(self.index(&of), Some(mark)),
            Act::Await(of) => self.start(self.index(&of)),
            Act::Prove(mark) => {
                if self.mark().as_ref() != Some(&mark) {
                    return false;
                }
                self.prove();
                self.operators[index].proven = Some(mark);
            }
            Act::State(to, seen) => {
                if seen != version {
                    return false;
                }
                self.state = Some(to);
                self.secrets.get_mut(&router(&ns("home"))).unwrap().version += 1;
            }
            Act::Finish(seen) => {
                if seen != version {
                    return false;
                }
                let rotation = self.state.take().unwrap();
                self.retired = Some(rotation.retire(self.retired.as_deref()));
                self.last = Some(rotation.phase);
                self.secrets.get_mut(&router(&ns("home"))).unwrap().version += 1;
            }
        }
        true
    }

    fn micro(&mut self, index: usize) {
        match self.operators[index].queue.pop_front() {
            None => self.operators[index].queue = self.decide(index).into(),
            Some(act) => {
                if !self.act(index, act) {
                    self.operators[index].queue.clear();
                }
            }
        }
        self.check();
    }

    fn kill(&mut self, index: usize) {
        let Operator { queue, proven, .. } = &mut self.operators[index];
        queue.clear();
        *proven = None;
    }

    fn happen(&mut self, event: &Event) {
        let operator = |which: usize| which % self.operators.len();
        let load = |which: usize| which % self.loads.len();
        match *event {
            Event::Run(which, steps, until) => {
                let index = operator(which);
                self.operators[index].until = until;
                (0..steps).for_each(|_| self.micro(index));
            }
            Event::Kill(which) => self.kill(operator(which)),
            Event::Lose(which) => {
                let index = operator(which);
                self.operators[index].held = Held::default();
            }
            Event::Abort(which) => {
                let (index, version) = (operator(which), self.home().version);
                self.kill(index);
                let rotation = self.state.as_ref();
                let act = rotation.and_then(|it| Some(it.in_phase(it.phase.abort_phase()?, NOW)));
                let act = act.map(|to| Act::State(to, version));
                self.operators[index].queue.extend(act);
            }
            Event::Restart(which) => self.restart(load(which), None),
            Event::Start(which) => self.start(load(which)),
            Event::Reloader => {
                for index in 0..self.loads.len() {
                    if std::mem::take(&mut self.loads[index].due) {
                        self.restart(index, None);
                    }
                }
            }
            Event::Gone(which) => {
                let index = load(which);
                self.loads[index].leaving.clear();
            }
            Event::Theirs(which) => {
                let at = self.secrets.keys().filter(|at| at.name == ROUTER.secret);
                let at = at.cycle().nth(which).unwrap().clone();
                let stored = self.secrets.get_mut(&at).unwrap();
                let list = stored.texts.get_mut(LIST).filter(|list| !list.is_empty());
                if let Some(list) = list {
                    let theirs = self.theirs.entry((at.clone(), LIST)).or_default();
                    theirs.push(format!("theirs-late-{}", theirs.len()));
                    *list = format!("{},{}", list.expose(), theirs[theirs.len() - 1]).into();
                    (stored.changed, stored.version) = (self.now, stored.version + 1);
                    self.reloader_sees(&at);
                }
            }
            Event::Reset(which) => self.reset(which),
            Event::Tick(seconds) => self.now += seconds,
        }
        self.check();
    }

    /// What all others had in hand comes now.
    fn late(&mut self, index: usize) {
        for other in (0..self.operators.len()).filter(|it| *it != index) {
            while let Some(act) = self.operators[other].queue.pop_front() {
                if !self.act(other, act) {
                    self.operators[other].queue.clear();
                }
                self.check();
            }
        }
    }

    /// One operator runs to the end, and opens a rotation where there is none.
    fn complete(&mut self, index: usize) {
        self.openings += usize::from(self.state.is_none());
        self.kill(index);
        self.operators[index].until = None;
        let opened = self.state.is_some();
        let mut seen = opened;
        for _ in 0..1000 {
            self.micro(index);
            seen |= self.state.is_some();
            if seen && self.state.is_none() {
                self.over(index);
                // Who was stopped amid a write comes too late.
                self.late(index);
                return self.over(index);
            }
            if !self.operators[index].holders.is_empty() {
                // Somebody ends those who hold it.
                self.now += 1;
                for index in 0..self.loads.len() {
                    self.loads[index].leaving.clear();
                    if self.loads[index].workload.kind == WorkloadKind::Pod {
                        self.restart(index, None);
                        self.start(index);
                    }
                }
            }
        }
        panic!(
            "it never ends: {:?} {:?}",
            self.state, self.operators[index].holders
        );
    }
}

/// A case plays whole rotations, so there is one for 8 of the other properties: 32 by default, 64 at most.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = (asked.cases / 8).clamp(1, 40);
    ProptestConfig { cases, ..asked }
}

proptest! {
    #![proptest_config(config())]
    /// Any sequence of run, kill, resume, abort, lost file, second operator, foreign restart: each
    /// token that a client may hold is accepted by its server, and no value is ever lost.
    #[test]
    fn no_client_is_ever_refused_and_nothing_is_lost(
        world in some_world(), events in proptest::collection::vec(some_event(), 0..60),
    ) {
        let mut sim = Sim::new(&world);
        sim.openings = 2;
        events.iter().for_each(|event| sim.happen(event));
        (0..sim.operators.len()).for_each(|index| sim.complete(index));
    }

    /// An operator who is stopped amid anything at all, while another takes the rotation back, comes
    /// too late with what it has in hand.
    #[test]
    fn who_was_stopped_while_another_takes_it_back_comes_too_late(
        world in some_world(), steps in 0..60_usize, later in 0..40_usize,
    ) {
        let mut sim = Sim::new(&World { operators: vec![true, true], ..world });
        sim.openings = 1;
        for event in [Event::Run(0, steps, None), Event::Abort(1), Event::Run(1, 1 + later, None)] {
            sim.happen(&event);
        }
        sim.late(1);
        sim.complete(1);
    }

    /// A pod that never restarts keeps its token: the gate holds and names it, however often it is
    /// asked, and servers forget nothing.
    #[test]
    fn the_gate_holds_for_a_pod_that_never_restarts(
        world in some_world(), events in proptest::collection::vec(some_event(), 0..40),
    ) {
        let mut sim = Sim::new(&World { bare: true, ..world });
        let bare = sim.loads.iter().position(|load| load.workload.kind == WorkloadKind::Pod).unwrap();
        sim.openings = 1;
        sim.now += 1;
        let others = events.iter().filter(|event| match event {
            Event::Abort(_) => false,
            Event::Restart(which) => which % sim.loads.len() != bare,
            _ => true,
        });
        others.cloned().collect::<Vec<_>>().iter().for_each(|event| sim.happen(event));
        sim.kill(0);
        sim.operators[0].until = None;
        let mut asked = 0;
        for _ in 0..300 {
            (0..sim.loads.len()).for_each(|index| sim.loads[index].leaving.clear());
            sim.micro(0);
            asked += usize::from(!sim.operators[0].holders.is_empty());
            if asked == 5 {
                break;
            }
        }
        prop_assert_eq!(sim.state.as_ref().map(|it| it.phase), Some(Phase::Switch));
        let names: Vec<_> = sim.operators[0].holders.iter().map(|holder| match holder {
            OldTokenUser::Pod { name, .. } => name.as_str(),
            OldTokenUser::Secret { at, .. } => &at.name,
        }).collect();
        prop_assert_eq!(names, ["bare"]);
    }
}
