//! What the checks judge: the snapshot of the cluster, the tokens file, and the options of the run.

use super::check::{Check, Id};
use super::words::some_of;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::NamespaceState;
use crate::domain::cluster::snapshot::{ClusterSnapshot, CopyRef, Denied, FileFacts, FileState};
use crate::domain::eso::objects::StoreKind;
use crate::domain::hint_context::HintContext;
use crate::domain::plan::Settlement;
use crate::domain::rotation::{BadState, Rotation};
use crate::domain::table::{Bundle, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::{PerToken, Token, TokenName};
use std::cell::OnceCell;
use std::collections::BTreeMap;

/// Everything that the checks judge.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub file: &'a FileFacts,
    pub cluster: &'a ClusterSnapshot,
    pub reach: &'a HintContext,
    /// The open rotation.
    pub rotation: Result<Option<Rotation>, BadState>,
    /// When the open rotation started, in seconds since 1970.
    pub since: Option<i64>,
    /// In seconds.
    pub max_age: i64,
    /// In seconds.
    pub max_overlap: i64,
    /// True with `--live`: the services were probed.
    pub live: bool,
    /// The Secrets of `--copy`.
    pub copies: &'a [CopyRef],
    /// A cache of the options that resolve disagreements.
    pub settlement: OnceCell<Settlement>,
}

impl<'a> Case<'a> {
    /// The tokens of the home namespace, which its clients send; `None` where empty or not read.
    pub(super) fn home_tokens(&self) -> PerToken<Option<SecretValue>> {
        let router = self.cluster.home_place().live(ROUTER.secret);
        PerToken::from_fn(|name| {
            let value = router?.text(name.as_str())?;
            (!value.is_empty()).then(|| value.clone())
        })
    }

    /// A token of the tokens file.
    pub(super) fn filed_token(&self, name: TokenName) -> Option<Token> {
        match &self.file.state {
            FileState::Read { tokens, .. } => tokens.get(name).clone(),
            FileState::Absent | FileState::Unusable(_) => None,
        }
    }

    /// True if the home namespace has every token.
    pub(super) fn can_recover(&self) -> bool {
        self.home_tokens().iter().all(|(_, token)| token.is_some())
    }

    /// The command that completes the tokens file: from the cluster, or by minting.
    pub(super) fn complete_file(&self) -> String {
        if self.can_recover() {
            format!("{} tokens recover --apply", self.reach.program)
        } else {
            self.apply_with(&[], "")
        }
    }

    /// A check that is skipped because a read failed: a permission is missing, or the server did not
    /// answer.
    pub(super) fn denied(&self, id: Id, denied: &Denied) -> Check {
        let namespace = denied.namespace.as_ref();
        Check {
            namespace: namespace.map(ToString::to_string).unwrap_or_default(),
            ..self.skip_for(id, format!("not checked: {denied}"), denied)
        }
    }

    /// A Role helps only if a permission is missing.
    pub(super) fn skip_for(&self, id: Id, message: String, denied: &Denied) -> Check {
        Check::skip(id, message).hint(match denied.why {
            None => self.role_hint(),
            Some(_) => Id::ClusterReachable.docs_link(),
        })
    }

    /// One skipped check for each of these permissions that is missing in some namespace.
    pub(super) fn denials(&self, id: Id, verb: &str, resources: &[&str]) -> Vec<Check> {
        let is_meant =
            |denied: &&Denied| denied.verb == verb && resources.contains(&denied.resource.as_str());
        self.skips(id, self.cluster.denied.iter().filter(is_meant))
    }

    /// One skipped check for each of these permissions, with all namespaces that lack it.
    pub(super) fn skips<'d>(
        &self,
        id: Id,
        denied: impl IntoIterator<Item = &'d Denied>,
    ) -> Vec<Check> {
        let mut places = BTreeMap::<_, Vec<_>>::new();
        for one in denied {
            let permission = (one.verb, one.resource.as_str(), one.why.as_deref());
            places.entry(permission).or_default().push(one);
        }
        let skip = |((verb, resource, why), missing): ((_, _, _), Vec<&Denied>)| match missing
            .as_slice()
        {
            [one] => self.denied(id, one),
            many => {
                let places = many.iter().filter_map(|denied| denied.namespace.as_ref());
                let places = some_of(&places.collect::<Vec<_>>());
                let message = match why {
                    Some(why) => format!("not checked in {places}: {why}"),
                    None => format!("not checked: you may not {verb} {resource} in {places}"),
                };
                self.skip_for(id, message, many[0])
            }
        };
        places.into_iter().map(skip).collect()
    }

    /// The missing permission because of which a Secret was not read.
    pub(super) fn unread(&self, namespace: &Namespace, secret: &str) -> Option<&'a Denied> {
        self.cluster.denied.iter().find(|denied| {
            denied.verb == "get"
                && denied.namespace.as_ref() == Some(namespace)
                && denied.resource.strip_prefix("secrets/") == Some(secret)
        })
    }

    /// The skipped check if a Secret of the home namespace may not be read.
    pub(super) fn unread_at_home(&self, id: Id, bundle: &Bundle) -> Option<Check> {
        let denied = self.unread(&self.cluster.home, bundle.secret)?;
        Some(self.denied(id, denied))
    }

    /// The command with which an administrator grants the missing permissions.
    pub fn role_hint(&self) -> String {
        let live = if self.live { " --live" } else { "" };
        let copies = self.copies.iter().map(|copy| format!(" --copy {copy}"));
        let stores = self.cluster.path2.iter().flat_map(|it| it.stores.keys());
        let mut kinds = stores.map(|store| store.at.kind);
        let cluster_store = if kinds.any(|kind| kind == StoreKind::ClusterSecretStore) {
            " --cluster-store"
        } else {
            ""
        };
        format!(
            "{} rbac verify{live}{cluster_store}{}{} --service-account \"$NAMESPACE:$NAME\" | {} apply -f -",
            self.reach.program,
            copies.collect::<String>(),
            self.reach.fleet,
            self.reach.kubectl
        )
    }

    /// `--apply` with inputs from shell variables: `KEY="$KEY" k8s-bootstrap --apply`. If `--apply`
    /// would refuse, it is the command to run before; the next `verify` shows the next one.
    pub(super) fn apply_with(&self, inputs: &[&str], options: &str) -> String {
        if let Some(first) = self.before_apply() {
            return first;
        }
        let variables: String = inputs
            .iter()
            .map(|key| format!("{key}=\"${key}\" "))
            .collect();
        let create = match self.cluster.home_place().state {
            NamespaceState::Absent => " --create-namespace",
            _ => "",
        };
        format!("{variables}{}{create}{options}", self.reach.apply)
    }

    /// `--apply` refuses while a rotation is open, a namespace is being deleted, or a fleet namespace
    /// does not exist.
    fn before_apply(&self) -> Option<String> {
        if let Ok(Some(_)) = self.rotation {
            return Some(self.reach.carry_on());
        }
        let kubectl = &self.reach.kubectl;
        let mut places = self.cluster.places.iter();
        places.find_map(|(name, place)| match place.state {
            NamespaceState::Terminating => Some(format!(
                "{kubectl} wait --for=delete namespace/{name} --timeout=5m"
            )),
            NamespaceState::Absent if *name != self.cluster.home => {
                Some(format!("{kubectl} create namespace {name}"))
            }
            _ => None,
        })
    }

    /// A kubectl command in a namespace.
    pub(super) fn kubectl(&self, namespace: &Namespace, arguments: &str) -> String {
        format!("{} -n {namespace} {arguments}", self.reach.kubectl)
    }
}
