//! Cases that are hard to build in a sandbox: other stores, owned objects, odd names, many namespaces.

use crate::domain::checks::check::{Check, Id, Status};
use crate::domain::checks::findings;
use crate::domain::checks::tests::{Facts, list, namespace, place, router};
use crate::domain::cluster::observed_secret::{LiveValue, OperatorMarks};
use crate::domain::cluster::snapshot::Denied;
use crate::domain::eso::objects::{
    Cause, Event, ExternalSecret, Provider, SecretStore, Seen, Served,
};
use crate::domain::eso::status::{Contents, ExternalSecretStatus, Path2, StoreAt, StoreSeen};
use crate::domain::eso::status_tests::{NOW, condition, external, failing, store};
use crate::domain::eso::store_entry::{Entry, Field, Fields};
use crate::domain::table::ROUTER;
use crate::domain::values::secret_value::SecretValue;

/// A home namespace whose router Secret an ExternalSecret creates, with this event.
fn facts(external: ExternalSecret, warning: &str, store: SecretStore) -> Facts {
    let mut facts = Facts::new();
    facts.cluster.now = NOW;
    let at = StoreAt::of(&external).unwrap();
    let live = facts.home().secrets.get_mut(ROUTER.secret).unwrap();
    live.live.as_mut().unwrap().marks = owned_by(&external);
    let events = [Event {
        last: 1,
        message: warning.to_owned(),
    }];
    facts.cluster.path2 = Some(Path2 {
        served: Served::Version("v1"),
        externals: vec![ExternalSecretStatus::new(external, Some(&events))],
        stores: [(at, StoreSeen::new(Seen::There(store), &[]))].into(),
        contents: Contents::default(),
    });
    facts
}

fn owned_by(external: &ExternalSecret) -> OperatorMarks {
    OperatorMarks {
        owner: Some((external.name.clone(), external.uid.clone())),
        ..OperatorMarks::default()
    }
}

fn ready(provider: Provider) -> SecretStore {
    SecretStore {
        provider,
        ..store(condition(true, "Valid", ""))
    }
}

fn vault() -> Provider {
    Provider::Vault {
        server: "https://bao.example:8200".to_owned(),
        mount: Some("kv".to_owned()),
        version: "v2".to_owned(),
        namespace: Some("team".to_owned()),
    }
}

fn of(facts: &Facts, id: Id) -> Vec<Check> {
    let checks = findings(&facts.case()).into_iter();
    checks.filter(|check| check.id == id).collect()
}

/// The hint of the only failure with that id.
fn hint(facts: &Facts, id: Id) -> String {
    let mut failed = of(facts, id);
    failed.retain(|check| check.status == Status::Fail);
    assert_eq!(failed.len(), 1, "{failed:?}");
    failed.remove(0).hint
}

const MISSING: &str = "Secret does not exist";
const SYNC: &str = "k8s-bootstrap -n brain --context c sync";

#[test]
fn each_cause_links_to_its_steps() {
    for (message, of_store, of_external) in [
        (MISSING, None, Id::EsoSynced),
        (
            "1 error occurred:\n\t* permission denied",
            None,
            Id::EsoSynced,
        ),
        ("is owned by another ExternalSecret", None, Id::EsoTarget),
        ("is not allowed from namespace", None, Id::EsoStore),
        ("could not get ClusterSecretStore", None, Id::EsoStore),
        ("Code: 403", Some(Id::EsoStore), Id::EsoStore),
        ("Vault is sealed", Some(Id::EsoStore), Id::EsoStore),
        ("connection refused", Some(Id::EsoStore), Id::EsoStore),
        ("x509: ", Some(Id::EsoStore), Id::EsoStore),
        (
            "cannot get Kubernetes secret",
            Some(Id::EsoStore),
            Id::EsoStore,
        ),
    ] {
        let facts = facts(failing(), message, ready(vault()));
        assert_eq!(
            hint(&facts, Id::EsoSynced),
            of_external.docs_link(),
            "{message}"
        );
        let mut store = of(&facts, Id::EsoStore);
        store.retain(|check| check.status == Status::Fail);
        let hints: Vec<_> = store.into_iter().map(|check| check.hint).collect();
        let expected: Vec<_> = of_store.into_iter().map(Id::docs_link).collect();
        assert_eq!(hints, expected, "{message}");
    }
    let facts = facts(failing(), "who knows", ready(vault()));
    let describe = "kubectl --context c -n brain describe externalsecret brain-api";
    assert_eq!(hint(&facts, Id::EsoSynced), describe);
}

#[test]
fn a_stale_refresh_fails_although_ready_is_true() {
    let old = ExternalSecret {
        refreshed: Some(NOW - 7200),
        ..external()
    };
    let facts = facts(old, "", ready(vault()));
    let synced = of(&facts, Id::EsoSynced);
    assert_eq!(synced[0].status, Status::Fail);
    let message = "the ExternalSecret is Ready, but stale: last refreshed 2 hours ago, more than three intervals of 30 seconds";
    assert_eq!(
        (synced[0].message.as_str(), synced[0].hint.as_str()),
        (message, SYNC)
    );
    let operator = of(&facts, Id::EsoOperator);
    assert_eq!(operator[0].status, Status::Fail);
    assert!(
        operator[0]
            .message
            .contains("no operator reconciles ExternalSecret brain/brain-api")
    );
}

#[test]
fn passed_checks_of_the_fleet_are_one_line() {
    let mut facts = facts(external(), "", ready(vault()));
    for index in 0..1000 {
        let name = format!("agents-{index:04}");
        let there = ExternalSecret {
            namespace: namespace(&name),
            uid: name.clone(),
            ..external()
        };
        let mut secret = router();
        secret.live.as_mut().unwrap().marks = owned_by(&there);
        let at = place(&[(ROUTER.secret, secret)]);
        facts.cluster.places.insert(namespace(&name), at);
        let events = match index {
            7 => vec![Event {
                last: 1,
                message: MISSING.to_owned(),
            }],
            _ => Vec::new(),
        };
        let object = match index {
            7 => ExternalSecret {
                condition: failing().condition,
                ..there
            },
            _ => there,
        };
        let path2 = facts.cluster.path2.as_mut().unwrap();
        path2
            .externals
            .push(ExternalSecretStatus::new(object, Some(&events)));
    }
    for id in [Id::EsoPresent, Id::EsoSynced, Id::EsoTarget, Id::EsoPolicy] {
        let checks = of(&facts, id);
        let (home, rest): (Vec<_>, Vec<_>) = checks
            .into_iter()
            .partition(|check| check.namespace == "brain");
        assert!(!home.is_empty());
        let failed = rest.iter().filter(|check| check.status == Status::Fail);
        assert_eq!(failed.count(), usize::from(id == Id::EsoSynced), "{id}");
        let lines: Vec<_> = rest.iter().filter(|it| it.status == Status::Pass).collect();
        assert_eq!(lines.len(), 1, "{id}: {lines:?}");
        let many = if id == Id::EsoSynced { 999 } else { 1000 };
        assert_eq!(
            lines[0].message,
            format!("passed for {many} objects of the fleet")
        );
    }
    let path2 = facts.cluster.path2.as_mut().unwrap();
    let mut externals = path2.externals.iter_mut();
    let member = externals.find(|it| it.object.namespace.as_str() == "agents-0007");
    member.unwrap().object.condition = None;
    let mut failed = of(&facts, Id::EsoSynced);
    failed.retain(|check| check.status == Status::Fail);
    // `sync` works in the home namespace only.
    let again = "kubectl --context c -n agents-0007 annotate --overwrite externalsecret brain-api \
                 force-sync=\"$(date +%s)\"";
    assert_eq!(failed[0].hint, again);
}

#[test]
fn a_missing_permission_is_reported_once_with_the_rbac_hint() {
    let mut facts = facts(external(), "", ready(vault()));
    facts
        .cluster
        .denied
        .insert(list("externalsecrets", "elsewhere"));
    let stores = Denied {
        verb: "get",
        resource: "clustersecretstores".to_owned(),
        namespace: None,
        why: None,
    };
    facts.cluster.denied.insert(stores);
    let path2 = facts.cluster.path2.as_mut().unwrap();
    for seen in path2.stores.values_mut() {
        *seen = StoreSeen::new(Seen::Forbidden, &[]);
    }
    let store = of(&facts, Id::EsoStore);
    let skipped: Vec<_> = store.iter().map(|check| check.message.as_str()).collect();
    let expected = [
        "not checked: you may not get clustersecretstores",
        "not checked: you may not list externalsecrets in elsewhere",
    ];
    assert_eq!(skipped, expected);
    assert!(store.iter().all(|check| check.status == Status::Skip));
    assert!(
        store[0].hint.contains(" rbac verify --cluster-store "),
        "{}",
        store[0].hint
    );
}

#[test]
fn every_failure_has_a_hint() {
    for message in [
        MISSING,
        "secret retained due to DeletionPolicy",
        "Code: 403",
        "1 error occurred:\n\t* permission denied",
        "Vault is sealed",
        "connection refused",
        "x509: ",
        "cannot get Kubernetes secret",
        "is not allowed from namespace",
        "could not get ClusterSecretStore",
        "is owned by another ExternalSecret",
        "not managed by external-secrets",
        "who knows",
    ] {
        for provider in [vault(), Provider::Other("aws".to_owned())] {
            let facts = facts(failing(), message, ready(provider));
            let failed = findings(&facts.case()).into_iter();
            let failed: Vec<_> = failed.filter(|it| it.status == Status::Fail).collect();
            assert!(
                failed.iter().any(|check| check.id == Id::EsoSynced),
                "{message}"
            );
            assert!(
                failed.iter().all(|check| !check.hint.is_empty()),
                "{failed:?}"
            );
            // The message of a provider is not repeated: it may hold a value.
            let said = |check: &Check| check.message.contains("who knows");
            assert!(!failed.iter().any(said), "{failed:?}");
        }
    }
    assert!(Cause::of("who knows").is_none());
}

/// The operator renames a field whose name is not a valid key, and writes a value that is not text as
/// JSON.
#[test]
fn a_secret_equals_the_entry_it_was_copied_from() {
    let mut facts = facts(external(), "", ready(vault()));
    let live = facts.home().secrets.get_mut(ROUTER.secret).unwrap();
    let live = live.live.as_mut().unwrap();
    let text = |text: &str| SecretValue::from(text);
    let mut fields = Fields::new();
    for (key, value) in &live.data {
        fields.insert(key.clone(), Field::of_text(value.text.as_ref().unwrap()));
    }
    for (field, key, value) in [("od~/d", "od__d", "1"), ("number", "number", "5")] {
        live.data
            .insert(key.to_owned(), LiveValue::encode(&text(value)));
        fields.insert(field.to_owned(), Field::of_text(&text(value)));
    }
    fields.get_mut("number").unwrap().text = None;
    fields.get_mut("number").unwrap().json = text("5");
    let path2 = facts.cluster.path2.as_mut().unwrap();
    let place = vault().slot("p/router").unwrap();
    let entry = Entry {
        version: 1,
        fields: Some(fields),
    };
    path2.contents = Contents {
        address: Some("https://bao.example:8200".to_owned()),
        entries: [(place, Ok(entry))].into(),
    };
    let checks = of(&facts, Id::StoreEqual);
    assert_eq!(checks[0].status, Status::Pass, "{checks:?}");
}
