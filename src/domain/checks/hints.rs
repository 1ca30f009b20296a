//! The command that fixes a Secret. It holds no value and puts none into the arguments of a process.

use super::case::Case;
use super::secrets::SeenSecret;
use super::values;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::OPAQUE;
use crate::domain::table::{API_KEYS, EMBEDDINGS, EMBEDDINGS_API_KEYS, InputRule};
use crate::domain::table::{Key, Origin, Presence};
use crate::domain::values::token::TokenName;

impl SeenSecret<'_> {
    /// Adds missing keys and fills empty ones.
    pub(super) fn fill(&self, keys: &[&Key]) -> String {
        // `--apply` never creates an IfFound list, it only updates one.
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

    /// Replaces a malformed value.
    pub(super) fn renew(&self, key: &Key) -> String {
        let (remove, apply) = (
            || self.remove_step(&[key.name]),
            |options| self.apply(&[key], options),
        );
        self.unless_owned(match key.origin {
            // The service has a default, and only --env-file sets another value.
            Origin::Input(InputRule::EnvFileOnly) => vec![remove()],
            Origin::Input(_) if self.live.text(key.name).is_some() => vec![apply("")],
            // --update refuses a value that is not text, so remove the key first.
            Origin::Input(_) => vec![remove(), apply("")],
            Origin::Token(token) => {
                let mut steps = vec![remove()];
                steps.extend(self.remove_from_list(token));
                // A list that contains the malformed token stays and gets the new one as well.
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

    pub(super) fn remove(&self, keys: &[&str]) -> String {
        self.unless_owned(vec![self.remove_step(keys)])
    }

    /// Recreates the Secret with a type that --apply can change.
    pub(super) fn retype(&self) -> String {
        self.unless_owned(Vec::new())
    }

    /// These steps, or the command of the owner. A Secret that is immutable or of another type is
    /// recreated first.
    fn unless_owned(&self, mut steps: Vec<String>) -> String {
        if let Some(owner) = self.owner {
            return self.case.ask_owner(self.namespace, owner);
        }
        if self.live.immutable || self.live.type_ != OPAQUE {
            steps.insert(0, self.recreate());
        }
        steps.join(" && ")
    }

    /// `--apply` with the options that set these keys.
    fn apply(&self, keys: &[&Key], options: &str) -> String {
        let is_live = |key: &Key| self.live.data.contains_key(key.name);
        let is_input = |key: &&&Key| match key.origin {
            Origin::Input(InputRule::Required) => true,
            Origin::Input(_) => is_live(key),
            Origin::Token(_) | Origin::TokenList(..) => false,
        };
        let inputs: Vec<_> = keys.iter().filter(is_input).map(|key| key.name).collect();
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
        let has_foreign_manager = |key: &&Key| !self.live.foreign_managers(key.name).is_empty();
        if keys.iter().any(has_foreign_manager) {
            options.push_str(" --force-conflicts");
        }
        self.case.apply_with(&inputs, &options)
    }

    fn remove_step(&self, keys: &[&str]) -> String {
        remove_keys(self.case, self.namespace, self.bundle.secret, keys)
    }

    /// Removes the list whose only entry is a malformed token: without a token in the tokens file,
    /// `--apply` would adopt it from there.
    fn remove_from_list(&self, token: TokenName) -> Option<String> {
        let malformed = self.live.text(token.as_str())?;
        let place = self.case.cluster.home_place();
        let list = place.live(EMBEDDINGS.secret)?.text(EMBEDDINGS_API_KEYS)?;
        let only = values::has_only(list, malformed);
        let is_adopted = token == TokenName::EmbeddingsApiKey && only;
        let owned = place.secrets[EMBEDDINGS.secret].owner.is_some();
        (is_adopted && !owned && self.case.filed_token(token).is_none()).then(|| {
            let lists = &[EMBEDDINGS_API_KEYS];
            remove_keys(self.case, self.namespace, EMBEDDINGS.secret, lists)
        })
    }

    /// True if a list has entries that this program cannot restore.
    fn has_others(&self, list: &Key, token: TokenName) -> bool {
        let tokens = self.case.home_tokens();
        let list = self.live.text(list.name);
        list.is_some_and(|list| values::has_others(list, tokens.get(token).as_ref()))
    }

    /// Sets a key to the value of a shell variable, which must not be empty.
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

    /// Recreates the Secret with its values, through a pipe, so that --apply can change it.
    fn recreate(&self) -> String {
        let secret = self.bundle.secret;
        let mut edits = String::new();
        // The top-level fields are indented by four spaces.
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

/// Removes keys from a Secret. A key needs no quotes: Kubernetes allows letters, digits, `-`, `_`, `.`.
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
    let patch = format!(
        "patch secret {secret} --type=json -p '[{}]'",
        operations.join(",")
    );
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

    /// One line for each key: message and hint of `verify` if the key has this value, with the common
    /// start of the hints shortened.
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
                let failed: Vec<_> = checks
                    .filter(|check| check.id == id && check.status == Status::Fail)
                    .map(|check| format!("{}\n      {}", check.message, check.hint))
                    .collect();
                let result = if failed.is_empty() {
                    "does not fail".to_owned()
                } else {
                    failed.join("; ")
                };
                lines += &format!("{}: {result}\n", key.name);
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
    fn every_missing_key_has_a_hint() {
        insta::assert_snapshot!(advice(Id::SecretKeys, |_| None), @r###"
        KB_ROUTER_TOKEN: missing keys: KB_ROUTER_TOKEN
              APPLY
        EMBEDDINGS_API_KEY: missing keys: EMBEDDINGS_API_KEY
              APPLY
        KB_ROUTER_TOKENS: does not fail
        POSTGRES_URL: missing keys: POSTGRES_URL
              POSTGRES_URL="$POSTGRES_URL" APPLY
        LLM_API_KEY: missing keys: LLM_API_KEY
              APPLY
        LLM_API_BASE: missing keys: LLM_API_BASE
              APPLY
        LLM_EMBED_MODEL: missing keys: LLM_EMBED_MODEL
              APPLY
        EMBEDDINGS_API_KEYS: missing keys: EMBEDDINGS_API_KEYS
              APPLY
        API_KEYS: does not fail
        LOG_LEVEL: does not fail
        ANTHROPIC_API_KEY: missing keys: ANTHROPIC_API_KEY
              ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" APPLY
        GITHUB_TOKEN: missing keys: GITHUB_TOKEN
              APPLY
        "###);
    }

    #[test]
    fn every_empty_key_has_a_hint() {
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
    fn every_value_that_is_not_text_has_a_hint() {
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
    fn every_placeholder_has_a_hint() {
        insta::assert_snapshot!(advice(Id::SecretValue, |_| text("changeme")), @r###"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN is a placeholder
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKEN && APPLY --prefer file
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY is a placeholder
              PATCH agentibrain-router-secrets -EMBEDDINGS_API_KEY && APPLY --prefer file
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS contains a placeholder
              PATCH agentibrain-router-secrets -KB_ROUTER_TOKENS
        POSTGRES_URL: POSTGRES_URL is a placeholder
              POSTGRES_URL="$POSTGRES_URL" APPLY --update POSTGRES_URL
        LLM_API_KEY: LLM_API_KEY is a placeholder
              LLM_API_KEY="$LLM_API_KEY" APPLY --update LLM_API_KEY
        LLM_API_BASE: LLM_API_BASE is a placeholder
              LLM_API_BASE="$LLM_API_BASE" APPLY --update LLM_API_BASE
        LLM_EMBED_MODEL: LLM_EMBED_MODEL is a placeholder
              LLM_EMBED_MODEL="$LLM_EMBED_MODEL" APPLY --update LLM_EMBED_MODEL
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS contains a placeholder
              PATCH embeddings-secrets -EMBEDDINGS_API_KEYS && APPLY
        API_KEYS: API_KEYS contains a placeholder
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
    fn an_immutable_secret_is_recreated_first() {
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
