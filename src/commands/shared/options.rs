//! Turns options and inputs into the values that planners and clients take. Contacts no server.

use crate::cli::{self, Changes, Global, StoreLayout};
use crate::domain::eso::store_entry::Layout;
use crate::domain::plan::Wish;
use crate::domain::table::{self, InputRule};
use crate::domain::values::inputs::Inputs;
use crate::error::Failure;
use crate::io::kube::kubeconfig::Selection;
use crate::io::kube::observe::FleetScope;
use crate::io::local::environment;
use std::collections::{BTreeMap, BTreeSet};

/// The wanted state of the Secrets. The fleet is filled in once the cluster has been read.
///
/// # Errors
/// As [`inputs`].
pub fn wish(global: &Global, changes: &Changes) -> Result<Wish, Failure> {
    Ok(Wish {
        home: global.namespace.clone(),
        fleet: BTreeSet::new(),
        inputs: inputs(global, &changes.update, |_| false)?,
        update: changes.update.iter().copied().collect(),
        prefer: changes.prefer.map(Into::into),
        force_conflicts: changes.force_conflicts,
        api_keys: !changes.api_keys.without_api_keys,
    })
}

/// Reads the inputs. Each input that `update` names needs a value, here or `elsewhere`.
///
/// # Errors
/// Inputs that cannot be read or are malformed, and an `--update` without a value.
pub fn inputs(
    global: &Global,
    update: &[&'static str],
    elsewhere: impl Fn(&str) -> bool,
) -> Result<Inputs, Failure> {
    let inputs: Inputs = environment::inputs(global.env_file.as_deref())?;
    let unset = table::inputs()
        .find(|(name, _)| update.contains(name) && inputs.get(name).is_none() && !elsewhere(name));
    if let Some((name, rule)) = unset {
        let how = match rule {
            InputRule::EnvFileOnly => format!("set {name} in the file of --env-file"),
            _ => format!("export {name}, or set it in the file of --env-file"),
        };
        return Err(
            Failure::usage(format!("--update {name}: {name} has no value"))
                .hint(format!("{how}; an empty value never replaces a live one")),
        );
    }
    Ok(inputs)
}

/// The paths of the entries in the store.
///
/// # Errors
/// Two paths for one entry, or one path for two entries.
pub fn layout(options: &StoreLayout) -> Result<Layout, Failure> {
    let renamed: BTreeMap<_, _> = options.path.iter().cloned().collect();
    if renamed.len() < options.path.len() {
        return Err(Failure::usage("--path names an entry twice")
            .hint("give each of router, embeddings and agenticore one path"));
    }
    Layout::new(&options.prefix, renamed).ok_or_else(|| {
        Failure::usage("--path puts two entries in one place").hint("give each a path of its own")
    })
}

pub fn fleet(options: &cli::Fleet) -> FleetScope {
    FleetScope {
        named: options.fleet_namespace.iter().cloned().collect(),
        selector: options.fleet_selector.clone(),
    }
}

/// The kubeconfig and context to use.
pub fn selection(global: &Global) -> Selection {
    Selection {
        kubeconfig: global.kubeconfig.clone(),
        context: global.context.clone(),
    }
}
