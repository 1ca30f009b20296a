//! Tests of the gate, and of the next step after a value was reset.

use super::*;
use crate::domain::cluster::owner::{Owner, OwnerKind};
use crate::domain::cluster::snapshot::Denied;
use crate::domain::rotation::sight::missing_reads;

/// When the router Secret last changed, in seconds since 1970.
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
    let texts = target(&ROUTER, false, texts).texts;
    let live = LiveSecret {
        data: texts
            .into_iter()
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

/// A home namespace whose router Secret has the new tokens and lists both.
fn switched(pods: Vec<Pod>, leaving: Vec<Pod>) -> ClusterSnapshot {
    let texts = "KB_ROUTER_TOKEN=kb1 EMBEDDINGS_API_KEY=em1 KB_ROUTER_TOKENS=kb0,kb1";
    facts(NamespaceSnapshot {
        secrets: BTreeMap::from([(ROUTER.secret, secret(texts))]),
        pods,
        leaving,
        ..NamespaceSnapshot::default()
    })
}

/// Describes the pods and Secrets that hold the value.
fn describe_holders(
    rotation: &Rotation,
    side: Side,
    facts: &ClusterSnapshot,
    outside: &BTreeMap<Namespace, Observed>,
) -> Vec<String> {
    let describe = |holder| match holder {
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
    };
    holders(rotation, side, facts, outside)
        .into_iter()
        .map(describe)
        .collect()
}

#[test]
fn a_pod_holds_the_old_token_unless_it_certainly_started_after_the_switch() {
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
        (pod("not started", agents, None, None), false, ""),
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
        // It checks one token and sends the other.
        (pod("server", brain_api, Some(99), None), false, "server 1"),
        // The owner has the name of a server, but is not a StatefulSet.
        (
            pod("like", Some(("Deployment", BRAIN_API)), Some(99), None),
            false,
            "like 2",
        ),
    ] {
        let facts = if leaving {
            switched(Vec::new(), vec![pod])
        } else {
            switched(vec![pod], Vec::new())
        };
        let found = describe_holders(
            &rotation(Phase::Switch),
            Side::Old,
            &facts,
            &BTreeMap::new(),
        );
        assert_eq!(found.join(" "), expected);
    }
}

#[test]
fn a_server_does_not_hold_the_token_that_it_checks() {
    let server = pod("server", Some(("StatefulSet", BRAIN_API)), Some(99), None);
    let facts = switched(vec![server], Vec::new());
    let rotation = rotation_of(Phase::Switch, &[KB]);
    let found = describe_holders(&rotation, Side::Old, &facts, &BTreeMap::new());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn copies_and_other_secrets_hold_the_tokens_in_their_keys() {
    let mut facts = switched(Vec::new(), Vec::new());
    let copy = CopyRef {
        namespace: "tools".parse().unwrap(),
        name: "copy".to_owned(),
    };
    facts
        .copies
        .insert(copy, secret("LIST=foreign,em0 NEW=em1"));
    let place = facts.places.values_mut().next().unwrap();
    place.others.insert("other".to_owned(), secret("A=kb0 B=x"));
    place.others.insert("clean".to_owned(), secret("A=kb1"));
    let outside = BTreeMap::from([
        ("other".parse().unwrap(), secret("KB_ROUTER_TOKEN=kb0")),
        ("new".parse().unwrap(), secret("KB_ROUTER_TOKEN=kb1")),
        ("absent".parse().unwrap(), Observed::default()),
    ]);
    let found = describe_holders(&rotation(Phase::Switch), Side::Old, &facts, &outside);
    let expected = [
        "home/other A",
        "other/agentibrain-router-secrets KB_ROUTER_TOKEN",
        "tools/copy LIST",
    ];
    assert_eq!(found, expected);
    // An abort removes the new token.
    let found = describe_holders(&rotation(Phase::Back), Side::New, &facts, &outside);
    assert!(found.contains(&"tools/copy NEW".to_owned()), "{found:?}");
}

#[test]
fn clients_hold_the_old_token_before_the_switch_and_secrets_alone_count_after_it() {
    let mut facts = switched(vec![pod("before", None, Some(99), None)], Vec::new());
    let place = facts.places.values_mut().next().unwrap();
    let texts = "KB_ROUTER_TOKEN=kb0 EMBEDDINGS_API_KEY=em0 KB_ROUTER_TOKENS=kb0,kb1";
    place.secrets.insert(ROUTER.secret, secret(texts));
    let of = |phase, side| describe_holders(&rotation(phase), side, &facts, &BTreeMap::new());
    assert!(of(Phase::Open, Side::New).is_empty());
    // Until the switch all clients have the old token.
    let router = "home/agentibrain-router-secrets KB_ROUTER_TOKEN,EMBEDDINGS_API_KEY";
    assert_eq!(of(Phase::Open, Side::Old), [router, "before 2"]);
    // After the switch only Secrets can show an old token.
    assert_eq!(of(Phase::Close, Side::Old), [router]);
}

/// Describes the next step in a home namespace with one workload. Its pod started before the Secret
/// changed, and the Secret was already written in this phase.
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
        last_write: Some(rotation.mark()),
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
        stale_secrets: &[],
        is_proven: false,
        until: None,
        close_anyway: false,
    });
    match step.unwrap() {
        Step::Write(mut edits) => describe_edit(Ok(edits.pop())),
        Step::Roll(who, names) => format!("roll {} as {who:?}", names[0].name),
        other => format!("{other:?}"),
    }
}

/// A client may restart after its token was reset, although its mark says that it is up to date.
#[test]
fn a_token_that_was_reset_is_rewritten_and_its_clients_restart() {
    let step_after = |rotation: &Rotation, texts: &str, mark: &str| {
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
        let step = step_after(&rotation, reset, &mark);
        assert_eq!(step, "CountRewrite", "{phase}");
        let rewritten = rotation.with_rewrite();
        let written = step_after(&rewritten, reset, &mark);
        let (_, sent) = right.split_once('=').unwrap();
        let sent = sent.split(' ').next().unwrap();
        assert!(
            written.starts_with(&format!("KB_ROUTER_TOKEN={sent}")),
            "{phase} {written}"
        );
        let clients = "roll agents as Clients";
        assert_eq!(step_after(&rewritten, right, &mark), clients, "{phase}");
        let step = step_after(&rewritten, right, &rewritten.mark());
        assert!(!step.contains("agents as"), "{phase} {step}");
    }
}

#[test]
fn servers_restart_with_a_corrected_list_before_clients_get_the_new_token() {
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
    let unlisted = "KB_ROUTER_TOKEN=kb0 KB_ROUTER_TOKENS=kb0";
    let roll = format!("roll {BRAIN_API} as Servers");
    let write_list = "KB_ROUTER_TOKENS=kb0,kb1 added";
    let write_token = "KB_ROUTER_TOKEN=kb1 added";
    assert_eq!(next_of(&rotation, unlisted, None), write_list);
    let listed = "KB_ROUTER_TOKEN=kb0 KB_ROUTER_TOKENS=kb0,kb1";
    assert_eq!(next_of(&rotation, listed, None), roll);
    assert_eq!(next_of(&rotation, listed, open), write_token);
    // The mark says that the server is up to date: the rewrite is counted first.
    assert_eq!(next_of(&rotation, unlisted, open), "CountRewrite");
    let rotation = rotation.with_rewrite();
    assert_eq!(next_of(&rotation, unlisted, open), write_list);
    assert_eq!(next_of(&rotation, listed, open), roll);
    let open = Some("0123abcd.open.1");
    assert_eq!(next_of(&rotation, listed, open), write_token);
}

/// A list that was not read hides what the next step depends on. Which lists, says
/// `missing_reads`.
#[test]
fn a_step_needs_the_reads_that_show_what_it_depends_on() {
    let (home, other): (Namespace, Namespace) = ("home".parse().unwrap(), "other".parse().unwrap());
    let copy = CopyRef {
        namespace: other.clone(),
        name: "copy".to_owned(),
    };
    let away = Some("no answer".to_owned());
    let is_needed = |rotation: &Rotation, is_path_2: bool, denied: &Denied| {
        let mut facts = switched(Vec::new(), Vec::new());
        let place = facts.places.get_mut(&facts.home).unwrap();
        if is_path_2 {
            let router = place.secrets.get_mut(ROUTER.secret).unwrap();
            router.owner = Some(Owner {
                kind: OwnerKind::ExternalSecret,
                name: "router".to_owned(),
            });
        }
        facts.denied.insert(denied.clone());
        !missing_reads(rotation, &facts).is_empty()
    };
    let plain = rotation(Phase::Open);
    for resource in ["pods", "statefulsets", "deployments", "daemonsets"] {
        let denied = Denied::new("list", resource, Some(&home));
        assert!(is_needed(&plain, false, &denied), "{denied}");
        let denied = denied.because(away.clone());
        assert!(is_needed(&plain, false, &denied), "{denied}");
    }
    let router = Denied::secret(&other, ROUTER.secret);
    assert!(is_needed(&plain, false, &router));
    let externals = Denied::new("list", "externalsecrets", Some(&other));
    assert!(!is_needed(&plain, false, &externals));
    assert!(is_needed(&plain, true, &externals));
    // That copies cannot be seen is said before the rotation begins, unless they could be.
    let secrets = Denied::new("list", "secrets", None);
    assert!(!is_needed(&plain, true, &secrets));
    assert!(is_needed(&plain, true, &secrets.because(away)));
    let namespaces = Denied::new("list", "namespaces", None);
    assert!(!is_needed(&plain, false, &namespaces));
    let denied = Denied::secret(&other, "copy");
    assert!(!is_needed(&plain, false, &denied));
    let labels = "fleet=yes".to_owned();
    let wider = plain.with_places(&BTreeSet::new(), Some(&labels), &[copy]);
    assert!(is_needed(&wider, false, &namespaces));
    assert!(is_needed(&wider, false, &denied));
    let events = Denied::new("list", "events", Some(&home));
    assert!(!is_needed(&wider, true, &events));
}
