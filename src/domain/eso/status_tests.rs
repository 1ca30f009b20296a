//! Tests of the problems of ExternalSecrets and stores, from their conditions and events.

use super::objects::{
    Cause, Condition, EntrySource, Event, ExternalSecret, Provider, SecretStore, Seen, Served,
    StoreKind, StoreRef,
};
use super::status::{
    Contents, ExternalSecretStatus, Path2, StoreAt, StoreSeen, SyncProblem, age_if_stale,
    is_left_alone,
};

/// In seconds since 1970.
pub const NOW: i64 = 1_000_000;

pub fn condition(ready: bool, reason: &str, message: &str) -> Option<Condition> {
    Some(Condition {
        ready,
        reason: reason.to_owned(),
        message: message.to_owned(),
    })
}

/// An ExternalSecret of the router Secret in `brain` without problems at [`NOW`].
pub fn external() -> ExternalSecret {
    ExternalSecret {
        namespace: "brain".parse().unwrap(),
        name: "brain-api".to_owned(),
        uid: "1".to_owned(),
        resource_version: "7".to_owned(),
        annotations: Default::default(),
        rotated: None,
        generation: 2,
        created: Some(0),
        deleting: false,
        owner: None,
        store: Some(StoreRef {
            kind: StoreKind::ClusterSecretStore,
            name: "bao".to_owned(),
        }),
        target: "agentibrain-router-secrets".to_owned(),
        creation_policy: "Owner".to_owned(),
        deletion_policy: "Retain".to_owned(),
        interval: 30,
        refresh_policy: "Periodic".to_owned(),
        sources: vec![EntrySource::Entry {
            path: "p/router".to_owned(),
        }],
        templated: false,
        forced: None,
        condition: condition(true, "SecretSynced", "secret synced"),
        refreshed: Some(NOW),
        synced: "2-abc".to_owned(),
    }
}

/// The ClusterSecretStore of [`external`].
pub fn store(condition: Option<Condition>) -> SecretStore {
    SecretStore {
        at: external().store.unwrap(),
        uid: "2".to_owned(),
        created: Some(0),
        controller: None,
        provider: Provider::Other("fake".to_owned()),
        credentials: None,
        condition,
        capabilities: None,
    }
}

fn event(last: i64, message: &str) -> Event {
    Event {
        last,
        message: message.to_owned(),
    }
}

/// The problem of an ExternalSecret with these warnings and this store.
fn problem(external: ExternalSecret, warnings: &[Event], store: StoreSeen) -> Option<SyncProblem> {
    let at = StoreAt::of(&external).unwrap();
    let status = ExternalSecretStatus::new(external, Some(warnings));
    let path2 = Path2 {
        served: Served::Version("v1"),
        externals: vec![status.clone()],
        stores: [(at, store)].into(),
        contents: Contents::default(),
    };
    path2.problem(&status, NOW)
}

fn ready_store() -> StoreSeen {
    StoreSeen::new(Seen::There(store(condition(true, "Valid", ""))), &[])
}

#[test]
fn a_ready_external_secret_can_have_a_problem() {
    let of = |change: fn(&mut ExternalSecret)| {
        let mut external = external();
        change(&mut external);
        problem(external, &[], ready_store())
    };
    assert_eq!(of(|_| {}), None);
    assert_eq!(
        of(|it| {
            let message = "secret retained due to DeletionPolicy=Retain";
            it.condition = condition(true, "SecretSynced", message);
        }),
        Some(SyncProblem::For(Cause::PathEmpty))
    );
    assert_eq!(
        of(|it| it.condition = condition(true, "SecretDeleted", "")),
        Some(SyncProblem::Deleted)
    );
    assert_eq!(
        of(|it| it.condition = condition(true, "SecretMissing", "")),
        Some(SyncProblem::NothingToMerge)
    );
    assert_eq!(of(|it| it.condition = None), Some(SyncProblem::Unjudged));
    assert_eq!(of(|it| it.generation = 3), Some(SyncProblem::Pending));
    assert_eq!(
        of(|it| it.refreshed = Some(NOW - 96)),
        Some(SyncProblem::Stale(96))
    );
}

#[test]
fn a_refresh_is_stale_after_three_intervals() {
    let age = |change: fn(&mut ExternalSecret)| {
        let mut external = external();
        change(&mut external);
        age_if_stale(&external, NOW)
    };
    // The clocks of the operator and of the server may differ a little.
    assert_eq!(age(|it| it.refreshed = Some(NOW - 95)), None);
    assert_eq!(age(|it| it.refreshed = Some(NOW - 96)), Some(96));
    let long = NOW - 999_999;
    for change in [
        |it: &mut ExternalSecret| it.refresh_policy = "CreatedOnce".to_owned(),
        |it: &mut ExternalSecret| it.refresh_policy = "OnChange".to_owned(),
        |it: &mut ExternalSecret| it.interval = 0,
        |it: &mut ExternalSecret| it.interval = i64::MAX,
        |it: &mut ExternalSecret| it.refreshed = None,
    ] {
        let mut external = external();
        external.refreshed = Some(long);
        change(&mut external);
        assert_eq!(age_if_stale(&external, NOW), None);
    }
}

#[test]
fn an_object_without_a_condition_is_left_alone_after_15_seconds() {
    let condition_set = condition(false, "", "");
    for (condition, created, expected) in [
        (None, Some(NOW - 16), true),
        (None, Some(NOW - 15), false),
        (None, None, false),
        (condition_set, Some(0), false),
    ] {
        let left = is_left_alone(condition.as_ref(), created, NOW);
        assert_eq!(left, expected, "{created:?}");
    }
}

/// An ExternalSecret that is not ready.
pub fn failing() -> ExternalSecret {
    ExternalSecret {
        condition: condition(false, "SecretSyncedError", "could not get secret data"),
        ..external()
    }
}

#[test]
fn the_cause_is_that_of_the_external_secret_or_of_its_store() {
    let not_ready = "ClusterSecretStore \"bao\" is not ready";
    let unready = |events: &[Event]| {
        let store = store(condition(false, "InvalidProviderConfig", ""));
        StoreSeen::new(Seen::There(store), events)
    };
    let sealed = [event(1, "Vault is sealed")];
    let key = [event(1, "cannot find secret data for key: \"token\"")];
    let some = |cause| Some(SyncProblem::For(cause));
    for (warnings, store, expected) in [
        (vec![], ready_store(), Some(SyncProblem::Unknown)),
        (
            vec![event(1, "Secret does not exist")],
            ready_store(),
            some(Cause::PathMissing),
        ),
        // The store was ready when the operator last checked it.
        (
            vec![event(1, "Code: 403. Errors:\n\n* permission denied")],
            ready_store(),
            some(Cause::Refused),
        ),
        (
            vec![event(1, not_ready)],
            unready(&sealed),
            some(Cause::Sealed),
        ),
        (
            vec![event(1, not_ready)],
            unready(&[]),
            some(Cause::StoreNotReady),
        ),
        // The ExternalSecret has no events, or they may not be listed.
        (vec![], unready(&sealed), some(Cause::Sealed)),
        (vec![], unready(&key), some(Cause::NoCredentials)),
        (
            vec![],
            StoreSeen::new(Seen::Absent, &[]),
            some(Cause::StoreAbsent),
        ),
        (
            vec![],
            StoreSeen::new(Seen::Forbidden, &[]),
            Some(SyncProblem::Unknown),
        ),
    ] {
        assert_eq!(problem(failing(), &warnings, store), expected);
    }
}

#[test]
fn a_field_that_is_missing_is_named() {
    let fields = |of: &[&str]| ExternalSecret {
        sources: of
            .iter()
            .map(|property| EntrySource::Field {
                key: "KEY".to_owned(),
                path: "p/router".to_owned(),
                property: Some((*property).to_owned()),
            })
            .collect(),
        ..failing()
    };
    let events = [event(
        1,
        "error processing spec.data[1], err: cannot find secret data for key: \"B\"",
    )];
    let status = ExternalSecretStatus::new(fields(&["A", "B"]), Some(&events));
    assert_eq!(status.cause, Some(Cause::FieldMissing));
    assert_eq!(status.field.as_deref(), Some("B"));
    let status = ExternalSecretStatus::new(fields(&["A"]), Some(&events));
    assert_eq!(status.field, None);
    // A copy of a whole entry lacks the key with the store's token.
    let status = ExternalSecretStatus::new(failing(), Some(&events));
    assert_eq!(status.cause, Some(Cause::NoCredentials));
    assert!(ExternalSecretStatus::new(failing(), None).events_denied);
}

#[test]
fn the_problem_of_a_store_shows_in_its_external_secrets() {
    let at = StoreAt::of(&external()).unwrap();
    let of = |external: ExternalSecret, message: &str| {
        let path2 = Path2 {
            served: Served::Version("v1"),
            externals: vec![ExternalSecretStatus::new(
                external,
                Some(&[event(1, message)]),
            )],
            stores: [(at.clone(), ready_store())].into(),
            contents: Contents::default(),
        };
        path2.store_problem(&at)
    };
    let refused = "Code: 403. Errors:\n\n* permission denied";
    assert_eq!(of(failing(), refused), Some(Cause::Refused));
    assert_eq!(of(failing(), "Secret does not exist"), None);
    // The ExternalSecret is ready again.
    assert_eq!(of(external(), refused), None);
}
