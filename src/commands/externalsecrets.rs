//! `externalsecrets`: prints the ExternalSecrets of Path 2 for use in git. Contacts no server.

use super::shared::answer::Answer;
use crate::cli::{ExternalSecrets, Global, ReadStore};
use crate::commands::shared::options::layout;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{StoreRef, VERSIONS};
use crate::domain::eso::store_entry::Layout;
use crate::domain::table::{BUNDLES, Bundle, ROUTER};
use crate::error::Failure;
use crate::render::external_secrets::{Extract, yaml};
use crate::render::json::Body;

/// Prints the objects, in the newest API version, since the server is not asked.
///
/// # Errors
/// One path for two entries (exit code 2).
pub fn run(global: &Global, options: &ExternalSecrets) -> Result<Answer, Failure> {
    let (layout, store) = (layout(&options.layout)?, store(&options.store));
    let fleet = &options.fleet_namespace;
    Ok(manifests(&global.namespace, fleet, &layout, &store))
}

/// The ExternalSecrets of the home and fleet namespaces, in the newest API version.
pub fn manifests(
    home: &Namespace,
    fleet: &[Namespace],
    layout: &Layout,
    store: &StoreRef,
) -> Answer {
    let routers = fleet
        .iter()
        .filter(|name| *name != home)
        .map(|name| (name, &ROUTER));
    let targets = BUNDLES
        .map(|bundle| (home, bundle))
        .into_iter()
        .chain(routers);
    let object = |(namespace, bundle): (&Namespace, &'static Bundle)| {
        let path = layout.path(bundle);
        let extract = Extract {
            version: VERSIONS[0],
            namespace,
            bundle,
            store,
            path: &path,
        };
        extract.object()
    };
    let objects: Vec<_> = targets.map(object).collect();
    Answer::new(yaml(&objects), Body::Objects { objects })
}

pub fn store(options: &ReadStore) -> StoreRef {
    StoreRef {
        kind: options.store_kind,
        name: options.store.clone(),
    }
}
