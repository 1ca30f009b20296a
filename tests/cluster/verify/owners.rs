//! `owner.secret`: whose each Secret is, and where a hint leads where that is somebody else.

use crate::checks::verify;
use crate::marks::{OWNER, apply_as, hint, marked, reference};
use crate::secret_checks::{OTHER, bootstrapped, found, only};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER, Space};
use serde_json::{Value, json};

#[test]
fn a_secret_of_this_program_is_its_own() {
    let space = bootstrapped();
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        only(&space, OWNER, secret, "pass", "created by k8s-bootstrap");
    }
    verify(&space, &[]).exits(0);
}

#[test]
fn a_secret_that_a_person_made_is_a_persons() {
    let space = Space::new();
    let literals = [
        format!("--from-literal=KB_ROUTER_TOKEN={OTHER}"),
        format!("--from-literal=EMBEDDINGS_API_KEY={OTHER}"),
    ];
    space.kubectl(&[
        "create",
        "secret",
        "generic",
        ROUTER,
        &literals[0],
        &literals[1],
    ]);
    let message = "created with kubectl";
    only(&space, OWNER, ROUTER, "pass", message);

    // What we add to it is ours beside theirs.
    space.create_secret(EMBEDDINGS, &INPUTS[..1], &Value::Null);
    only(&space, OWNER, EMBEDDINGS, "pass", message);
    space.bootstrapped();
    only(
        &space,
        OWNER,
        EMBEDDINGS,
        "pass",
        "created by k8s-bootstrap",
    );
    only(&space, OWNER, ROUTER, "pass", message);
}

#[test]
fn another_field_manager_is_named() {
    let space = bootstrapped();
    for manager in ["someone", "argocd-controller"] {
        apply_as(&space, manager, &[("LLM_API_KEY", OTHER)]);
    }
    apply_as(
        &space,
        "someone",
        &[("LLM_API_BASE", "https://llm.invalid")],
    );
    let message = "no owner; the field managers argocd-controller, someone own some of its keys";
    only(&space, OWNER, EMBEDDINGS, "pass", message);
    verify(&space, &[]).exits(0);
}

#[test]
fn an_owner_is_told_by_its_marks_and_the_hint_leads_there() {
    let flux = |kind: &str, name: &str, namespace: &str| {
        json!({ "labels": {
            format!("{kind}.toolkit.fluxcd.io/name"): name,
            format!("{kind}.toolkit.fluxcd.io/namespace"): namespace,
        } })
    };
    let managed_by = json!({ "app.kubernetes.io/managed-by": "Helm" });
    let git = |tool| format!("change it in the git repository that {tool} applies");
    for (metadata, owner, instead) in [
        (
            json!({ "labels": managed_by }),
            "Helm release",
            "change the values of the Helm release".to_owned(),
        ),
        (
            json!({ "labels": managed_by, "annotations": {
                "meta.helm.sh/release-name": "brain", "meta.helm.sh/release-namespace": "ops",
            } }),
            "Helm release brain",
            "change the values of the Helm release".to_owned(),
        ),
        (
            json!({ "labels": { "argocd.argoproj.io/instance": "brain" } }),
            "Argo CD application brain",
            git("Argo CD"),
        ),
        (
            json!({ "annotations": { "argocd.argoproj.io/tracking-id": "app:/Secret:ns/s" } }),
            "Argo CD application app",
            git("Argo CD"),
        ),
        // Anybody may write an annotation.
        (
            json!({ "annotations": { "argocd.argoproj.io/tracking-id": "a;b:/Secret:ns/s" } }),
            "Argo CD application a;b",
            git("Argo CD"),
        ),
        (
            flux("kustomize", "apps", "flux-system"),
            "Flux Kustomization apps",
            git("Flux"),
        ),
        (
            flux("helm", "brain", "releases"),
            "Flux HelmRelease brain",
            git("Flux"),
        ),
        (
            reference("ExternalSecret", "eso"),
            "ExternalSecret eso",
            "change the value in the secret store".to_owned(),
        ),
        (
            reference("SealedSecret", "sealed"),
            "SealedSecret sealed",
            "change the object that owns it".to_owned(),
        ),
    ] {
        let space = marked(&metadata);
        let message = format!("owned by {owner}: {instead}");
        only(&space, OWNER, AGENTICORE, "pass", &message);
        assert_eq!(hint(&space), "see docs/checks.md#ownersecret");
    }
}

#[test]
fn an_owner_in_the_fleet_is_told() {
    let (space, fleet) = (bootstrapped(), Space::new());
    let data = space.data(ROUTER);
    let data: Vec<_> = data.iter().map(|(key, value)| (&**key, &**value)).collect();
    let labels = json!({ "kustomize.toolkit.fluxcd.io/name": "apps" });
    fleet.create_secret(ROUTER, &data, &json!({ "metadata": { "labels": labels } }));
    let ran = verify(&space, &["--fleet-namespace", &fleet.namespace]).exits(0);
    let mut found = found(&ran, OWNER, ROUTER);
    found.retain(|check| check["namespace"] == fleet.namespace);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["status"], "pass");
    let message = "owned by Flux Kustomization apps: change it in the git repository that \
                   Flux applies";
    assert_eq!(found[0]["message"], message);
}
