//! Helm values files: charts carry no credentials, and an ExternalSecret that they enable has to
//! know its store and the Secret that it makes.
//!
//! A message holds no text of a file but names that are known beforehand.

use super::check::{Check, Id};
use super::credentials::{Credential, What, credentials};
use super::words::some_of;
use crate::domain::cluster::snapshot::{FilePath, ValuesFile};
use crate::domain::hint_context::HintContext;
use crate::domain::table::{self, AGENTICORE, BUNDLES, Bundle, EMBEDDINGS, Origin, ROUTER};
use crate::domain::values_file::{Map, Node, Values, canonical};
use std::collections::BTreeSet;

/// The charts that make an ExternalSecret, and the Secret that their pods read.
static CHARTS: [(&str, &Bundle); 3] = [
    ("embeddings", &EMBEDDINGS),
    ("brain-api", &ROUTER),
    ("brain-keeper", &AGENTICORE),
];

/// No check without a file.
pub(super) fn checks(files: &[ValuesFile], reach: &HintContext) -> Vec<Check> {
    if files.is_empty() {
        return Vec::new();
    }
    let read: Vec<_> = files.iter().map(Looked::at).collect();
    let parsed: Vec<_> = read.iter().filter_map(Looked::parsed).collect();
    let broken = read.iter().filter(|file| file.parsed().is_some());
    let broken: Vec<_> = broken.map(|file| &file.path.shown).collect();
    let unseen = |id| {
        let skip = || Check::skip(id, format!("not looked at in full: {}", some_of(&broken)));
        (!broken.is_empty()).then(skip)
    };
    let judged = |id, find: &dyn Fn(&Looked<'_>) -> Vec<Check>, good| {
        let found = read.iter().flat_map(find).chain(unseen(id));
        or_pass(id, found.collect(), good)
    };
    let credentials = |file: &Looked<'_>| file.credentials(reach);
    [
        or_pass(Id::ValuesParsed, parsed, "each values file is understood"),
        judged(
            Id::ValuesCredentials,
            &credentials,
            "no credential stands in the values files",
        ),
        judged(
            Id::ValuesStore,
            &|file| file.stores(),
            "each ExternalSecret that is enabled has a store and a path",
        ),
        judged(
            Id::ValuesTarget,
            &|file| file.targets(),
            "each ExternalSecret makes the Secret that the pods read",
        ),
    ]
    .concat()
}

/// What was found; or, where that is nothing, that all is well.
fn or_pass(id: Id, found: Vec<Check>, good: &str) -> Vec<Check> {
    match found.is_empty() {
        true => vec![Check::pass(id, good)],
        false => found,
    }
}

/// A file that was looked at.
struct Looked<'a> {
    path: &'a FilePath,
    /// What is in it; or why it could not be read.
    values: Result<Values, &'a str>,
}

impl<'a> Looked<'a> {
    fn at(file: &'a ValuesFile) -> Self {
        Self {
            path: &file.path,
            values: match &file.text {
                Ok(text) => Ok(Values::parse(text)),
                Err(why) => Err(why),
            },
        }
    }

    /// What is wrong with the file itself.
    fn parsed(&self) -> Option<Check> {
        let shown = &self.path.shown;
        let (message, hint) = match &self.values {
            Err(why) => (
                format!("cannot read {shown}: {why}"),
                format!("ls -la {}", self.path.folder),
            ),
            Ok(values) => {
                let fault = values.fault?;
                let (line, column) = (fault.line, fault.column);
                (
                    format!("{shown}:{line}:{column}: {}", fault.kind),
                    self.edit(),
                )
            }
        };
        Some(Check::fail(Id::ValuesParsed, message, hint))
    }

    fn edit(&self) -> String {
        format!("${{EDITOR:-vi}} {}", self.path.quoted)
    }

    fn fail(&self, id: Id, line: usize, what: &str) -> Check {
        Check::fail(
            id,
            format!("{}:{line}: {what}", self.path.shown),
            self.edit(),
        )
    }

    fn credentials(&self, reach: &HintContext) -> Vec<Check> {
        let Ok(values) = &self.values else {
            return Vec::new();
        };
        let check = |Credential { line, what }| {
            let (what, then) = match what {
                What::Key(name) => (format!("a value of {name}"), supply(name, reach)),
                What::Other(what) => (what.to_owned(), None),
            };
            let what = format!(
                "{what} stands there: take it out, it belongs into a Secret or the store; rotate \
                 it if the file was ever pushed"
            );
            let check = self.fail(Id::ValuesCredentials, line, &what);
            match then {
                Some(then) => check.hint(format!("{} && {then}", self.edit())),
                None => check,
            }
        };
        credentials(values).into_iter().map(check).collect()
    }

    fn stores(&self) -> Vec<Check> {
        let missing = |found: &ExternalSecret<'_>| {
            let enabled = found
                .map
                .text("enabled")
                .filter(|enabled| enabled.is_true())?;
            let fields = ["storeName", "secretPath"];
            let missing = fields
                .into_iter()
                .filter(|field| found.map.text(field).is_none());
            let missing: Vec<_> = missing.collect();
            (!missing.is_empty()).then(|| {
                let missing = missing.join(" and without ");
                (
                    enabled.line,
                    format!("externalSecret is enabled without {missing}"),
                )
            })
        };
        self.each(Id::ValuesStore, missing)
    }

    fn targets(&self) -> Vec<Check> {
        let wrong = |found: &ExternalSecret<'_>| {
            let target = found.map.text("targetSecretName")?;
            let (good, expected) = match found.bundle {
                Some(bundle) => (target.is(bundle.secret), bundle.secret.to_owned()),
                None => {
                    let names = BUNDLES.map(|bundle| bundle.secret);
                    let good = names.iter().any(|name| target.is(name));
                    (good, format!("one of {}", names.join(", ")))
                }
            };
            let what = format!("targetSecretName is not the Secret that the pods read: {expected}");
            (!good).then_some((target.line, what))
        };
        self.each(Id::ValuesTarget, wrong)
    }

    /// One check for each place where an ExternalSecret is wrong; an alias repeats a place.
    fn each(
        &self,
        id: Id,
        wrong: impl Fn(&ExternalSecret<'_>) -> Option<(usize, String)>,
    ) -> Vec<Check> {
        let documents = self.values.iter().flat_map(|values| &values.documents);
        let mut found = Vec::new();
        for root in documents {
            external_secrets(root, None, &mut found);
        }
        let places: BTreeSet<_> = found.iter().filter_map(wrong).collect();
        let check = |(line, what): (usize, String)| self.fail(id, line, &what);
        places.into_iter().map(check).collect()
    }
}

/// What brings a key of the table where it belongs: its value is a variable of the shell, or is
/// minted.
fn supply(name: &str, reach: &HintContext) -> Option<String> {
    let key = table::credentials().find(|key| key.name == name)?;
    let apply = &reach.apply;
    Some(match key.origin {
        Origin::Input(_) => format!("{name}=\"${name}\" {apply}"),
        Origin::Token(_) => apply.clone(),
        Origin::TokenList(_, table::Presence::OnRequest) => format!("{apply} --with-api-keys"),
        Origin::TokenList(..) => apply.clone(),
    })
}

/// The part of a chart's values that is about its ExternalSecret.
struct ExternalSecret<'a> {
    map: &'a Map,
    /// What the pods of the chart read; `None` where nothing says which chart it is.
    bundle: Option<&'static Bundle>,
}

/// Finds them all; umbrella charts have those of their subcharts in them.
fn external_secrets<'a>(
    node: &'a Node,
    bundle: Option<&'static Bundle>,
    found: &mut Vec<ExternalSecret<'a>>,
) {
    match node {
        Node::Scalar(_) => {}
        Node::List(items) => {
            for item in items {
                external_secrets(item, bundle, found);
            }
        }
        Node::Map(map) => {
            for (key, value) in &map.0 {
                let name = key.scalar();
                if let Node::Map(map) = value
                    && name.is_some_and(|name| name.is("externalSecret"))
                {
                    found.push(ExternalSecret { map, bundle });
                }
                let chart = name.and_then(|name| chart(&name.canonical()));
                external_secrets(value, chart.or(bundle), found);
            }
        }
    }
}

/// The bundle of the chart with this name.
fn chart(name: &str) -> Option<&'static Bundle> {
    let name = name.strip_prefix("agentibrain").unwrap_or(name);
    let is_it = |chart: &&(&str, _)| canonical(chart.0) == name;
    CHARTS.iter().find(is_it).map(|(_, bundle)| *bundle)
}
