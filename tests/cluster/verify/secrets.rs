//! `secret.present` and `secret.keys`: is the Secret there, and has it the right keys.

use crate::checks::{follow, verify};
use crate::marks::{apply_as, reference};
use crate::secret_checks::{OTHER, apply, bootstrapped, delete, mended, only, passes, set, steps};
use crate::space::{AGENTICORE, EMBEDDINGS, INPUTS, ROUTER};
use crate::token_checks::TOKENS;
use serde_json::json;

#[test]
fn a_router_secret_that_is_absent_is_made_by_the_hint() {
    let space = bootstrapped();
    delete(&space, ROUTER);
    let absent = only(&space, "secret.present", ROUTER, "fail", "not found");
    assert_eq!(absent["hint"], apply(&space));
    mended(&space, &absent, &[]);
    assert_eq!(space.data(ROUTER), space.filed());
}

#[test]
fn a_secret_of_a_wrong_type_is_made_anew_from_its_values() {
    let space = bootstrapped();
    let before = space.data(AGENTICORE);
    let annotation = json!({ "metadata": { "annotations": { "of": "somebody" } } });
    for immutable in [false, true] {
        delete(&space, AGENTICORE);
        let data: Vec<_> = before.iter().map(|(k, v)| (&**k, &**v)).collect();
        let mut more = annotation.clone();
        more["type"] = json!("example.com/of-a-person");
        more["immutable"] = json!(immutable);
        space.create_secret(AGENTICORE, &data, &more);
        let message = "its type is example.com/of-a-person; --apply needs Opaque";
        let odd = only(&space, "secret.present", AGENTICORE, "warn", message);
        steps("get secret SECRET -o json", &space, &odd, "", &[]);
        passes(&space, &odd);
        let object = space.object(AGENTICORE).unwrap();
        assert_eq!(object["type"], "Opaque");
        assert_eq!(object["metadata"]["annotations"]["of"], "somebody");
        assert_eq!(space.data(AGENTICORE), before);
        space.run_with(&INPUTS, &["--apply"]).exits(0);
    }
}

#[test]
fn a_secret_of_a_wrong_type_that_is_owned_leads_to_the_owner() {
    let space = bootstrapped();
    delete(&space, AGENTICORE);
    let mut more = json!({ "metadata": reference("ExternalSecret", "eso") });
    more["type"] = json!("example.com/of-eso");
    space.create_secret(AGENTICORE, &[("ANTHROPIC_API_KEY", OTHER)], &more);
    let message = "its type is example.com/of-eso; --apply needs Opaque";
    let odd = only(&space, "secret.present", AGENTICORE, "warn", message);
    assert_eq!(odd["hint"], "see docs/checks.md#ownersecret");
}

/// Both forms that --apply refuses to change.
#[test]
fn a_secret_that_cannot_be_changed_is_made_anew_by_the_steps() {
    for more in [
        json!({ "immutable": true }),
        json!({ "type": "example.com/of-a-person" }),
    ] {
        let space = bootstrapped();
        delete(&space, EMBEDDINGS);
        space.create_secret(EMBEDDINGS, &[("POSTGRES_URL", "changeme")], &more);
        let message =
            "missing keys: LLM_API_KEY, LLM_API_BASE, LLM_EMBED_MODEL, EMBEDDINGS_API_KEYS";
        let lacking = only(&space, "secret.keys", EMBEDDINGS, "fail", message);
        let odd = only(
            &space,
            "secret.value",
            EMBEDDINGS,
            "fail",
            "POSTGRES_URL is a placeholder",
        );
        assert_eq!(lacking["hint"], odd["hint"]);
        steps("get secret SECRET -o json", &space, &odd, "", &[]);
        let lacking = only(&space, "secret.keys", EMBEDDINGS, "fail", message);
        mended(&space, &lacking, &[]);
        let message = "POSTGRES_URL is a placeholder";
        let odd = only(&space, "secret.value", EMBEDDINGS, "fail", message);
        mended(&space, &odd, &INPUTS);
        assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], INPUTS[0].1);
    }
}

/// A Secret, its keys that are gone, and those that are empty.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

#[test]
fn a_key_that_is_missing_or_empty_is_filled_by_the_hint() {
    let model = ("LLM_EMBED_MODEL", "a-model");
    let cases: [Case; 7] = [
        (ROUTER, &TOKENS, &[]),
        (ROUTER, &[], &[(TOKENS[0], ""), (TOKENS[1], "")]),
        (ROUTER, &[], &[("KB_ROUTER_TOKENS", " ,")]),
        (
            EMBEDDINGS,
            &[
                "POSTGRES_URL",
                "LLM_API_KEY",
                "LLM_API_BASE",
                "EMBEDDINGS_API_KEYS",
                "API_KEYS",
            ],
            &[],
        ),
        (EMBEDDINGS, &[], &[("EMBEDDINGS_API_KEYS", " ,")]),
        (EMBEDDINGS, &[], &[("API_KEYS", "")]),
        (
            EMBEDDINGS,
            &[],
            &[
                ("POSTGRES_URL", ""),
                ("LLM_EMBED_MODEL", ""),
                ("EMBEDDINGS_API_KEYS", ", "),
                ("API_KEYS", ""),
            ],
        ),
    ];
    for (secret, missing, empty) in cases {
        let space = bootstrapped();
        let before = space.data(secret);
        for key in missing {
            space.remove_key(secret, key);
        }
        space.set_keys(secret, empty, "kubectl-edit");
        let empty: Vec<_> = empty.iter().map(|(key, _)| *key).collect();
        let message = match empty.is_empty() {
            // One of the two lists is enough, so only one of them is missing.
            true => format!(
                "missing keys: {}",
                missing.join(", ").replace(", API_KEYS", "")
            ),
            false => format!("{} must not be empty", empty.join(", ")),
        };
        let odd = only(&space, "secret.keys", secret, "fail", &message);
        if empty == ["KB_ROUTER_TOKENS"] {
            steps("/data/KEY", &space, &odd, empty[0], &[]);
        } else {
            mended(&space, &odd, &[INPUTS[0], model]);
        }
        passes(&space, &odd).exits(0);
        let after = space.data(secret);
        for (key, value) in before {
            let expected = match &*key {
                "LLM_EMBED_MODEL" if empty.contains(&&*key) => model.1,
                _ => &value,
            };
            assert_eq!(after[&key], expected, "{key}");
        }
        assert!(!after.contains_key("KB_ROUTER_TOKENS"));
        if let Some(list) = after.get("API_KEYS") {
            assert_eq!(*list, space.filed()["EMBEDDINGS_API_KEY"]);
        }
    }
}

/// A variable that nobody set changes nothing.
#[test]
fn a_hint_without_its_variable_changes_nothing() {
    let space = bootstrapped();
    set(&space, EMBEDDINGS, "POSTGRES_URL", "changeme");
    let message = "POSTGRES_URL is a placeholder";
    let odd = only(&space, "secret.value", EMBEDDINGS, "fail", message);
    let hint = odd["hint"].as_str().unwrap();
    follow(&space, hint, &[])
        .exits(2)
        .says(&["POSTGRES_URL has no value"]);
    assert_eq!(space.data(EMBEDDINGS)["POSTGRES_URL"], "changeme");
}

#[test]
fn a_key_that_another_manager_holds_is_taken_over_by_the_hint() {
    let space = bootstrapped();
    apply_as(&space, "someone", &[("POSTGRES_URL", "<your url>")]);
    let message = "POSTGRES_URL is a placeholder";
    let odd = only(&space, "secret.value", EMBEDDINGS, "fail", message);
    let hint = format!(
        "POSTGRES_URL=\"$POSTGRES_URL\" {} --update POSTGRES_URL --force-conflicts",
        apply(&space)
    );
    assert_eq!(odd["hint"], hint);
    mended(&space, &odd, &INPUTS);
}

#[test]
fn a_key_that_may_be_absent_or_empty_is_not_missed() {
    let space = bootstrapped();
    let passes = "it has all keys of the table";
    only(&space, "secret.keys", EMBEDDINGS, "pass", passes);
    assert!(!space.data(EMBEDDINGS).contains_key("LOG_LEVEL"));
    for key in ["LLM_API_KEY", "LLM_API_BASE", "LOG_LEVEL"] {
        set(&space, EMBEDDINGS, key, "");
    }
    set(&space, AGENTICORE, "GITHUB_TOKEN", "");
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        only(&space, "secret.keys", secret, "pass", passes);
    }
    verify(&space, &[]).exits(0);
}

#[test]
fn an_unknown_key_is_told_and_kept() {
    for secret in [ROUTER, EMBEDDINGS, AGENTICORE] {
        let space = bootstrapped();
        space.set_keys(
            secret,
            &[("EXTRA", OTHER), ("a.b-c_d", OTHER)],
            "kubectl-edit",
        );
        let message = "unknown keys: EXTRA, a.b-c_d";
        let odd = only(&space, "secret.keys", secret, "warn", message);
        assert_eq!(odd["hint"], "see docs/checks.md#secretkeys");
    }
}
