//! The clusters of the simulation, and what happens in them.

use super::*;

#[derive(Clone, Debug)]
pub(super) enum Event {
    Run(usize, usize, Option<Phase>),
    Kill(usize),
    Abort(usize),
    Lose(usize),
    Restart(usize),
    Start(usize),
    Reloader,
    Gone(usize),
    Theirs(usize),
    /// Somebody puts back what a place held before the phase.
    Reset(usize),
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
        1 => (0..3_usize).prop_map(Event::Lose),
        3 => (0..9_usize).prop_map(Event::Restart),
        4 => (0..9_usize).prop_map(Event::Start),
        2 => Just(Event::Reloader),
        2 => (0..9_usize).prop_map(Event::Gone),
        1 => (0..3_usize).prop_map(Event::Theirs),
        2 => (0..9_usize).prop_map(Event::Reset),
        3 => (1..3_i64).prop_map(Event::Tick),
    ]
}

#[derive(Clone, Debug)]
pub(super) struct World {
    /// The shape of each list `KB_ROUTER_TOKENS`, and whether there is a brain-api; home first.
    pub(super) places: Vec<(usize, bool)>,
    /// The shapes of the lists of keys.
    pub(super) embeddings: Option<(usize, usize)>,
    pub(super) rotating: Vec<TokenName>,
    pub(super) reloaded: u16,
    pub(super) bare: bool,
    /// Whether each has a tokens file.
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
