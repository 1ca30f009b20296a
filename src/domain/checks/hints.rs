//! The hint for the keys of a Secret: `--apply`, or a link where that cannot help.

use super::check::Id;
use super::secrets::SeenSecret;
use super::settle;
use crate::domain::cluster::observed_secret::OPAQUE;
use crate::domain::plan::{Prefer, Settlement};
use crate::domain::table::{InputRule, Key, Origin, Presence};

impl SeenSecret<'_> {
    /// Adds missing keys and fills empty ones.
    pub(super) fn fill(&self, keys: &[&Key]) -> String {
        // `--apply` never creates an IfFound list, it only updates one.
        let is_filled = |key: &&Key| !matches!(key.origin, Origin::TokenList(_, Presence::IfFound));
        let filled: Vec<&Key> = keys.iter().copied().filter(is_filled).collect();
        let has_token = |key: &&Key| matches!(key.origin, Origin::Token(_));
        let settlement = match keys.iter().any(has_token) {
            true => settle::settlement(self.case),
            false => Settlement::default(),
        };
        self.unless_blocked((!filled.is_empty()).then(|| self.apply(&filled, settlement)))
    }

    /// Replaces a malformed value.
    pub(super) fn renew(&self, key: &Key) -> String {
        let is_text = self.live.text(key.name).is_some();
        self.unless_blocked(match key.origin {
            Origin::Input(InputRule::Required | InputRule::Default(_)) if is_text => {
                Some(self.apply(&[key], Settlement::default()))
            }
            // The settlement keeps a placeholder that has the form of a token.
            Origin::Token(token) if is_text && self.case.filed_token(token).is_some() => {
                let prefer_file = Settlement {
                    prefer: Some(Prefer::File),
                    force_conflicts: false,
                };
                Some(self.apply(&[key], prefer_file))
            }
            _ => None,
        })
    }

    /// The command; a link if there is none or `--apply` cannot change the Secret.
    fn unless_blocked(&self, command: Option<String>) -> String {
        if self.owner.is_some() {
            Id::OwnerSecret.docs_link()
        } else if self.live.immutable || self.live.type_ != OPAQUE {
            Id::SecretPresent.docs_link()
        } else {
            command.unwrap_or_else(|| Id::SecretValue.docs_link())
        }
    }

    /// `--apply` with the options that set these keys.
    fn apply(&self, keys: &[&Key], mut settlement: Settlement) -> String {
        let is_input = |key: &&&Key| match key.origin {
            Origin::Input(InputRule::Required) => true,
            Origin::Input(_) => self.live.data.contains_key(key.name),
            Origin::Token(_) | Origin::TokenList(..) => false,
        };
        let inputs: Vec<_> = keys.iter().filter(is_input).map(|key| key.name).collect();
        let is_live = |name: &&str| self.live.text(name).is_some();
        let update: Vec<_> = inputs.iter().copied().filter(is_live).collect();
        let mut options = String::new();
        if !update.is_empty() {
            options.push_str(&format!(" --update {}", update.join(",")));
        }
        let has_foreign_manager = |key: &&Key| !self.live.foreign_managers(key.name).is_empty();
        settlement.force_conflicts |= keys.iter().any(has_foreign_manager);
        self.case
            .apply_with(&inputs, &format!("{options}{settlement}"))
    }
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
        lines.replace("k8s-bootstrap -n brain --context c --apply", "APPLY")
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
        insta::assert_snapshot!(advice(Id::SecretKeys, |_| text("")), @r#"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN must not be empty
              APPLY
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY must not be empty
              APPLY
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS must not be empty
              see docs/checks.md#secretvalue
        POSTGRES_URL: POSTGRES_URL must not be empty
              POSTGRES_URL="$POSTGRES_URL" APPLY --update POSTGRES_URL
        LLM_API_KEY: does not fail
        LLM_API_BASE: does not fail
        LLM_EMBED_MODEL: LLM_EMBED_MODEL must not be empty
              LLM_EMBED_MODEL="$LLM_EMBED_MODEL" APPLY --update LLM_EMBED_MODEL
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS must not be empty
              APPLY
        API_KEYS: API_KEYS must not be empty
              APPLY
        LOG_LEVEL: does not fail
        ANTHROPIC_API_KEY: ANTHROPIC_API_KEY must not be empty
              ANTHROPIC_API_KEY="$ANTHROPIC_API_KEY" APPLY --update ANTHROPIC_API_KEY
        GITHUB_TOKEN: does not fail
        "#);
    }

    #[test]
    fn every_value_that_is_not_text_has_a_hint() {
        let bytes = |_: &Key| Some(LiveValue::decode("//79".to_owned()));
        insta::assert_snapshot!(advice(Id::SecretValue, bytes), @r###"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        POSTGRES_URL: POSTGRES_URL is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        LLM_API_KEY: LLM_API_KEY is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        LLM_API_BASE: LLM_API_BASE is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        LLM_EMBED_MODEL: LLM_EMBED_MODEL is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        API_KEYS: API_KEYS is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        LOG_LEVEL: LOG_LEVEL is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        ANTHROPIC_API_KEY: ANTHROPIC_API_KEY is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        GITHUB_TOKEN: GITHUB_TOKEN is not text (base64 of UTF-8)
              see docs/checks.md#secretvalue
        "###);
    }

    #[test]
    fn every_placeholder_has_a_hint() {
        insta::assert_snapshot!(advice(Id::SecretValue, |_| text("changeme")), @r###"
        KB_ROUTER_TOKEN: KB_ROUTER_TOKEN is a placeholder
              see docs/checks.md#secretvalue
        EMBEDDINGS_API_KEY: EMBEDDINGS_API_KEY is a placeholder
              see docs/checks.md#secretvalue
        KB_ROUTER_TOKENS: KB_ROUTER_TOKENS contains a placeholder
              see docs/checks.md#secretvalue
        POSTGRES_URL: POSTGRES_URL is a placeholder
              POSTGRES_URL="$POSTGRES_URL" APPLY --update POSTGRES_URL
        LLM_API_KEY: LLM_API_KEY is a placeholder
              LLM_API_KEY="$LLM_API_KEY" APPLY --update LLM_API_KEY
        LLM_API_BASE: LLM_API_BASE is a placeholder
              LLM_API_BASE="$LLM_API_BASE" APPLY --update LLM_API_BASE
        LLM_EMBED_MODEL: LLM_EMBED_MODEL is a placeholder
              LLM_EMBED_MODEL="$LLM_EMBED_MODEL" APPLY --update LLM_EMBED_MODEL
        EMBEDDINGS_API_KEYS: EMBEDDINGS_API_KEYS contains a placeholder
              see docs/checks.md#secretvalue
        API_KEYS: API_KEYS contains a placeholder
              see docs/checks.md#secretvalue
        LOG_LEVEL: LOG_LEVEL is a placeholder
              see docs/checks.md#secretvalue
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
        let missing = checks.iter().find(|check| check.id == Id::SecretKeys);
        assert_eq!(missing.unwrap().hint, "see docs/checks.md#secretpresent");
    }
}
