//! Reading the store on Path 2: which entries the ExternalSecrets of the tokens read, and what is in
//! them.

use super::context::RotateRun;
use crate::commands::shared::eso::is_of_the_table;
use crate::domain::cluster::names::Namespace;
use crate::domain::cluster::snapshot::ClusterSnapshot;
use crate::domain::eso::objects::{ExternalSecret, KvPath, Provider, Served};
use crate::domain::rotation::store_view::{StoreView, bundle_of};
use crate::domain::table::{Bundle, ROUTER};
use crate::error::Failure;
use crate::io::store::{self, Store};
use std::collections::{BTreeMap, BTreeSet};

/// No mount: a store of another kind, which this program cannot write.
const BY_HAND: &str = "";
/// The version of ExternalSecret that is served.
///
/// # Errors
/// Where that is not known (exit code 3).
pub fn version_of(facts: &ClusterSnapshot) -> Result<&'static str, Failure> {
    match facts.path2.as_ref().map(|path2| path2.served) {
        Some(Served::Version(version)) => Ok(version),
        _ => Err(
            Failure::unable("it is not known which version of ExternalSecret is served")
                .hint("see whether External Secrets Operator is installed"),
        ),
    }
}

impl RotateRun<'_> {
    /// The ExternalSecret that makes home's router Secret.
    ///
    /// # Errors
    /// Where it cannot be seen, or there are several (exit code 3).
    pub fn home_external(&self, facts: &ClusterSnapshot) -> Result<ExternalSecret, Failure> {
        let path2 = facts.path2.iter().flat_map(|path2| &path2.externals);
        let mut found = path2.map(|tended| &tended.object).filter(|external| {
            let home = external.namespace == facts.home && external.target == ROUTER.secret;
            home && external.makes_secret() && !external.deleting
        });
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (None, _) => Err(Failure::unable(format!(
                "Secret {}/{} is made by an ExternalSecret that cannot be seen",
                facts.home, ROUTER.secret
            ))
            .hint(format!(
                "{} -n {} get externalsecrets",
                self.reach.kubectl, facts.home
            ))),
            (Some(_), Some(_)) => Err(Failure::no(format!(
                "several ExternalSecrets make Secret {}/{}",
                facts.home, ROUTER.secret
            ))
            .hint(self.reach.command("verify"))),
        }
    }

    /// The store of Path 2; `None` on Path 1.
    ///
    /// # Errors
    /// An ExternalSecret that does not copy a whole entry, a store that cannot be read.
    pub async fn store_view(&self, facts: &ClusterSnapshot) -> Result<Option<StoreView>, Failure> {
        let home = facts.home_place().secrets.get(ROUTER.secret);
        if home.is_none_or(|observed| observed.owner.is_none()) {
            return Ok(None);
        }
        let version = version_of(facts)?;
        let fleet: BTreeSet<Namespace> = facts.fleet().map(|(name, _)| name.clone()).collect();
        let tended = facts.path2.iter().flat_map(|path2| &path2.externals);
        let of_tokens = tended.map(|it| &it.object).filter(|external| {
            let bundle = bundle_of(external).is_some_and(Bundle::holds_tokens);
            bundle && external.makes_secret() && is_of_the_table(external, &facts.home, &fleet)
        });
        let mut externals = Vec::new();
        let mut mounts = BTreeSet::new();
        for external in of_tokens {
            let slot = self.slot_of(facts, external)?;
            mounts.insert(slot.mount);
            externals.push((external.clone(), slot.path));
        }
        let home = self.home_external(facts)?;
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
                "{external} reads another entry of the store than home does, so its tokens are its own"
            ))
            .hint("leave that namespace out, or have it read the same entry"));
        }
        if mounts.len() > 1 {
            return Err(
                Failure::no("the ExternalSecrets read several mounts of the store")
                    .hint("rotate where all of them read one"),
            );
        }
        let mut view = StoreView {
            version,
            externals,
            entries: BTreeMap::new(),
            home,
            is_manual: mounts.contains(BY_HAND),
        };
        if let Some(mount) = mounts.first().filter(|mount| *mount != BY_HAND)
            && (store::named().is_some() || self.rotate.apply)
        {
            let store = self.store(mount).await?;
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

    async fn store(&self, mount: &str) -> Result<&Store, Failure> {
        if self.store.get().is_none() {
            let store = Store::connect(mount, self.global.request_timeout.0, self.ui).await?;
            // It was empty a moment ago, and nobody else is here.
            self.store.set(store).ok();
        }
        self.store.get().ok_or_else(|| {
            Failure::unable("there is no connection to the store").hint("run it again")
        })
    }

    /// Where an ExternalSecret reads.
    fn slot_of(
        &self,
        facts: &ClusterSnapshot,
        external: &ExternalSecret,
    ) -> Result<KvPath, Failure> {
        let path2 = facts.path2.as_ref();
        let store = path2.and_then(|path2| path2.store_of(external)?.there());
        let Some(store) = store else {
            return Err(
                Failure::unable(format!("the store of {external} cannot be read"))
                    .hint(self.reach.command("verify")),
            );
        };
        let entry = external.entry().filter(|_| !external.templated);
        let Some(entry) = entry else {
            return Err(Failure::no(format!(
                "{external} does not copy an entry of the store as a whole, so what a rotation adds \
                 to the entry would not come into the Secret"
            ))
            .hint(format!(
                "have it use dataFrom with extract, as `{} externalsecrets` prints it",
                self.reach.program
            )));
        };
        if let Provider::Other(_) = &store.provider {
            return Ok(KvPath {
                mount: BY_HAND.to_owned(),
                path: entry.to_owned(),
            });
        }
        store.provider.slot(entry).ok_or_else(|| {
            Failure::unable(format!(
                "the path that {external} reads is in no KV engine of version 2"
            ))
            .hint("only there two writers cannot overwrite each other unseen")
        })
    }
}
