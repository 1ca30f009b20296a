//! The one command that mends a Secret. No value stands in it, nor on a process's arguments.

use super::case::Case;
use super::secrets::SeenSecret;
use super::values;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::OPAQUE;
use crate::domain::table::{API_KEYS, EMBEDDINGS, EMBEDDINGS_API_KEYS, InputRule};
use crate::domain::table::{Key, Origin, Presence};
use crate::domain::values::token::TokenName;

impl SeenSecret<'_> {
    /// What adds keys that are missing, and fills those that are empty.
    pub(super) fn fill(&self, keys: &[&Key]) -> String {
        // Such a list is never made, only kept in step.
        let (removed, filled): (Vec<&Key>, Vec<&Key>) = keys
            .iter()
            .partition(|key| matches!(key.origin, Origin::TokenList(_, Presence::IfFound)));
        let removed: Vec<_> = removed.iter().map(|key| key.name).collect();
        let steps = [
            (!removed.is_empty()).then(|| self.remove_step(&removed)),
            (!filled.is_empty()).then(|| self.apply(&filled, "")),
        ];
        self.unless_owned(steps.into_iter().flatten().collect())
    }

    /// What puts a good value in the place of an odd one.
    pub(super) fn renew(&self, key: &Key) -> String {
        let (remove, apply) = (
            || self.remove_step(&[key.name]),
            |options| self.apply(&[key], options),
        );
        self.unless_owned(match key.origin {
            // It has a default, and only an env-file brings another value.
            Origin::Input(InputRule::EnvFileOnly) => vec![remove()],
            Origin::Input(_) if self.live.text(key.name).is_some() => vec![apply("")],
            // --update speaks of text; what is none has to go first.
            Origin::Input(_) => vec![remove(), apply("")],
            Origin::Token(token) => {
                let mut steps = vec![remove()];
                steps.extend(self.remove_from_list(token));
                // A list that holds the odd token stays; it gets the new one as well.
                steps.push(apply(" --prefer file"));
                steps
            }
            Origin::TokenList(token, _) if self.has_others(key, token) => {
                vec![self.rewrite(key.name)]
            }
            Origin::TokenList(_, Presence::IfFound) => vec![remove()],
            Origin::TokenList(..) => vec![remove(), apply("")],
        })
    }

    /// What removes keys.
    pub(super) fn remove(&self, keys: &[&str]) -> String {
        self.unless_owned(vec![self.remove_step(keys)])
    }

    /// What makes the Secret one that --apply can change.
    pub(super) fn retype(&self) -> String {
        self.unless_owned(Vec::new())
    }

    /// These steps, or what its owner does. One that the server does not let change is made anew.
    fn unless_owned(&self, mut steps: Vec<String>) -> String {
        if let Some(owner) = self.owner {
            return self.case.ask_owner(self.namespace, owner);
        }
        if self.live.immutable || self.live.type_ != OPAQUE {
            steps.insert(0, self.recreate());
        }
        steps.join(" && ")
    }

    /// The main command, so that it sets these keys.
    fn apply(&self, keys: &[&Key], options: &str) -> String {
        let is_live = |key: &Key| self.live.data.contains_key(key.name);
        let given = |key: &&&Key| match key.origin {
            Origin::Input(InputRule::Required) => true,
            Origin::Input(_) => is_live(key),
            Origin::Token(_) | Origin::TokenList(..) => false,
        };
        let inputs: Vec<_> = keys.iter().filter(given).map(|key| key.name).collect();
        let update: Vec<_> = inputs
            .iter()
            .copied()
            .filter(|name| self.live.text(name).is_some())
            .collect();
        let mut options = options.to_owned();
        if !update.is_empty() {
            options.push_str(&format!(" --update {}", update.join(",")));
        }
        if keys.iter().any(|key| key.name == API_KEYS) {
            options.push_str(" --with-api-keys");
        }
        let foreign = |key: &&Key| !self.live.foreign_managers(key.name).is_empty();
        if keys.iter().any(foreign) {
            options.push_str(" --force-conflicts");
        }
        self.case.apply_with(&inputs, &options)
    }

    fn remove_step(&self, keys: &[&str]) -> String {
        remove_keys(self.case, self.namespace, self.bundle.secret, keys)
    }

    /// Removes the list of which an odd token is the only entry, since it would be adopted from
    /// there where the tokens file has no other.
    fn remove_from_list(&self, token: TokenName) -> Option<String> {
        let odd = self.live.text(token.as_str())?;
        let place = self.case.cluster.home_place();
        let list = place.live(EMBEDDINGS.secret)?.text(EMBEDDINGS_API_KEYS)?;
        let only = values::has_only(list, odd);
        let adopted = token == TokenName::EmbeddingsApiKey && only;
        let owned = place.secrets[EMBEDDINGS.secret].owner.is_some();
        (adopted && !owned && self.case.filed_token(token).is_none()).then(|| {
            let lists = &[EMBEDDINGS_API_KEYS];
            remove_keys(self.case, self.namespace, EMBEDDINGS.secret, lists)
        })
    }

    /// Tells whether a list has entries that nobody but the operator knows.
    fn has_others(&self, list: &Key, token: TokenName) -> bool {
        let tokens = self.case.home_tokens();
        let list = self.live.text(list.name);
        list.is_some_and(|list| values::has_others(list, tokens.get(token).as_ref()))
    }

    /// Replaces a value by that of a variable, which may not be empty.
    fn rewrite(&self, key: &str) -> String {
        let patch = format!(
            "patch secret {} --patch-file=/dev/stdin",
            self.bundle.secret
        );
        format!(
            ": \"${{{key}:?}}\" && printf '{{\"stringData\":{{\"{key}\":\"%s\"}}}}' \"${key}\" | {}",
            self.case.kubectl(self.namespace, &patch)
        )
    }

    /// Makes the Secret anew from itself, as one that --apply can change. It goes through a pipe.
    fn recreate(&self) -> String {
        let secret = self.bundle.secret;
        let mut edits = String::new();
        // The object's own fields are those that are indented by four.
        if self.live.type_ != OPAQUE {
            edits.push_str(&format!(
                " -e 's|^    \"type\": .*|    \"type\": \"{OPAQUE}\"|'"
            ));
        }
        if self.live.immutable {
            edits.push_str(" -e '/^    \"immutable\": /d'");
        }
        let get = format!("get secret {secret} -o json");
        format!(
            "{} | sed{edits} | {}",
            self.case.kubectl(self.namespace, &get),
            self.case.kubectl(self.namespace, "replace --force -f -")
        )
    }
}

/// Removes keys from a Secret. A key is made of letters, digits, `-`, `_` and `.`.
pub(super) fn remove_keys(
    case: &Case<'_>,
    namespace: &Namespace,
    secret: &str,
    keys: &[&str],
) -> String {
    let operations: Vec<_> = keys
        .iter()
        .map(|key| format!("{{\"op\":\"remove\",\"path\":\"/data/{key}\"}}"))
        .collect();
    let operations = operations.join(",");
    let patch = format!("patch secret {secret} --type=json -p '[{operations}]'");
    case.kubectl(namespace, &patch)
}

#[cfg(test)]
mod tests {
    use crate::domain::checks::check::{Id, Status};
    use crate::domain::checks::findings;
    use crate::domain::checks::tests::Facts;
    use crate::domain::cluster::observed_secret::LiveValue;
    use crate::domain::table::{BUNDLES, Key, ROUTER};
    use crate::domain::values::secret_value::SecretValue;

    /// A line for each key with what `verify` says and advises where the key is like this, without the
    /// beginning that all hints share.
    fn advice(id: Id, value: fn(&Key) -> Option<LiveValue>) -> String {
        let mut lines = String::new();
        for bundle in BUNDLES.iter() {
            for key in bundle.keys {
                let mut facts = Facts::new();
                let home = facts.home();
                let secret = home.secrets.get_mut(bundle.secret).unwrap();
                let data = &mut secret.live.as_mut().unwrap().data;
                match value(key) {
                    Some(value) => data.insert(key.name.to_owned(), value),
                    None => data.remove(key.name),
                };
                let checks = findings(&facts.case()).into_iter();
                let odd = checks.filter(|check| check.id == id && check.status == Status::Fail);
                let odd: Vec<_> = odd
                    .map(|check| format!("{}\n      {}", check.message, check.hint))
                    .collect();
                let told = match odd.as_slice() {
                    [] => "does not fail".to_owned(),
                    odd => odd.join("; "),
                };
                lines += &format!("{}: {told}\n", key.name);
            }
        }
        let kubectl = "kubectl --context c -n brain";
        lines
            .replace("k8s-bootstrap -n brain --context c --apply", "APPLY")
            .replace(&format!("{kubectl} patch secret"), "PATCH")
            .replace(
                " --type=json -p '[{\"op\":\"remove\",\"path\":\"/data/",
                " -",
            )
            .replace("\"}]'", "")
    }

    fn text(value: &str) -> Option<LiveValue> {
        Some(LiveValue::encode(&SecretValue::from(value)))
    }

    #[test]
    fn every_key_that_is_missing_has_its_command() {
        insta::assert_snapshot!(advice(Id::SecretKeys, |_| None), @r###"
        KB_ROUTER_TOKEN: it lacks KB_ROUTER_TOKEN
              APPLY
        EMBEDDINGS_API_KEY: it lacks EMBEDDINGS_API_KEY
              APPLY
        KB_ROUTER_TOKENS: does not fail
        POSTGRES_URL: it lacks POSTGRES_URL
              POSTGRES_URL="$POSTGRES_URL" APPLY
        LLM_API_KEY: it lacks LLM_API_KEY
              APPLY
        LLM_API_BASE: it lacks LLM_API_BASE
              APPLY
        LLM_EMBED_MODEL: it lacks LLM_EMBED_MODEL
              APPLY
        EMBEDDINGS_API_KEYS: it lacks EMBEDDINGS_API_KEYS
              APPLY
        API_KEYS: does not fail
        LOG_LEVEL: does not fail
        ANTHROPIC_API_KEY: it lacks ANTHROPIC_API_KEY
              ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" APPLY
        GITHUB_TOKEN: it lacks GITHUB_TOKEN
              APPLY
        "###);
    }

    #[test]
    fn every_key_that_is_empty_has_its_command() {
        insta::assert_snapshot!(advice(Id::SecretKeys, |_| text("")), @r###"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN must not be empty
              APPLY
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY must not be empty
              APPLY
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS must not be empty
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKENS
        POSTGRES_URL: POSTGRES_URL must not be empty
              POSTGRES_URL="$POSTGRES_URL" APPLY --update POSTGRES_URL
        LLM_API_KEY: does not fail
        LLM_API_BASE: does not fail
        LLM_EMBED_MODEL: LLM_EMBED_MODEL must not be empty
              LLM_EMBED_MODEL="$LLM_EMBED_MODEL" APPLY --update LLM_EMBED_MODEL
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS must not be empty
              APPLY
        API_KEYS: API_KEYS must not be empty
              APPLY --with-api-keys
        LOG_LEVEL: does not fail
        ANTHROPIC_API_KEY: ANTHROPIC_API_KEY must not be empty
              ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" APPLY --update ANTHROPIC_API_KEY
        GITHUB_TOKEN: does not fail
        "###);
    }

    #[test]
    fn every_value_that_is_no_text_has_its_command() {
        let bytes = |_: &Key| Some(LiveValue::decode("//79".to_owned()));
        insta::assert_snapshot!(advice(Id::SecretValue, bytes), @r###"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN is not text (base64 of UTF-8)
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKEN && APPLY --prefer file
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY is not text (base64 of UTF-8)
              PATCH agentibrain-router-secrets -EMBEDDINGS_API_KEY && APPLY --prefer file
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS is not text (base64 of UTF-8)
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKENS
        POSTGRES_URL: POSTGRES_URL is not text (base64 of UTF-8)
              PATCH embeddings-secrets -POSTGRES_URL && POSTGRES_URL="$POSTGRES_URL" APPLY
        LLM_API_KEY: LLM_API_KEY is not text (base64 of UTF-8)
              PATCH embeddings-secrets -LLM_API_KEY && LLM_API_KEY="$LLM_API_KEY" APPLY
        LLM_API_BASE: LLM_API_BASE is not text (base64 of UTF-8)
              PATCH embeddings-secrets -LLM_API_BASE && LLM_API_BASE="$LLM_API_BASE" APPLY
        LLM_EMBED_MODEL: LLM_EMBED_MODEL is not text (base64 of UTF-8)
              PATCH embeddings-secrets -LLM_EMBED_MODEL && LLM_EMBED_MODEL="$LLM_EMBED_MODEL" APPLY
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS is not text (base64 of UTF-8)
              PATCH embeddings-secrets -EMBEDDINGS_API_KEYS && APPLY
        API_KEYS: API_KEYS is not text (base64 of UTF-8)
              PATCH embeddings-secrets -API_KEYS && APPLY --with-api-keys
        LOG_LEVEL: LOG_LEVEL is not text (base64 of UTF-8)
              PATCH embeddings-secrets -LOG_LEVEL
        ANTHROPIC_API_KEY: ANTHROPIC_API_KEY is not text (base64 of UTF-8)
              PATCH agenticore-secrets -ANTHROPIC_API_KEY && ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" APPLY
        GITHUB_TOKEN: GITHUB_TOKEN is not text (base64 of UTF-8)
              PATCH agenticore-secrets -GITHUB_TOKEN && GITHUB_TOKEN="$GITHUB_TOKEN" APPLY
        "###);
    }

    #[test]
    fn every_placeholder_has_its_command() {
        insta::assert_snapshot!(advice(Id::SecretValue, |_| text("changeme")), @r###"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN is a placeholder
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKEN && APPLY --prefer file
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY is a placeholder
              PATCH agentibrain-router-secrets -EMBEDDINGS_API_KEY && APPLY --prefer file
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS has a placeholder on it
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKENS
        POSTGRES_URL: POSTGRES_URL is a placeholder
              POSTGRES_URL="$POSTGRES_URL" APPLY --update POSTGRES_URL
        LLM_API_KEY: LLM_API_KEY is a placeholder
              LLM_API_KEY="$LLM_API_KEY" APPLY --update LLM_API_KEY
        LLM_API_BASE: LLM_API_BASE is a placeholder
              LLM_API_BASE="$LLM_API_BASE" APPLY --update LLM_API_BASE
        LLM_EMBED_MODEL: LLM_EMBED_MODEL is a placeholder
              LLM_EMBED_MODEL="$LLM_EMBED_MODEL" APPLY --update LLM_EMBED_MODEL
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS has a placeholder on it
              PATCH embeddings-secrets -EMBEDDINGS_API_KEYS && APPLY
        API_KEYS: API_KEYS has a placeholder on it
              PATCH embeddings-secrets -API_KEYS && APPLY --with-api-keys
        LOG_LEVEL: LOG_LEVEL is a placeholder
              PATCH embeddings-secrets -LOG_LEVEL
        ANTHROPIC_API_KEY: ANTHROPIC_API_KEY is a placeholder
              ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" APPLY --update ANTHROPIC_API_KEY
        GITHUB_TOKEN: GITHUB_TOKEN is a placeholder
              GITHUB_TOKEN="$GITHUB_TOKEN" APPLY --update GITHUB_TOKEN
        "###);
    }

    #[test]
    fn a_secret_that_cannot_be_changed_is_made_anew_first() {
        let mut facts = Facts::new();
        let live = facts.home().secrets.get_mut(ROUTER.secret).unwrap();
        let live = live.live.as_mut().unwrap();
        live.data.remove("KB_ROUTER_TOKEN");
        live.immutable = true;
        let checks = findings(&facts.case());
        let lacking = checks.iter().find(|check| check.id == Id::SecretKeys);
        insta::assert_snapshot!(lacking.unwrap().hint, @r#"kubectl --context c -n brain get secret agentibrain-router-secrets -o json | sed -e '/^    "immutable": /d' | kubectl --context c -n brain replace --force -f - && k8s-bootstrap -n brain --context c --apply"#);
    }
}
