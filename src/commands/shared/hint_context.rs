//! How the options of this run lead a person to the same place, for hints and for the preview.

use crate::cli::{Changes, Fleet, Global};
use crate::domain::hint_context::HintContext;
use crate::io::local::environment;
use crate::render::script::quote;
use std::path::Path;

/// What the options of the main command were, for running it again.
#[derive(Clone, Copy, Debug, Default)]
pub struct HintOptions<'a> {
    /// What may change.
    pub changes: Option<&'a Changes>,
    /// Where the agent pods are.
    pub fleet: Option<&'a Fleet>,
    /// Whether the namespace is made.
    pub create_namespace: bool,
}

/// The ways to the same cluster, namespace and file.
pub fn reach(global: &Global, given: HintOptions<'_>) -> HintContext {
    let mut kubectl = "kubectl".to_owned();
    let mut helm = String::new();
    let mut program = format!("{} -n {}", quote(&environment::program()), global.namespace);
    if let Some(kubeconfig) = &global.kubeconfig {
        let option = format!(" --kubeconfig {}", path(kubeconfig));
        for line in [&mut kubectl, &mut helm, &mut program] {
            line.push_str(&option);
        }
    }
    if let Some(context) = &global.context {
        let context = quote(context);
        kubectl.push_str(&format!(" --context {context}"));
        helm.push_str(&format!(" --kube-context {context}"));
        program.push_str(&format!(" --context {context}"));
    }
    if global.tokens_file != Path::new("local/.k8s-tokens") {
        program.push_str(&format!(" --tokens-file {}", path(&global.tokens_file)));
    }
    let apply = format!("{program} --apply{}", again(global, given));
    let fleet = given.fleet.map(fleet_options).unwrap_or_default();
    HintContext {
        home: global.namespace.to_string(),
        program,
        apply,
        tokens_file: sourced(&global.tokens_file),
        fleet,
        kubectl,
        helm,
    }
}

/// The options of the main command, each with a space before it. Not `--prefer`: hints add it.
fn again(global: &Global, given: HintOptions<'_>) -> String {
    let mut options = String::new();
    if let Some(file) = &global.env_file {
        options.push_str(&format!(" --env-file {}", path(file)));
    }
    if given.create_namespace {
        options.push_str(" --create-namespace");
    }
    if let Some(changes) = given.changes {
        if !changes.update.is_empty() {
            options.push_str(&format!(" --update {}", changes.update.join(",")));
        }
        if changes.force_conflicts {
            options.push_str(" --force-conflicts");
        }
        if changes.with_api_keys {
            options.push_str(" --with-api-keys");
        }
    }
    if let Some(fleet) = given.fleet {
        options.push_str(&fleet_options(fleet));
    }
    options
}

fn fleet_options(fleet: &Fleet) -> String {
    let mut options = String::new();
    for namespace in &fleet.fleet_namespace {
        options.push_str(&format!(" --fleet-namespace {namespace}"));
    }
    if let Some(selector) = &fleet.fleet_selector {
        options.push_str(&format!(" --fleet-selector {}", quote(selector)));
    }
    options
}

/// A file as the word behind a shell's `.`, which looks for one without a slash on the PATH.
fn sourced(file: &Path) -> String {
    match file.components().count() {
        1 => path(&Path::new(".").join(file)),
        _ => path(file),
    }
}

fn path(path: &Path) -> String {
    quote(&path.display().to_string())
}
