//! Tests of the classification of the operator's messages, and of the paths that it reads.

use super::objects::{Cause, Event, Provider};

/// The messages are from a real operator with a real store.
#[test]
fn messages_of_the_operator_are_classified() {
    for (message, cause) in [
        (
            "error processing spec.dataFrom[0].extract, err: Secret does not exist",
            Cause::PathMissing,
        ),
        (
            "error processing spec.dataFrom[0].extract, err: ClusterSecretStore \"x\" is not ready",
            Cause::StoreNotReady,
        ),
        (
            "could not get ClusterSecretStore \"x\", clustersecretstores.external-secrets.io \"x\" not found",
            Cause::StoreAbsent,
        ),
        (
            "using cluster store \"x\" is not allowed from namespace \"y\": denied by spec.condition",
            Cause::StoreForbidden,
        ),
        (
            "Error making API request. Code: 403. Errors: * permission denied",
            Cause::Refused,
        ),
        (
            "Code: 403. Errors:\n\n* 1 error occurred:\n\t* permission denied\n\n",
            Cause::NotAllowed,
        ),
        (
            "Code: 403. Errors:\n\n* 2 errors occurred:\n\t* permission denied\n\t* invalid token",
            Cause::Refused,
        ),
        ("Code: 503. Errors: * Vault is sealed", Cause::Sealed),
        (
            "Get \"http://127.0.0.1:1/v1\": dial tcp 127.0.0.1:1: connect: connection refused",
            Cause::Unreachable,
        ),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Cause::Untrusted,
        ),
        (
            "cannot get Kubernetes secret \"t\" from namespace \"n\": secrets \"t\" not found",
            Cause::NoCredentials,
        ),
        (
            "cannot find secret data for key: \"nope\"",
            Cause::FieldMissing,
        ),
        (
            "target is owned by another ExternalSecret",
            Cause::TargetTaken,
        ),
        (
            "unable to mutate secret t: secret is owned by another ExternalSecret: ok",
            Cause::TargetTaken,
        ),
        (
            "secret retained due to DeletionPolicy=Retain",
            Cause::PathEmpty,
        ),
    ] {
        assert_eq!(Cause::of(message), Some(cause), "{message}");
    }
    assert_eq!(Cause::of("could not get secret data from provider"), None);
}

#[test]
fn the_path_of_an_entry_is_the_one_that_the_operator_reads() {
    let at = |mount: Option<&str>, version: &str, path: &str| {
        let provider = Provider::Vault {
            server: String::new(),
            mount: mount.map(str::to_owned),
            version: version.to_owned(),
            namespace: None,
        };
        provider.slot(path).map(|slot| (slot.mount, slot.path))
    };
    let slot = |mount: &str, path: &str| Some((mount.to_owned(), path.to_owned()));
    let secret = Some("secret");
    assert_eq!(at(secret, "v2", "p/router"), slot("secret", "p/router"));
    assert_eq!(
        at(secret, "v2", "secret/p/router"),
        slot("secret", "p/router")
    );
    assert_eq!(at(secret, "v2", "secret/data/p/r"), slot("secret", "p/r"));
    assert_eq!(at(secret, "v2", "data/p/r"), slot("secret", "data/p/r"));
    assert_eq!(at(secret, "v2", "secrets/r"), slot("secret", "secrets/r"));
    assert_eq!(at(None, "v2", "kv/p/r"), slot("kv", "p/r"));
    assert_eq!(at(None, "v2", "team/kv/data/p/r"), slot("team/kv", "p/r"));
    assert_eq!(at(None, "v2", "alone"), None);
    assert_eq!(at(secret, "v1", "p/router"), None);
    assert_eq!(Provider::Other("aws".to_owned()).slot("p/router"), None);
}

#[test]
fn the_newest_event_with_a_known_message_counts() {
    let event = |last, message: &str| Event {
        last,
        message: message.to_owned(),
    };
    let events = [
        event(3, "Code: 403"),
        event(5, "an unknown message"),
        event(4, "Vault is sealed"),
    ];
    assert_eq!(Cause::of_events(&events), Some(Cause::Sealed));
    assert_eq!(Cause::of_events(&events[1..2]), None);
}
