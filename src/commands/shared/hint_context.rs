//! Builds the command prefixes of hints and of the preview from the options of this run, so that a
//! pasted command reaches the same cluster, namespace and tokens file.

use crate::cli::{Changes, Fleet, Global};
use crate::domain::hint_context::HintContext;
use crate::io::local::environment;
use crate::render::script::quote;
use std::path::Path;

/// The options of the command that hints repeat.
#[derive(Clone, Copy, Debug, Default)]
pub struct HintOptions<'a> {
    pub changes: Option<&'a Changes>,
    pub fleet: Option<&'a Fleet>,
    pub create_namespace: bool,
}

impl<'a> HintOptions<'a> {
    pub fn of_fleet(fleet: &'a Fleet) -> Self {
        Self {
            fleet: Some(fleet),
            ..Self::default()
        }
    }
}

/// The command prefixes for the cluster, namespace and tokens file of this run.
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
    let apply = format!("{program} --apply{}", apply_options(global, given));
    let fleet = given.fleet.map(fleet_options).unwrap_or_default();
    HintContext {
        home: global.namespace.to_string(),
        program,
        apply,
        tokens_file: source_argument(&global.tokens_file),
        fleet,
        kubectl,
        helm,
    }
}

/// The options of `--apply`, each with a space before it. Without `--prefer`, which hints add.
fn apply_options(global: &Global, given: HintOptions<'_>) -> String {
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
        if changes.api_keys.without_api_keys {
            options.push_str(" --without-api-keys");
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

/// A file as the argument of the shell's `.`, which searches the PATH for a name without a slash.
fn source_argument(file: &Path) -> String {
    if file.components().count() == 1 {
        path(&Path::new(".").join(file))
    } else {
        path(file)
    }
}

fn path(path: &Path) -> String {
    quote(&path.display().to_string())
}
