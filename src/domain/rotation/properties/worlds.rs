//! Generates the simulated clusters and the events in them.

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// An operator performs so many steps, with `--until`.
    Run(usize, usize, Option<Phase>),
    Kill(usize),
    Abort(usize),
    /// An operator loses its tokens file.
    LoseFile(usize),
    Restart(usize),
    Start(usize),
    Reloader,
    /// The deleted pods of a workload end.
    PodsGone(usize),
    /// A person adds an entry to a list.
    ForeignEntry(usize),
    /// A person restores the values from before the phase.
    Reset(usize),
    /// A read fails from now on, for want of a permission or for another reason; or none does.
    Deny(usize, bool),
    Tick(i64),
}

pub(super) fn some_event() -> impl Strategy<Value = Event> {
    let until = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Phase::Open)),
        1 => Just(Some(Phase::Switch)),
    ];
    prop_oneof![
        12 => (0..3_usize, 1..12_usize, until).prop_map(|(who, n, until)| Event::Run(who, n, until)),
        2 => (0..3_usize).prop_map(Event::Kill),
        1 => (0..3_usize).prop_map(Event::Abort),
        1 => (0..3_usize).prop_map(Event::LoseFile),
        3 => (0..9_usize).prop_map(Event::Restart),
        4 => (0..9_usize).prop_map(Event::Start),
        2 => Just(Event::Reloader),
        2 => (0..9_usize).prop_map(Event::PodsGone),
        1 => (0..3_usize).prop_map(Event::ForeignEntry),
        2 => (0..9_usize).prop_map(Event::Reset),
        3 => (0..20_usize, any::<bool>()).prop_map(|(which, why)| Event::Deny(which, why)),
        3 => (1..3_i64).prop_map(Event::Tick),
    ]
}

#[derive(Clone, Debug)]
pub(super) struct World {
    /// For each namespace the shape of `KB_ROUTER_TOKENS`, and whether it has a brain-api; home first.
    pub(super) places: Vec<(usize, bool)>,
    /// The shapes of the lists of embeddings keys.
    pub(super) embeddings: Option<(usize, usize)>,
    pub(super) rotating: Vec<TokenName>,
    /// One bit for each workload: whether Reloader restarts it.
    pub(super) reloaded: u16,
    /// Whether home has a bare pod.
    pub(super) bare: bool,
    /// For each operator whether it has a tokens file.
    pub(super) operators: Vec<bool>,
}

prop_compose! {
    pub(super) fn some_world()(
        places in proptest::collection::vec((0..6_usize, proptest::bool::weighted(0.8)), 1..=3),
        embeddings in proptest::option::weighted(0.8, (0..6_usize, 0..6_usize)),
        rotating in proptest::sample::subsequence(TokenName::ALL.to_vec(), 1..=2),
        reloaded: u16, bare: bool,
        operators in proptest::collection::vec(any::<bool>(), 1..=3),
    ) -> World {
        World { places, embeddings, rotating, reloaded, bare, operators }
    }
}
