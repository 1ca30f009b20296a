//! Tests of the plan for the Secrets: refusals and owned Secrets. The other rows of the decision
//! table are in `plan_tests`.

use super::Decision;
use super::plan_tests::*;
use super::refusal::{Conflict, Refusal};
use super::{Action, FileAction, FiledTokens, Plan, Prefer};
use crate::domain::cluster::observed_secret::{LiveSecret, LiveValue, ManagedFields};
use crate::domain::cluster::owner::Owner;
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::hint_context::HintContext;
use crate::domain::rotation::RETIRED_TOKENS;
use crate::domain::table::{EMBEDDINGS, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::fingerprint;
use std::collections::BTreeSet;

#[test]
fn disagreement_is_refused_and_names_both_places_by_fingerprint() {
    let observed = found(&[router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)])]);
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(C), Some(B)), &observed);
    let message = plan.refusals[0].message();
    insta::assert_snapshot!(message, @"KB_ROUTER_TOKEN differs: the tokens file has sha256:cd93782b7fb9, Secret home/agentibrain-router-secrets has sha256:3ba3f5f43b92");
    assert!(!message.contains(A) && !message.contains(C));
    assert_eq!(plan.places[0].action, Action::Refuse);
}

#[test]
fn a_retired_token_of_the_file_is_never_applied_again() {
    let reach = HintContext {
        apply: "k8s-bootstrap --apply".to_owned(),
        ..HintContext::default()
    };
    let retired = |pairs: &[(&str, &str)]| {
        let (place, mut live) = router(pairs);
        let note = format!("KB_ROUTER_TOKEN={}", fingerprint(&SecretValue::from(C)));
        live.annotations.insert(RETIRED_TOKENS.to_owned(), note);
        found(&[(place, live)])
    };
    let observed = retired(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]);
    for prefer in [None, Some(Prefer::File)] {
        let mut wish = wish(&[]);
        wish.prefer = prefer;
        let plan = Plan::for_secrets(&wish, &filed(Some(C), Some(B)), &observed);
        assert_eq!(plan.refusals.len(), 1, "{}", describe(&plan));
        let refusal = &plan.refusals[0];
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal.message(), @"the tokens file has a KB_ROUTER_TOKEN that a rotation has retired (sha256:cd93782b7fb9), Secret home/agentibrain-router-secrets has sha256:3ba3f5f43b92");
            insta::assert_snapshot!(refusal.hint(&reach, &StoreReach::default()), @"keep the cluster's with `k8s-bootstrap --apply --prefer cluster`");
        }
    }
    let mut cluster = wish(&[]);
    cluster.prefer = Some(Prefer::Cluster);
    let plan = Plan::for_secrets(&cluster, &filed(Some(C), Some(B)), &observed);
    assert_eq!(
        plan.tokens.kb_router_token,
        Some(Decision::Cluster(token(A)))
    );

    // The cluster has no token: the retired one must not become the token again.
    let observed = retired(&[("EMBEDDINGS_API_KEY", B)]);
    for prefer in [None, Some(Prefer::File)] {
        let mut wish = wish(&[]);
        wish.prefer = prefer;
        let plan = Plan::for_secrets(&wish, &filed(Some(C), Some(B)), &observed);
        assert_eq!(plan.refusals.len(), 1, "{}", describe(&plan));
        let refusal = &plan.refusals[0];
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal.message(), @"the tokens file has a KB_ROUTER_TOKEN that a rotation has retired (sha256:cd93782b7fb9), Secret home/agentibrain-router-secrets has none");
            insta::assert_snapshot!(refusal.hint(&reach, &StoreReach::default()), @"mint a new one with `k8s-bootstrap --apply --prefer cluster`");
        }
    }
    let plan = Plan::for_secrets(&cluster, &filed(Some(C), Some(B)), &observed);
    assert!(plan.refusals.is_empty(), "{}", describe(&plan));
    assert_eq!(plan.tokens.kb_router_token, Some(Decision::Minted(None)));
    assert_eq!(plan.file, FileAction::Update { replaces: true });

    // A fingerprint of another token does not matter.
    let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), Some(C)), &observed);
    assert!(matches!(
        plan.refusals.as_slice(),
        [Refusal {
            conflict: Conflict::Disagree { .. },
            ..
        }]
    ));
}

#[test]
fn a_fleet_namespace_is_compared_and_never_a_source() {
    let fleet = at("agents", ROUTER.secret);
    let planted = (
        fleet.clone(),
        live(&[("KB_ROUTER_TOKEN", C), ("EMBEDDINGS_API_KEY", B)]),
    );
    let mut wish = wish(&[]);
    wish.fleet.insert("agents".parse().unwrap());
    let plan = Plan::for_secrets(
        &wish,
        &FiledTokens::default(),
        &found(std::slice::from_ref(&planted)),
    );
    assert_eq!(plan.tokens.kb_router_token, Some(Decision::Minted(None)));
    assert_eq!(plan.refusals.len(), 2, "{}", describe(&plan));

    let observed = found(&[
        router(&[("KB_ROUTER_TOKEN", A), ("EMBEDDINGS_API_KEY", B)]),
        planted,
    ]);
    let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
    assert_eq!(plan.refusals.len(), 1);
    assert!(plan.refusals[0].message().contains("Secret agents/"));
    wish.prefer = Some(Prefer::Cluster);
    let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
    let after = applied(&plan, &observed);
    let repaired = after[&fleet].live.as_ref().unwrap().text("KB_ROUTER_TOKEN");
    assert_eq!(repaired.unwrap().expose(), A);
}

#[test]
fn an_owned_secret_is_not_written_and_no_token_is_minted_for_it() {
    let mut observed = found(&[router(&[("KB_ROUTER_TOKEN", A)])]);
    let place = at("home", ROUTER.secret);
    observed.get_mut(&place).unwrap().owner = Some(Owner::external_secret("es"));
    let plan = Plan::for_secrets(&wish(&[]), &filed(None, Some(B)), &observed);
    assert!(plan.refusals.is_empty(), "{}", describe(&plan));
    assert_eq!(plan.places[0].action, Action::Skip);
    assert_eq!(
        plan.tokens.kb_router_token,
        Some(Decision::Cluster(token(A)))
    );

    let plan = Plan::for_secrets(&wish(&[]), &FiledTokens::default(), &observed);
    assert!(
        plan.refusals[0]
            .message()
            .contains("does not hold EMBEDDINGS_API_KEY yet")
    );

    let mut wish = wish(&[("POSTGRES_URL", "p")]);
    wish.update.insert("POSTGRES_URL");
    let mut observed = found(&[embeddings(&[
        ("POSTGRES_URL", "q"),
        ("EMBEDDINGS_API_KEYS", B),
    ])]);
    let place = at("home", EMBEDDINGS.secret);
    observed.get_mut(&place).unwrap().owner = Some(Owner::external_secret("es"));
    let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
    assert!(
        plan.refusals[0]
            .message()
            .starts_with("--update POSTGRES_URL"),
        "{}",
        describe(&plan)
    );
}

#[test]
fn a_key_managed_by_a_controller_is_a_conflict_and_by_a_person_is_not() {
    for (manager, refused) in [
        ("argocd-controller", true),
        ("kubectl-edit", false),
        ("k8s-bootstrap", false),
    ] {
        let mut secret = embeddings(&[("POSTGRES_URL", "old"), ("EMBEDDINGS_API_KEYS", B)]);
        secret.1.managed = vec![ManagedFields {
            manager: manager.into(),
            applied: false,
            data: BTreeSet::from(["POSTGRES_URL".to_owned()]),
            annotations: BTreeSet::new(),
        }];
        let observed = found(&[secret]);
        let mut wish = wish(&[("POSTGRES_URL", "new")]);
        assert!(
            Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed)
                .refusals
                .is_empty()
        );
        wish.update.insert("POSTGRES_URL");
        let plan = Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed);
        assert_eq!(!plan.refusals.is_empty(), refused, "{manager}");
        wish.force_conflicts = true;
        assert!(
            Plan::for_secrets(&wish, &filed(Some(A), Some(B)), &observed)
                .refusals
                .is_empty()
        );
    }
}

#[test]
fn a_secret_in_the_wrong_form_is_refused() {
    let change = |change: fn(&mut LiveSecret)| {
        let mut secret = router(&[("KB_ROUTER_TOKEN", A)]);
        change(&mut secret.1);
        let plan = Plan::for_secrets(&wish(&[]), &filed(Some(A), Some(B)), &found(&[secret]));
        let refusal = plan.refusals.first().map(|refusal| refusal.message());
        refusal.unwrap_or_default()
    };
    assert!(
        change(|secret| secret.type_ = "kubernetes.io/tls".into()).contains("kubernetes.io/tls")
    );
    assert!(change(|secret| secret.immutable = true).contains("immutable"));
    let undecodable = change(|secret| {
        secret.data.insert(
            "EMBEDDINGS_API_KEY".into(),
            LiveValue::decode("/w==".into()),
        );
    });
    assert!(undecodable.contains("EMBEDDINGS_API_KEY"), "{undecodable}");
    let odd = change(|secret| {
        secret.data.insert(
            "EMBEDDINGS_API_KEY".into(),
            LiveValue::encode(&"odd one".into()),
        );
    });
    assert!(
        odd.contains("differs"),
        "the file has a token, so the places disagree: {odd}"
    );
}
