//! Simulates a small cluster, runs that are killed at any moment, and foreign restarts of pods. In
//! every case no client holds a token that its server rejects, and no value is lost.

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
use crate::domain::cluster::snapshot::{ClusterSnapshot, Denied, NamespaceSnapshot};
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

/// A simulated Secret.
#[derive(Clone, Default)]
struct Stored {
    texts: Texts,
    list_added_by: Option<String>,
    last_write: Option<String>,
    version: usize,
    changed: i64,
}

/// A simulated pod with the environment that it read when it started.
#[derive(Clone)]
struct Running {
    /// When it started; `None` if it has not.
    at: Option<i64>,
    mark: Option<String>,
    env: Texts,
}

struct Load {
    workload: Workload,
    pods: Vec<Running>,
    leaving: Vec<Running>,
    /// Whether Reloader is about to restart it.
    is_reload_due: bool,
}

#[derive(Default)]
struct Operator {
    held: Held,
    queue: VecDeque<Act>,
    proven: Option<String>,
    until: Option<Phase>,
    holders: Vec<OldTokenUser>,
}

/// One action of an operator. It carries the resourceVersion or the mark that the operator read
/// before.
enum Act {
    File(Held),
    Open(Rotation, TokenValues, Edit, usize),
    Write(Edit, usize, String),
    /// The write itself, after the check that the phase is unchanged.
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
    /// The foreign entries of the lists.
    foreign: BTreeMap<(SecretRef, &'static str), Vec<String>>,
    /// The Secrets that had a list `KB_ROUTER_TOKENS` before the first rotation.
    had_list: BTreeSet<SecretRef>,
    mint_count: usize,
    /// How many rotations may still be opened.
    openings: usize,
    /// The old and new values of the last rotation.
    values: PerToken<Option<(Token, Token)>>,
    last_phase: Option<Phase>,
    /// The reads that fail.
    denied: BTreeSet<Denied>,
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
    /// The next actions of an operator, from the current cluster.
    fn decide(&mut self, index: usize) -> Vec<Act> {
        let facts = self.facts();
        let version = self.home().version;
        let Some(rotation) = &self.state else {
            return self.open(index, &facts);
        };
        let operator = &self.operators[index];
        let held = &operator.held;
        let filed = TokenName::ALL
            .into_iter()
            .flat_map(|name| held.all(name).map(move |it| (name, it.value())));
        let values = TokenValues::find(rotation, self.known().into_iter().chain(filed));
        let targets: Vec<_> = self
            .secrets
            .keys()
            .filter(|at| facts.places[&at.namespace].live(at.name).is_some())
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
        let step = next(&view).expect("all values are known");
        let looks = matches!(step, Step::Look(_));
        assert_eq!(looks, !self.denied.is_empty(), "{step:?} {:?}", self.denied);
        let acts = match step {
            Step::File(held) => vec![Act::File(held)],
            Step::Write(edits) => {
                let write = |edit: Edit| {
                    let PlaceRef::Secret(at) = &edit.at else {
                        unreachable!()
                    };
                    let version = self.secrets[at].version;
                    Act::Write(edit, version, mark.clone())
                };
                edits.into_iter().map(write).collect()
            }
            Step::CountRewrite => vec![Act::State(rotation.with_rewrite(), version)],
            Step::Roll(who, names) => {
                let restart = |name: WorkloadRef| {
                    let place = &facts.places[&name.namespace];
                    let workload = self.loads[self.index(&name)].observed();
                    match standing(rotation, place, &workload, who) {
                        Standing::Rolling => Act::Await(name),
                        _ => Act::Restart(name, super::workloads::mark(rotation, who)),
                    }
                };
                names.into_iter().map(restart).collect()
            }
            Step::Prove => vec![Act::Prove(mark)],
            Step::Advance(phase, _) => vec![Act::State(rotation.in_phase(phase, NOW), version)],
            Step::Finish(held) => vec![Act::File(held), Act::Finish(version)],
            Step::Hold(found) => {
                holders = found;
                Vec::new()
            }
            Step::Stop | Step::Look(_) => Vec::new(),
            Step::Follow(_) => unreachable!(),
        };
        self.operators[index].holders = holders;
        acts
    }

    /// Writes new values to the tokens file, then opens the rotation with one write.
    fn open(&mut self, index: usize, facts: &ClusterSnapshot) -> Vec<Act> {
        if self.openings == 0 || !self.denied.is_empty() {
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
        let rotation = Rotation::new(
            format!("{:08x}", self.mint_count),
            Phase::Open,
            NOW,
            changes,
        );
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

    /// Performs an action; `false` if the cluster has changed since the operator read it.
    fn act(&mut self, index: usize, act: Act) -> bool {
        let version = self.home().version;
        match act {
            Act::File(held) => self.operators[index].held = held,
            Act::Open(rotation, values, edit, seen) => {
                if seen != version {
                    return false;
                }
                assert!(self.state.is_none(), "two open rotations");
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
                self.last_phase = Some(rotation.phase);
                self.secrets.get_mut(&router(&ns("home"))).unwrap().version += 1;
            }
        }
        true
    }

    fn step(&mut self, index: usize) {
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
                (0..steps).for_each(|_| self.step(index));
            }
            Event::Kill(which) => self.kill(operator(which)),
            Event::LoseFile(which) => {
                let index = operator(which);
                self.operators[index].held = Held::default();
            }
            Event::Abort(which) => {
                let (index, version) = (operator(which), self.home().version);
                self.kill(index);
                let act = self.state.as_ref().and_then(|rotation| {
                    let phase = rotation.phase.abort_phase()?;
                    Some(Act::State(rotation.in_phase(phase, NOW), version))
                });
                self.operators[index].queue.extend(act);
            }
            Event::Restart(which) => self.restart(load(which), None),
            Event::Start(which) => self.start(load(which)),
            Event::Reloader => {
                for index in 0..self.loads.len() {
                    if std::mem::take(&mut self.loads[index].is_reload_due) {
                        self.restart(index, None);
                    }
                }
            }
            Event::PodsGone(which) => {
                let index = load(which);
                self.loads[index].leaving.clear();
            }
            Event::ForeignEntry(which) => {
                let routers = self.secrets.keys().filter(|at| at.name == ROUTER.secret);
                let at = routers.cycle().nth(which).unwrap().clone();
                let stored = self.secrets.get_mut(&at).unwrap();
                let list = stored.texts.get_mut(LIST).filter(|list| !list.is_empty());
                if let Some(list) = list {
                    let foreign = self.foreign.entry((at.clone(), LIST)).or_default();
                    let entry = format!("foreign-late-{}", foreign.len());
                    *list = format!("{},{entry}", list.expose()).into();
                    foreign.push(entry);
                    (stored.changed, stored.version) = (self.now, stored.version + 1);
                    self.notify_reloader(&at);
                }
            }
            Event::Reset(which) => self.reset(which),
            Event::Deny(which, is_permitted) => self.deny(which, is_permitted),
            Event::Tick(seconds) => self.now += seconds,
        }
        self.check();
    }

    /// Performs the queued actions of all other operators, as stalled runs that go on.
    fn run_stalled(&mut self, index: usize) {
        for other in (0..self.operators.len()).filter(|it| *it != index) {
            while let Some(act) = self.operators[other].queue.pop_front() {
                if !self.act(other, act) {
                    self.operators[other].queue.clear();
                }
                self.check();
            }
        }
    }

    /// Runs one operator to the end. It opens a rotation if none is open.
    fn complete(&mut self, index: usize) {
        self.openings += usize::from(self.state.is_none());
        self.kill(index);
        self.denied.clear();
        self.operators[index].until = None;
        let mut was_open = self.state.is_some();
        for _ in 0..1000 {
            self.step(index);
            was_open |= self.state.is_some();
            if was_open && self.state.is_none() {
                self.check_finished(index);
                // The writes of stalled runs must fail.
                self.run_stalled(index);
                return self.check_finished(index);
            }
            if !self.operators[index].holders.is_empty() {
                // A person restarts the pods that hold the old token.
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
            "the rotation does not finish: {:?} {:?}",
            self.state, self.operators[index].holders
        );
    }
}

/// Runs an eighth of the configured cases, 40 at most: one case simulates whole rotations.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = (default.cases / 8).clamp(1, 40);
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(config())]
    /// Events in any order: run, kill, resume, abort, lost file, second operator, foreign restart.
    /// Servers accept every token that a client may hold, and no value is lost.
    #[test]
    fn no_client_is_ever_refused_and_nothing_is_lost(
        world in some_world(), events in proptest::collection::vec(some_event(), 0..60),
    ) {
        let mut sim = Sim::new(&world);
        sim.openings = 2;
        events.iter().for_each(|event| sim.happen(event));
        (0..sim.operators.len()).for_each(|index| sim.complete(index));
    }

    /// The writes of a run that stalls while another run aborts the rotation have no effect.
    #[test]
    fn writes_of_a_stalled_run_fail_after_an_abort_by_another_run(
        world in some_world(), steps in 0..60_usize, later in 0..40_usize,
    ) {
        let mut sim = Sim::new(&World { operators: vec![true, true], ..world });
        sim.openings = 1;
        for event in [Event::Run(0, steps, None), Event::Abort(1), Event::Run(1, 1 + later, None)] {
            sim.happen(&event);
        }
        sim.run_stalled(1);
        sim.complete(1);
    }

    /// A pod that never restarts keeps its token. The gate holds and names the pod on every run, and
    /// servers accept both tokens.
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
        sim.denied.clear();
        sim.operators[0].until = None;
        let mut runs = 0;
        for _ in 0..300 {
            (0..sim.loads.len()).for_each(|index| sim.loads[index].leaving.clear());
            sim.step(0);
            runs += usize::from(!sim.operators[0].holders.is_empty());
            if runs == 5 {
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
