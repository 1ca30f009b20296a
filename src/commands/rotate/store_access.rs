//! Reads the store entries of the tokens on Path 2, and the ExternalSecrets that use them. It must
//! not write to the store.

use super::context::RotateRun;
use crate::commands::shared::eso::is_of_the_table;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::eso::objects::{ExternalSecret, KvPath, Provider, Served};
use crate::domain::rotation::store_view::StoreView;
use crate::domain::table::{Bundle, ROUTER};
use crate::error::Failure;
use crate::io::store::{self, Store};
use std::collections::{BTreeMap, BTreeSet};

/// Stands for the mount of a store that this program cannot write: a person edits it.
const MANUAL_MOUNT: &str = "";

/// The served API version of ExternalSecret.
///
/// # Errors
/// The version is unknown (exit code 3).
pub(super) fn version_of(facts: &ClusterSnapshot) -> Result<&'static str, Failure> {
    match facts.path2.as_ref().map(|path2| path2.served) {
        Some(Served::Version(version)) => Ok(version),
        _ => Err(
            Failure::unable("the served version of ExternalSecret is unknown")
                .hint("check that External Secrets Operator is installed"),
        ),
    }
}

/// The ExternalSecret of home's router Secret.
///
/// # Errors
/// It cannot be read (exit code 3), or there are several (1).
pub(super) fn home_external(
    run: &RotateRun<'_>,
    facts: &ClusterSnapshot,
) -> Result<ExternalSecret, Failure> {
    let mut found = facts
        .externals()
        .map(|status| &status.object)
        .filter(|external| {
            external.namespace == facts.home
                && external.target == ROUTER.secret
                && external.makes_secret()
                && !external.deleting
        });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Err(Failure::unable(format!(
            "the ExternalSecret that owns Secret {}/{} cannot be read",
            facts.home, ROUTER.secret
        ))
        .hint(format!(
            "{} -n {} get externalsecrets",
            run.reach.kubectl, facts.home
        ))),
        (Some(_), Some(_)) => Err(Failure::no(format!(
            "several ExternalSecrets write Secret {}/{}",
            facts.home, ROUTER.secret
        ))
        .hint(run.reach.command("verify"))),
    }
}

/// Reads the store entries; `None` on Path 1.
///
/// # Errors
/// An ExternalSecret does not copy a whole entry (exit code 1), or the store cannot be read
/// (3).
pub(super) async fn store_view(
    run: &RotateRun<'_>,
    facts: &ClusterSnapshot,
) -> Result<Option<StoreView>, Failure> {
    let home = facts.home_place().secrets.get(ROUTER.secret);
    if home.is_none_or(|observed| observed.owner.is_none()) {
        return Ok(None);
    }
    let version = version_of(facts)?;
    let fleet: BTreeSet<Namespace> = facts.fleet().map(|(name, _)| name.clone()).collect();
    let with_tokens = facts
        .externals()
        .map(|status| &status.object)
        .filter(|external| {
            external.bundle().is_some_and(Bundle::holds_tokens)
                && external.makes_secret()
                && is_of_the_table(external, &facts.home, &fleet)
        });
    let mut externals = Vec::new();
    let mut mounts = BTreeSet::new();
    for external in with_tokens {
        let kv_path = kv_path_of(run, facts, external)?;
        mounts.insert(kv_path.mount);
        externals.push((external.clone(), kv_path.path));
    }
    let home = home_external(run, facts)?;
    let home = externals
        .iter()
        .find(|(external, _)| external.uid == home.uid)
        .map(|(_, path)| path.clone())
        .unwrap_or_default();
    if let Some((external, _)) = externals
        .iter()
        .find(|(external, path)| external.target == ROUTER.secret && *path != home)
    {
        return Err(Failure::no(format!(
            "{external} reads another store entry than the home namespace, so its tokens differ"
        ))
        .hint("omit that namespace, or make its ExternalSecret read the same entry"));
    }
    if mounts.len() > 1 {
        return Err(
            Failure::no("the ExternalSecrets read from several mounts of the store")
                .hint("rotate supports one mount: move the entries to the same mount"),
        );
    }
    let mut view = StoreView {
        version,
        externals,
        entries: BTreeMap::new(),
        home,
        is_manual: mounts.contains(MANUAL_MOUNT),
    };
    if let Some(mount) = mounts.first().filter(|mount| *mount != MANUAL_MOUNT)
        && (store::named().is_some() || run.rotate.apply)
    {
        let store = connect_store(run, mount).await?;
        let paths: BTreeSet<_> = view
            .externals
            .iter()
            .map(|(_, path)| path.clone())
            .collect();
        for path in paths {
            let entry = store.read(&path).await?;
            view.entries.insert(path, entry);
        }
    }
    Ok(Some(view))
}

async fn connect_store<'a>(run: &'a RotateRun<'_>, mount: &str) -> Result<&'a Store, Failure> {
    if run.store.get().is_none() {
        let store = Store::connect(mount, run.global.request_timeout.0, run.ui).await?;
        // The cell is empty, and no other task sets it.
        run.store.set(store).ok();
    }
    run.store
        .get()
        .ok_or_else(|| Failure::unable("there is no connection to the store").hint("run it again"))
}

/// The KV path that an ExternalSecret reads.
///
/// # Errors
/// It does not copy a whole entry (exit code 1), or its store is not KV version 2 (3).
fn kv_path_of(
    run: &RotateRun<'_>,
    facts: &ClusterSnapshot,
    external: &ExternalSecret,
) -> Result<KvPath, Failure> {
    let Some(store) = facts
        .path2
        .as_ref()
        .and_then(|path2| path2.store_of(external)?.there())
    else {
        return Err(
            Failure::unable(format!("the store of {external} cannot be read"))
                .hint(run.reach.command("verify")),
        );
    };
    let Some(entry) = external.entry().filter(|_| !external.templated) else {
        return Err(Failure::no(format!(
            "{external} does not copy a whole store entry, so keys that a rotation adds to the \
             entry would be missing in the Secret"
        ))
        .hint(format!(
            "make it use dataFrom with extract, as `{} externalsecrets` prints it",
            run.reach.program
        )));
    };
    if let Provider::Other(_) = &store.provider {
        return Ok(KvPath {
            mount: MANUAL_MOUNT.to_owned(),
            path: entry.to_owned(),
        });
    }
    store.provider.slot(entry).ok_or_else(|| {
        Failure::unable(format!(
            "the path that {external} reads is not in a KV engine of version 2"
        ))
        .hint("move the entry to KV version 2: only there a conflicting write is refused")
    })
}
