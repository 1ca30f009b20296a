//! Is the ExternalSecret wired: does it name its store and its path, and does it make the Secret
//! that the pods read? In values this is `externalSecret` of a chart, in manifests the object.

use super::literals::canonical;
use super::yaml::{Finding, Node};
use crate::domain::cluster::snapshot::KNOWN_COPIES;
use crate::domain::table::{AGENTICORE, BUNDLES, EMBEDDINGS, ROUTER};
use std::collections::BTreeSet;

/// The values of a chart that has an ExternalSecret.
struct Chart<'a> {
    values: &'a Node,
    /// The value of `externalSecret`.
    external: &'a Node,
    /// The Secret that is read and made by default; of an unknown chart each that can be meant.
    defaults: Vec<&'static str>,
}

/// The lines where an ExternalSecret lacks its store or its path.
pub(super) fn without_store(objects: &[&Node]) -> BTreeSet<Finding> {
    let of_values = charts(objects).into_iter().filter_map(|chart| {
        let (line, _) = chart.switch().filter(|(_, is_on)| *is_on)?;
        let lacks = |field| chart.external.text_at(&[field]).is_none();
        let mut missing = Vec::new();
        if lacks("storeName") {
            missing.push("storeName");
        }
        // The charts fall back to the second name.
        if lacks("secretPath") && lacks("awsSecretPath") {
            missing.push("secretPath");
        }
        let missing = missing.join(" and without ");
        let message = format!("externalSecret is enabled without {missing}");
        (!missing.is_empty()).then_some((line, message))
    });
    let is_external = |object: &&&Node| object.kind() == Some("ExternalSecret");
    let of_manifests = objects.iter().filter(is_external).filter_map(|object| {
        let spec = object.at(&["spec"]).unwrap_or(object);
        let sources = ["data", "dataFrom"].into_iter();
        let sources: Vec<_> = sources
            .filter_map(|field| spec.at(&[field]))
            .flat_map(Node::items)
            .collect();
        let has_store = spec.text_at(&["secretStoreRef", "name"]).is_some()
            || !sources.is_empty() && sources.iter().all(|it| it.at(&["sourceRef"]).is_some());
        let missing = match (has_store, sources.is_empty()) {
            (false, _) => "spec.secretStoreRef",
            (true, true) => "data and dataFrom",
            (true, false) => return None,
        };
        Some((
            spec.line,
            format!("the ExternalSecret is without {missing}"),
        ))
    });
    of_values.chain(of_manifests).collect()
}

/// The lines where an ExternalSecret makes a Secret that the pods of the file do not read.
pub(super) fn without_reader(objects: &[&Node]) -> BTreeSet<Finding> {
    let is_external = |object: &&&Node| object.kind() == Some("ExternalSecret");
    // StatefulSet, CronJob and the like.
    let ends = ["Deployment", "Job", "Pod", "Set"];
    let is_workload = |kind: &str| ends.iter().any(|end| kind.ends_with(end));
    let has_workload = objects
        .iter()
        .filter_map(|object| object.kind())
        .any(is_workload);
    let mut read = BTreeSet::new();
    for object in objects.iter().filter(|object| !is_external(object)) {
        secrets_read(object, &mut read);
    }
    let external_secrets = objects.iter().filter(is_external);
    let of_manifests = external_secrets.filter_map(|object| {
        let target = object.text_at(&["spec", "target", "name"]);
        let (line, target) = target.or_else(|| object.text_at(&["metadata", "name"]))?;
        let what = "the ExternalSecret makes a Secret that no workload of this file reads";
        (has_workload && !read.contains(target)).then(|| (line, what.to_owned()))
    });
    let of_values = charts(objects)
        .into_iter()
        .filter_map(Chart::without_reader);
    of_values.chain(of_manifests).collect()
}

impl Chart<'_> {
    /// The line of `enabled`, and whether Helm takes it for true.
    fn switch(&self) -> Option<(u64, bool)> {
        let enabled = self.external.at(&["enabled"])?;
        Some((enabled.line, !enabled.is_false()))
    }

    fn without_reader(self) -> Option<Finding> {
        let is_off = self.switch().is_some_and(|(_, is_on)| !is_on);
        let target = self.external.text_at(&["targetSecretName"]);
        let named = self.values.text_at(&["secrets", "external", "secretName"]);
        let (line, _) = target.or(named).filter(|_| !is_off)?;
        let mut read = BTreeSet::new();
        secrets_read(self.values, &mut read);
        let what = if let Some((line, _)) = named {
            format!("secrets.external.secretName (line {line})")
        } else {
            read.extend(&self.defaults);
            self.defaults.join(" or ")
        };
        let made = target.map_or(self.defaults, |(_, name)| vec![name]);
        let what =
            format!("externalSecret makes a Secret that the pods do not read; they read {what}");
        (!made.iter().any(|name| read.contains(name))).then_some((line, what))
    }
}

fn charts<'a>(objects: &[&'a Node]) -> Vec<Chart<'a>> {
    let mut found = Vec::new();
    for object in objects {
        find_charts(object, None, &mut found);
    }
    found
}

/// Finds the charts in a node; an umbrella chart holds the values of its subcharts.
fn find_charts<'a>(node: &'a Node, outer: Option<&'static str>, found: &mut Vec<Chart<'a>>) {
    let own = node.text_at(&["fullnameOverride"]);
    let default = own.and_then(|(_, name)| default_secret(name)).or(outer);
    for (key, value) in node.entries() {
        if key == "externalSecret" && !value.entries().is_empty() {
            let any = BUNDLES
                .iter()
                .map(|bundle| bundle.secret)
                .chain(KNOWN_COPIES);
            found.push(Chart {
                values: node,
                external: value,
                defaults: default.map_or_else(|| any.collect(), |name| vec![name]),
            });
        }
        find_charts(value, default_secret(key).or(default), found);
    }
    for item in node.items() {
        find_charts(item, default, found);
    }
}

/// The Secret that the pods of a chart read by default.
fn default_secret(chart: &str) -> Option<&'static str> {
    let chart = canonical(chart);
    let [mcp, brain_ops] = KNOWN_COPIES;
    match chart.strip_prefix("agentibrain").unwrap_or(&chart) {
        "brainapi" => Some(ROUTER.secret),
        "embeddings" => Some(EMBEDDINGS.secret),
        "brainkeeper" => Some(AGENTICORE.secret),
        "mcp" => Some(mcp),
        "brainops" => Some(brain_ops),
        _ => None,
    }
}

/// Collects the names of the Secrets that something in a node reads.
fn secrets_read<'a>(node: &'a Node, read: &mut BTreeSet<&'a str>) {
    for (key, value) in node.entries() {
        // `secretKeyRef`, `imagePullSecrets`, and of other kinds `apiTokenSecretRef`.
        let ends = ["secret", "secrets", "secretref", "secretkeyref"];
        let key = canonical(key);
        if key == "secretname" {
            read.extend(value.text());
        } else if ends.iter().any(|end| key.ends_with(end)) {
            let named = value.items().iter().chain([value]);
            read.extend(named.filter_map(|it| Some(it.text_at(&["name"])?.1)));
        }
        secrets_read(value, read);
    }
    for item in node.items() {
        secrets_read(item, read);
    }
}
