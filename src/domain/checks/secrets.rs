//! `secret.*` and `owner.secret`: each Secret on its own, its keys, its values and its owner.

use super::case::Case;
use super::check::{Check, Id};
use super::{rotation, workloads};
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::observed_secret::{LiveSecret, OPAQUE, Observed};
use crate::domain::cluster::owner::{Manager, Owner, OwnerKind, manager_of};
use crate::domain::cluster::snapshot::{Denied, NamespaceSnapshot};
use crate::domain::cluster::workload::Workload;
use crate::domain::table::{BUNDLES, Bundle, InputRule, Key, Origin, Presence, ROUTER};
use crate::domain::values::defects;
use crate::domain::values::secret_value::SecretValue;
use crate::domain::values::token::Token;

pub(super) fn checks(case: &Case<'_>) -> Vec<Check> {
    let home = &case.cluster.home;
    let place = case.cluster.home_place();
    let mut checks: Vec<Check> = BUNDLES
        .iter()
        .flat_map(|bundle| match place.secrets.get(bundle.secret) {
            None => forbidden(case, bundle),
            Some(observed) => match SeenSecret::of(case, home, bundle, observed) {
                None => vec![absent(case, bundle, observed)],
                Some(seen) => seen.checks(),
            },
        })
        .collect();
    let skipped: Vec<_> = ALL
        .into_iter()
        .filter(|id| checks.iter().all(|check| check.id != *id))
        .map(|id| Check::skip(id, "no Secret found"))
        .collect();
    checks.extend(skipped);
    for (namespace, place) in case.cluster.fleet() {
        checks.extend(of_fleet(case, namespace, place));
    }
    checks
}

/// The checks of a Secret.
const ALL: [Id; 5] = [
    Id::SecretPresent,
    Id::SecretKeys,
    Id::SecretValue,
    Id::SecretExposed,
    Id::OwnerSecret,
];

fn forbidden(case: &Case<'_>, bundle: &Bundle) -> Vec<Check> {
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
        Check::fail(id, format!("not found; {owner} should create it")).see(Id::OwnerSecret)
    } else if let Some(reader) = reader {
        let (kind, name) = (reader.kind.as_str(), &reader.name);
        let message = format!("not found; {kind} {name} does not start without it");
        Check::fail(id, message).hint(case.apply_with(&inputs, ""))
    } else if inputs.is_empty() {
        Check::fail(id, "not found").hint(case.apply_with(&inputs, ""))
    } else {
        Check::skip(id, "not found; no workload needs it")
    };
    present.at(home, "Secret", bundle.secret)
}

/// True if the pods of a workload do not start without a Secret.
fn needs(workload: &Workload, secret: &str) -> bool {
    let references = workload.spec.references();
    references
        .iter()
        .any(|reference| reference.secret == secret && !reference.optional)
}

/// The checks of a router Secret in the fleet, without those of its tokens.
fn of_fleet(case: &Case<'_>, namespace: &Namespace, place: &NamespaceSnapshot) -> Vec<Check> {
    let observed = place.secrets.get(ROUTER.secret);
    let seen = observed.and_then(|observed| SeenSecret::of(case, namespace, &ROUTER, observed));
    let Some(seen) = seen else {
        return Vec::new();
    };
    let exposed = seen.live.exposed.then(|| seen.exposed());
    let owned = seen.owner.is_some().then(|| seen.owned());
    exposed.into_iter().chain(owned).collect()
}

/// A Secret that was read.
pub(super) struct SeenSecret<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) namespace: &'a Namespace,
    pub(super) bundle: &'static Bundle,
    pub(super) live: &'a LiveSecret,
    pub(super) owner: Option<&'a Owner>,
}

impl<'a> SeenSecret<'a> {
    /// `None` if the Secret does not exist.
    fn of(
        case: &'a Case<'a>,
        namespace: &'a Namespace,
        bundle: &'static Bundle,
        observed: &'a Observed,
    ) -> Option<Self> {
        Some(Self {
            case,
            namespace,
            bundle,
            live: observed.live.as_ref()?,
            owner: observed.owner.as_ref(),
        })
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.present()];
        let keys = [self.missing(), self.empty(), self.unknown()];
        checks.extend(self.all_or_pass(
            Id::SecretKeys,
            keys.into_iter().flatten().collect(),
            "it has all keys of the table",
        ));
        let malformed: Vec<_> = self
            .bundle
            .keys
            .iter()
            .filter_map(|key| self.malformed(key))
            .collect();
        checks.extend(self.all_or_pass(
            Id::SecretValue,
            malformed,
            "no value is a placeholder or malformed",
        ));
        checks.push(if self.live.exposed {
            self.exposed()
        } else {
            let message = "no annotation holds its values";
            self.at(Check::pass(Id::SecretExposed, message))
        });
        checks.push(self.owned());
        checks
    }

    fn at(&self, check: Check) -> Check {
        check.at(self.namespace, "Secret", self.bundle.secret)
    }

    fn all_or_pass(&self, id: Id, found: Vec<Check>, fine: &str) -> Vec<Check> {
        if found.is_empty() {
            vec![self.at(Check::pass(id, fine))]
        } else {
            found.into_iter().map(|check| self.at(check)).collect()
        }
    }

    fn present(&self) -> Check {
        let type_ = &self.live.type_;
        if type_ == OPAQUE {
            return self.at(Check::pass(Id::SecretPresent, "it exists"));
        }
        // Pods can read it; --apply cannot change it.
        let message = format!("its type is {type_}; --apply needs {OPAQUE}");
        self.at(Check::warn(Id::SecretPresent, message).unless_owned(self.owner))
    }

    fn missing(&self) -> Option<Check> {
        let all_six = self
            .owner
            .is_some_and(|owner| owner.kind == OwnerKind::ExternalSecret);
        let expected = |key: &&Key| match key.origin {
            Origin::Token(_) | Origin::TokenList(_, Presence::Always) => true,
            Origin::TokenList(..) => false,
            // A store entry has this field, too.
            Origin::Input(InputRule::EnvFileOnly) => all_six,
            Origin::Input(_) => true,
        };
        let missing: Vec<_> = self
            .bundle
            .keys
            .iter()
            .filter(expected)
            .filter(|key| key.is_missing(|name| self.live.data.contains_key(name)))
            .collect();
        (!missing.is_empty()).then(|| {
            let message = format!("missing keys: {}", names(&missing));
            Check::fail(Id::SecretKeys, message).hint(self.fill(&missing))
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
            let message = format!("{} must not be empty", names(&empty));
            Check::fail(Id::SecretKeys, message).hint(self.fill(&empty))
        })
    }

    fn unknown(&self) -> Option<Check> {
        let known = |name: &str| {
            let of_table = self.bundle.keys.iter().any(|key| key.name == name);
            of_table || rotation::is_rotation_key(self.case, self.bundle, name)
        };
        let unknown: Vec<_> = self
            .live
            .data
            .keys()
            .map(String::as_str)
            .filter(|name| !known(name))
            .collect();
        (!unknown.is_empty()).then(|| {
            let message = format!("unknown keys: {}", unknown.join(", "));
            Check::warn(Id::SecretKeys, message)
        })
    }

    fn malformed(&self, key: &Key) -> Option<Check> {
        let live = self.live.data.get(key.name)?;
        let defect = match &live.text {
            None => "is not text (base64 of UTF-8)".to_owned(),
            Some(value) => defect(key, value)?,
        };
        let message = format!("{} {defect}", key.name);
        Some(Check::fail(Id::SecretValue, message).hint(self.renew(key)))
    }

    fn exposed(&self) -> Check {
        let name = self.bundle.secret;
        self.at(Check::warn(
            Id::SecretExposed,
            "the annotation kubectl.kubernetes.io/last-applied-configuration holds its values in \
             plain text",
        ))
        .hint(self.case.kubectl(
            self.namespace,
            &format!("annotate secret {name} kubectl.kubernetes.io/last-applied-configuration-"),
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
            Some(owner) => format!("owned by {owner}: {}", owner.instead()),
            None if foreign.len() == 1 => format!(
                "no owner; the field manager {} owns some of its keys",
                foreign[0]
            ),
            None if !foreign.is_empty() => format!(
                "no owner; the field managers {} own some of its keys",
                foreign.join(", ")
            ),
            None if !managers(Manager::Ours).is_empty() => "created by k8s-bootstrap".to_owned(),
            None => "created with kubectl".to_owned(),
        };
        let claims = self.case.cluster.denied.iter().find(|denied| {
            denied.resource == "externalsecrets"
                && denied.namespace.as_ref() == Some(self.namespace)
        });
        self.at(match claims {
            // An ExternalSecret that is not visible may own it.
            Some(denied) if self.owner.is_none() => self.case.denied(Id::OwnerSecret, denied),
            _ => Check::pass(Id::OwnerSecret, message),
        })
    }
}

/// What is wrong with a value of a key.
fn defect(key: &Key, value: &SecretValue) -> Option<String> {
    match key.origin {
        _ if value.is_empty() => None,
        Origin::Token(_) => defects::defect(key.name, value)
            .map(str::to_owned)
            .or_else(|| Token::parse(value).err().map(|why| why.to_string())),
        Origin::TokenList(..) => defects::defect_of_list(value).map(str::to_owned),
        Origin::Input(_) => defects::defect(key.name, value).map(str::to_owned),
    }
}

fn names(keys: &[&Key]) -> String {
    let names: Vec<_> = keys.iter().map(|key| key.name).collect();
    names.join(", ")
}
