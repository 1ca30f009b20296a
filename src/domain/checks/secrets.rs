//! Each Secret on its own: is it there, has it the right keys, can its values be right, does
//! anything else hold them, whose is it.

use super::case::Case;
use super::check::{Check, Id};
use super::{rotation, values, workloads};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::{LiveSecret, OPAQUE, Observed};
use crate::domain::cluster::owner::{Manager, Owner, OwnerKind, manager_of};
use crate::domain::cluster::snapshot::{Denied, NamespaceSnapshot};
use crate::domain::cluster::workload::Workload;
use crate::domain::table::{BUNDLES, Bundle, InputRule, Key, Origin, Presence, ROUTER};
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::Token;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let home = &case.cluster.home;
    let place = case.cluster.home_place();
    let mut checks: Vec<Check> = BUNDLES
        .iter()
        .flat_map(|bundle| match place.secrets.get(bundle.secret) {
            None => unseen(case, bundle),
            Some(observed) => match &observed.live {
                None => vec![absent(case, bundle, observed)],
                Some(live) => {
                    let seen = SeenSecret {
                        case,
                        namespace: home,
                        bundle,
                        live,
                        owner: observed.owner.as_ref(),
                    };
                    seen.checks()
                }
            },
        })
        .collect();
    let none = ALL
        .into_iter()
        .filter(|id| checks.iter().all(|check| check.id != *id));
    let none: Vec<_> = none
        .map(|id| Check::skip(id, "there is no Secret to look at"))
        .collect();
    checks.extend(none);
    for (namespace, place) in case.cluster.fleet() {
        checks.extend(of_fleet(case, namespace, place));
    }
    checks
}

/// What a Secret is checked for.
const ALL: [Id; 5] = [
    Id::SecretPresent,
    Id::SecretKeys,
    Id::SecretValue,
    Id::SecretExposed,
    Id::OwnerSecret,
];

fn unseen(case: &Case<'_>, bundle: &Bundle) -> Vec<Check> {
    let home = &case.cluster.home;
    let denied = Denied::secret(home, bundle.secret);
    let skip = |id| case.denied(id, &denied).at(home, "Secret", bundle.secret);
    ALL.map(skip).to_vec()
}

fn absent(case: &Case<'_>, bundle: &'static Bundle, observed: &Observed) -> Check {
    let home = &case.cluster.home;
    let id = Id::SecretPresent;
    let reader = workloads::readers(case.cluster.home_place())
        .into_iter()
        .find(|workload| needs(workload, bundle.secret));
    let inputs = bundle.required_inputs();
    let present = if let Some(owner) = &observed.owner {
        Check::fail(
            id,
            format!("it does not exist, and {owner} is to make it"),
            case.ask_owner(home, owner),
        )
    } else if let Some(reader) = reader {
        Check::fail(
            id,
            format!(
                "it does not exist, and {} {} does not start without it",
                reader.kind.as_str(),
                reader.name
            ),
            case.apply_with(&inputs, ""),
        )
    } else if inputs.is_empty() {
        Check::fail(id, "it does not exist", case.apply_with(&inputs, ""))
    } else {
        Check::skip(id, "it does not exist, and nothing that was seen needs it")
    };
    present.at(home, "Secret", bundle.secret)
}

/// Tells whether the pods of a workload do not start without a Secret.
fn needs(workload: &Workload, secret: &str) -> bool {
    let references = workload.spec.references();
    references
        .iter()
        .any(|reference| reference.secret == secret && !reference.optional)
}

/// What the fleet's router Secret is checked for beside its tokens.
fn of_fleet(case: &Case<'_>, namespace: &Namespace, place: &NamespaceSnapshot) -> Vec<Check> {
    let Some(observed) = place.secrets.get(ROUTER.secret) else {
        return Vec::new();
    };
    let Some(live) = &observed.live else {
        return Vec::new();
    };
    let seen = SeenSecret {
        case,
        namespace,
        bundle: &ROUTER,
        live,
        owner: observed.owner.as_ref(),
    };
    let exposed = live.exposed.then(|| seen.exposed());
    let owned = seen.owner.is_some().then(|| seen.owned());
    exposed.into_iter().chain(owned).collect()
}

/// A Secret that is there.
pub(super) struct SeenSecret<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) namespace: &'a Namespace,
    pub(super) bundle: &'static Bundle,
    pub(super) live: &'a LiveSecret,
    pub(super) owner: Option<&'a Owner>,
}

impl SeenSecret<'_> {
    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.present()];
        let keys = [self.missing(), self.empty(), self.unknown()];
        checks.extend(self.all_or_pass(
            Id::SecretKeys,
            keys.into_iter().flatten().collect(),
            "it has the keys that it should have",
        ));
        let odd: Vec<_> = self
            .bundle
            .keys
            .iter()
            .filter_map(|key| self.odd(key))
            .collect();
        checks.extend(self.all_or_pass(
            Id::SecretValue,
            odd,
            "no value is a placeholder or in a wrong form",
        ));
        checks.push(match self.live.exposed {
            true => self.exposed(),
            false => self.at(Check::pass(
                Id::SecretExposed,
                "no annotation holds its values",
            )),
        });
        checks.push(self.owned());
        checks
    }

    fn at(&self, check: Check) -> Check {
        check.at(self.namespace, "Secret", self.bundle.secret)
    }

    fn all_or_pass(&self, id: Id, found: Vec<Check>, fine: &str) -> Vec<Check> {
        match found.is_empty() {
            true => vec![self.at(Check::pass(id, fine))],
            false => found.into_iter().map(|check| self.at(check)).collect(),
        }
    }

    fn present(&self) -> Check {
        let type_ = &self.live.type_;
        self.at(match type_ == OPAQUE {
            true => Check::pass(Id::SecretPresent, "it is there"),
            // Pods can read it; --apply cannot change it.
            false => Check::warn(
                Id::SecretPresent,
                format!("it is of type {type_}, and --apply needs {OPAQUE}"),
                self.retype(),
            ),
        })
    }

    fn missing(&self) -> Option<Check> {
        let all_six = self
            .owner
            .is_some_and(|owner| owner.kind == OwnerKind::ExternalSecret);
        let expected = |key: &&Key| match key.origin {
            Origin::Token(_) | Origin::TokenList(_, Presence::Always) => true,
            Origin::TokenList(..) => false,
            // The store's bundle has it.
            Origin::Input(InputRule::EnvFileOnly) => all_six,
            Origin::Input(_) => true,
        };
        let missing: Vec<_> = self
            .bundle
            .keys
            .iter()
            .filter(expected)
            .filter(|key| !self.live.data.contains_key(key.name))
            .collect();
        (!missing.is_empty()).then(|| {
            Check::fail(
                Id::SecretKeys,
                format!("it lacks {}", names(&missing)),
                self.fill(&missing),
            )
        })
    }

    fn empty(&self) -> Option<Check> {
        let is_empty = |key: &&Key| {
            let value = self.live.text(key.name);
            match key.origin {
                Origin::Input(InputRule::Default("") | InputRule::EnvFileOnly) => false,
                Origin::TokenList(..) => value.is_some_and(|list| list.entries().count() == 0),
                Origin::Token(_) | Origin::Input(_) => value.is_some_and(SecretValue::is_empty),
            }
        };
        let empty: Vec<_> = self.bundle.keys.iter().filter(is_empty).collect();
        (!empty.is_empty()).then(|| {
            Check::fail(
                Id::SecretKeys,
                format!("{} must not be empty", names(&empty)),
                self.fill(&empty),
            )
        })
    }

    fn unknown(&self) -> Option<Check> {
        let known = |name: &str| {
            let of_table = self.bundle.keys.iter().any(|key| key.name == name);
            of_table || rotation::needs(self.case, self.bundle, name)
        };
        let unknown: Vec<_> = self
            .live
            .data
            .keys()
            .map(String::as_str)
            .filter(|name| !known(name))
            .collect();
        (!unknown.is_empty()).then(|| {
            let message = format!("it has unknown keys: {}", unknown.join(", "));
            Check::warn(Id::SecretKeys, message, self.remove(&unknown))
        })
    }

    fn odd(&self, key: &Key) -> Option<Check> {
        let live = self.live.data.get(key.name)?;
        let Some(value) = &live.text else {
            let what = format!("{} is not text (base64 of UTF-8)", key.name);
            return Some(Check::fail(Id::SecretValue, what, self.renew(key)));
        };
        let what = match key.origin {
            _ if value.is_empty() => None,
            Origin::Token(_) => values::odd(value)
                .map(str::to_owned)
                .or_else(|| Token::parse(value).err().map(|why| why.to_string())),
            Origin::TokenList(..) => values::odd_entry(value).map(str::to_owned),
            Origin::Input(_) => {
                let url = (key.name == POSTGRES_URL)
                    .then(|| values::odd_postgres_url(value))
                    .flatten();
                values::odd(value).or(url).map(str::to_owned)
            }
        }?;
        Some(Check::fail(
            Id::SecretValue,
            format!("{} {what}", key.name),
            self.renew(key),
        ))
    }

    fn exposed(&self) -> Check {
        let name = self.bundle.secret;
        self.at(Check::warn(
            Id::SecretExposed,
            "the annotation kubectl.kubernetes.io/last-applied-configuration holds its values in \
             the clear",
            self.case.kubectl(
                self.namespace,
                &format!(
                    "annotate secret {name} kubectl.kubernetes.io/last-applied-configuration-"
                ),
            ),
        ))
    }

    fn owned(&self) -> Check {
        let managers = |wanted: Manager| {
            let of_data = self
                .live
                .managed
                .iter()
                .filter(|entry| !entry.data.is_empty());
            let mut names: Vec<_> = of_data
                .filter(|entry| manager_of(&entry.manager) == wanted)
                .map(|entry| entry.manager.as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let foreign = managers(Manager::Foreign);
        let message = match self.owner {
            Some(owner) => format!("it belongs to {owner}: {}", owner.instead()),
            None if foreign.len() == 1 => format!(
                "nobody owns it; the field manager {} has keys of it",
                foreign[0]
            ),
            None if !foreign.is_empty() => format!(
                "nobody owns it; the field managers {} have keys of it",
                foreign.join(", ")
            ),
            None if !managers(Manager::Ours).is_empty() => "it is k8s-bootstrap's own".to_owned(),
            None => "a person made it with kubectl".to_owned(),
        };
        let claims = self.case.cluster.denied.iter().find(|denied| {
            denied.resource == "externalsecrets"
                && denied.namespace.as_ref() == Some(self.namespace)
        });
        self.at(match claims {
            // One of them may be about to make it.
            Some(denied) if self.owner.is_none() => self.case.denied(Id::OwnerSecret, denied),
            _ => Check::pass(Id::OwnerSecret, message),
        })
    }
}

/// The input that has a form of its own.
const POSTGRES_URL: &str = "POSTGRES_URL";

/// The names of keys, for a sentence.
fn names(keys: &[&Key]) -> String {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    names.join(", ")
}
