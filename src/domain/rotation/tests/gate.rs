//! Who holds what is to be forgotten, and what comes next.

use super::*;

/// When the router Secret last changed.
const CHANGED: i64 = 100;

fn pod(name: &str, owner: Option<(&str, &str)>, at: Option<i64>, mark: Option<&str>) -> Pod {
    let mut main = Container::default();
    main.env_from.push(Whole {
        prefix: String::new(),
        secret: Some(ROUTER.secret.to_owned()),
        optional: false,
    });
    Pod {
        namespace: "home".parse().unwrap(),
        name: name.to_owned(),
        owner: owner.map(|(kind, name)| (kind.to_owned(), name.to_owned())),
        spec: PodSpec {
            containers: vec![main],
            volumes: Vec::new(),
        },
        ready: true,
        started: at.map(|at| ("main".to_owned(), at)).into_iter().collect(),
        waiting: BTreeMap::new(),
        stuck: BTreeMap::new(),
        unschedulable: false,
        mark: mark.map(str::to_owned),
    }
}

fn secret(texts: &str) -> Observed {
    let texts = target(&ROUTER, false, texts).texts.into_iter();
    let live = LiveSecret {
        data: texts
            .map(|(key, value)| (key, LiveValue::encode(&value)))
            .collect(),
        changed: Some(CHANGED),
        ..LiveSecret::default()
    };
    Observed {
        live: Some(live),
        ..Observed::default()
    }
}

fn facts(place: NamespaceSnapshot) -> ClusterSnapshot {
    let home: Namespace = "home".parse().unwrap();
    ClusterSnapshot {
        server: String::new(),
        version: None,
        now: CHANGED,
        home: home.clone(),
        places: BTreeMap::from([(home, place)]),
        nothing_selected: false,
        copies: BTreeMap::new(),
        absent: BTreeSet::new(),
        denied: BTreeSet::new(),
        probes: Vec::new(),
        path2: None,
    }
}

/// A home whose router Secret holds the new tokens, both on its list.
fn switched(pods: Vec<Pod>, leaving: Vec<Pod>) -> ClusterSnapshot {
    let texts = "KB_ROUTER_TOKEN=kb1 EMBEDDINGS_API_KEY=em1 KB_ROUTER_TOKENS=kb0,kb1";
    facts(NamespaceSnapshot {
        secrets: BTreeMap::from([(ROUTER.secret, secret(texts))]),
        pods,
        leaving,
        ..NamespaceSnapshot::default()
    })
}

/// Who holds that value, in words.
fn told_holders(
    rotation: &Rotation,
    side: Side,
    facts: &ClusterSnapshot,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<String> {
    let found = holders(rotation, side, facts, outside).into_iter();
    let told = found.map(|holder| match holder {
        OldTokenUser::Secret { at, keys, .. } => format!("{at} {}", keys.join(",")),
        OldTokenUser::Pod {
            name,
            leaving,
            tokens,
            ..
        } => {
            let leaving = if leaving { " leaving" } else { "" };
            format!("{name}{leaving} {}", tokens.len())
        }
    });
    told.collect()
}

#[test]
fn a_pod_holds_the_old_token_unless_it_surely_started_after_the_switch() {
    let agents = Some(("Deployment", "agents"));
    let brain_api = Some(("StatefulSet", BRAIN_API));
    let mark = Some("0123abcd.switch");
    for (pod, leaving, expected) in [
        (pod("before", agents, Some(99), None), false, "before 2"),
        (pod("same", agents, Some(100), None), false, "same 2"),
        (pod("same", agents, Some(100), mark), false, ""),
        (
            pod("same", agents, Some(100), Some("0123abcd.open")),
            false,
            "same 2",
        ),
        (
            pod("same", agents, Some(100), Some("ffffffff.switch")),
            false,
            "same 2",
        ),
        (pod("after", agents, Some(101), None), false, ""),
        (pod("made", agents, None, None), false, ""),
        (
            pod("going", agents, Some(99), None),
            true,
            "going leaving 2",
        ),
        (pod("going", agents, Some(101), None), true, ""),
        (pod("bare", None, Some(99), None), false, "bare 2"),
        (
            pod("job", Some(("Job", "once")), Some(99), None),
            false,
            "job 2",
        ),
        // It checks one of the two and sends the other.
        (pod("server", brain_api, Some(99), None), false, "server 1"),
        // Of that name, and no StatefulSet's.
        (
            pod("like", Some(("Deployment", BRAIN_API)), Some(99), None),
            false,
            "like 2",
        ),
    ] {
        let facts = match leaving {
            true => switched(Vec::new(), vec![pod]),
            false => switched(vec![pod], Vec::new()),
        };
        let found = told_holders(
            &rotation(Phase::Switch),
            Side::Old,
            &facts,
            &BTreeMap::new(),
        );
        assert_eq!(found.join(" "), expected);
    }
}

#[test]
fn a_server_does_not_hold_what_it_checks() {
    let server = pod("server", Some(("StatefulSet", BRAIN_API)), Some(99), None);
    let facts = switched(vec![server], Vec::new());
    let rotation = rotation_of(Phase::Switch, &[KB]);
    let found = told_holders(&rotation, Side::Old, &facts, &BTreeMap::new());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn copies_others_and_strangers_hold_what_they_have() {
    let mut facts = switched(Vec::new(), Vec::new());
    let copy = CopyRef {
        namespace: "tools".parse().unwrap(),
        name: "copy".to_owned(),
    };
    facts.copies.insert(copy, secret("LIST=theirs,em0 NEW=em1"));
    let place = facts.places.values_mut().next().unwrap();
    place
        .others
        .insert("theirs".to_owned(), secret("A=kb0 B=x"));
    place.others.insert("clean".to_owned(), secret("A=kb1"));
    let outside = BTreeMap::from([
        ("other".parse().unwrap(), secret("KB_ROUTER_TOKEN=kb0")),
        ("new".parse().unwrap(), secret("KB_ROUTER_TOKEN=kb1")),
        ("gone".parse().unwrap(), Observed::default()),
    ]);
    let found = told_holders(&rotation(Phase::Switch), Side::Old, &facts, &outside);
    let expected = [
        "home/theirs A",
        "other/agentibrain-router-secrets KB_ROUTER_TOKEN",
        "tools/copy LIST",
    ];
    assert_eq!(found, expected);
    // On the way back it is the new one.
    let found = told_holders(&rotation(Phase::Back), Side::New, &facts, &outside);
    assert!(found.contains(&"tools/copy NEW".to_owned()), "{found:?}");
}

#[test]
fn only_the_switch_gives_clients_the_new_token() {
    let mut facts = switched(vec![pod("before", None, Some(99), None)], Vec::new());
    let place = facts.places.values_mut().next().unwrap();
    let texts = "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0 KB_ROUTER_TOKENS=kb0,kb1";
    place.secrets.insert(ROUTER.secret, secret(texts));
    let of = |phase, side| told_holders(&rotation(phase), side, &facts, &BTreeMap::new());
    assert!(of(Phase::Open, Side::New).is_empty());
    // Until the switch all of them have the old one.
    let router = "home/agentibrain-router-secrets KB_ROUTER_TOKEN,EMBEDDINGS_API_KEY";
    assert_eq!(of(Phase::Open, Side::Old), [router, "before 2"]);
    // After it, who was left behind shows in Secrets alone.
    assert_eq!(of(Phase::Close, Side::Old), [router]);
}

/// What comes next at home with one workload, in words; its pod started before the Secret changed, and
/// the Secret was written in this phase.
fn step_with(
    rotation: &Rotation,
    texts: &str,
    (kind, name): (WorkloadKind, &str),
    mark: Option<&str>,
) -> String {
    let home = PerToken::default();
    let pod = pod("pod", Some((kind.as_str(), name)), Some(99), mark);
    let workload = Workload {
        kind,
        namespace: pod.namespace.clone(),
        name: name.to_owned(),
        spec: pod.spec.clone(),
        reloaded: false,
        mark: pod.mark.clone(),
        rollout: Rollout {
            generation: 1,
            observed: 1,
            same_revision: true,
            ..Rollout::default()
        },
    };
    let facts = facts(NamespaceSnapshot {
        secrets: BTreeMap::from([(ROUTER.secret, secret(texts))]),
        workloads: vec![workload],
        pods: vec![pod],
        ..NamespaceSnapshot::default()
    });
    let target = TokenPlace {
        written: Some(rotation.mark()),
        ..target(&ROUTER, texts.contains("KB_ROUTER_TOKENS"), texts)
    };
    let step = next(&View {
        rotation,
        values: &values(),
        held: &rotation.held(&values(), &home),
        home: &home,
        targets: &[target],
        facts: &facts,
        outside: &BTreeMap::new(),
        lagging: &[],
        proven: false,
        until: None,
        anyway: false,
    });
    match step.unwrap() {
        Step::Write(mut edits) => words(Ok(edits.pop())),
        Step::Roll(who, names) => format!("roll {} as {who:?}", names[0].name),
        other => format!("{other:?}"),
    }
}

/// Somebody resets what clients read, and one of them restarts meanwhile: its template says that it is
/// right.
#[test]
fn what_was_reset_after_a_restart_is_written_again_and_restarted() {
    let after = |rotation: &Rotation, texts: &str, mark: &str| {
        step_with(
            rotation,
            texts,
            (WorkloadKind::Deployment, "agents"),
            Some(mark),
        )
    };
    for (phase, reset, right) in [
        (
            Phase::Switch,
            "KB_ROUTER_TOKEN=kb0 KB_ROUTER_TOKENS=kb0,kb1",
            "KB_ROUTER_TOKEN=kb1 KB_ROUTER_TOKENS=kb0,kb1",
        ),
        (Phase::Close, "KB_ROUTER_TOKEN=kb0", "KB_ROUTER_TOKEN=kb1"),
        (Phase::Undo, "KB_ROUTER_TOKEN=kb1", "KB_ROUTER_TOKEN=kb0"),
    ] {
        let rotation = rotation_of(phase, &[KB]);
        let mark = rotation.mark();
        assert_eq!(after(&rotation, reset, &mark), "Again", "{phase}");
        let again = rotation.with_rewrite();
        let written = after(&again, reset, &mark);
        let (_, sent) = right.split_once('=').unwrap();
        let sent = sent.split(' ').next().unwrap();
        assert!(
            written.starts_with(&format!("KB_ROUTER_TOKEN={sent}")),
            "{phase} {written}"
        );
        let clients = "roll agents as Clients";
        assert_eq!(after(&again, right, &mark), clients, "{phase}");
        let rolled = after(&again, right, &again.mark());
        assert!(!rolled.contains("agents as"), "{phase} {rolled}");
    }
}

#[test]
fn servers_run_on_a_mended_list_before_a_client_gets_its_token() {
    let rotation = rotation_of(Phase::Switch, &[KB]);
    let next_of = |rotation: &Rotation, texts: &str, mark: Option<&str>| {
        step_with(
            rotation,
            texts,
            (WorkloadKind::StatefulSet, BRAIN_API),
            mark,
        )
    };
    let open = Some("0123abcd.open");
    let gone = "KB_ROUTER_TOKEN=kb0 KB_ROUTER_TOKENS=kb0";
    let roll = format!("roll {BRAIN_API} as Servers");
    let (mended, given) = ("KB_ROUTER_TOKENS=kb0,kb1 made", "KB_ROUTER_TOKEN=kb1 made");
    assert_eq!(next_of(&rotation, gone, None), mended);
    let listed = "KB_ROUTER_TOKEN=kb0 KB_ROUTER_TOKENS=kb0,kb1";
    assert_eq!(next_of(&rotation, listed, None), roll);
    assert_eq!(next_of(&rotation, listed, open), given);
    // Its template says that it is right: first the state says that it no longer does.
    assert_eq!(next_of(&rotation, gone, open), "Again");
    let rotation = rotation.with_rewrite();
    assert_eq!(next_of(&rotation, gone, open), mended);
    assert_eq!(next_of(&rotation, listed, open), roll);
    let open = Some("0123abcd.open.1");
    assert_eq!(next_of(&rotation, listed, open), given);
}
