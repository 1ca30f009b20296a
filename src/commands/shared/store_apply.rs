//! Fills the secret store. Only adds: an existing field changes only if an option names it.
//!
//! Read, plan, write, and repeat if another writer came first. The tokens file is written first,
//! then the router entry, which decides which tokens win, then every other entry.

use super::tokens_session::TokensSession;
use super::writer::{Writer, rounds};
use crate::commands::shared::cluster::refuse_rotation;
use crate::domain::eso::store_entry::{Entries, Entry, Fields, Layout, StoreReach};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{EntryPlan, StorePlan, StoreWish};
use crate::domain::rotation::stored_state;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::error::Failure;
use crate::io::store::Store;
use crate::io::written::Written;
use futures_util::future::join_all;

/// How entries are read and written: over the API of the store, or through External Secrets
/// Operator.
pub trait Backend {
    /// The address of the store, for messages.
    fn address(&self) -> &str;

    /// How a person reaches the store, for hints.
    fn reach(&self) -> &StoreReach;

    /// Reads every entry of the layout.
    async fn entries(&self, layout: &Layout) -> Result<Entries, Failure>;

    /// Refuses, before the first write, a plan that cannot be carried out.
    async fn check(&self, plan: &StorePlan) -> Result<(), Failure>;

    /// Writes all fields of an entry. [`Written::Stale`] if it is not the version that was planned
    /// for.
    async fn write(&self, entry: &EntryPlan, fields: &Fields) -> Result<Written, Failure>;
}

impl Backend for Store {
    fn address(&self) -> &str {
        self.address()
    }

    fn reach(&self) -> &StoreReach {
        self.reach()
    }

    async fn entries(&self, layout: &Layout) -> Result<Entries, Failure> {
        let paths = BUNDLES.map(|bundle| layout.path(bundle));
        // Await all, so that the failure reported does not depend on which read ends first.
        let results = join_all(paths.iter().map(|path| self.read(path))).await;
        let entries: Vec<_> = results.into_iter().collect::<Result<_, _>>()?;
        Ok(paths.into_iter().zip(entries).collect())
    }

    async fn check(&self, plan: &StorePlan) -> Result<(), Failure> {
        let entries = plan.written().map(|it| (it.at.as_str(), it.base.version));
        self.ensure_writable(&entries.collect::<Vec<_>>()).await
    }

    async fn write(&self, entry: &EntryPlan, fields: &Fields) -> Result<Written, Failure> {
        self.put(&entry.at, entry.base.version, fields).await
    }
}

/// A run and its progress.
pub struct StoreApply<B> {
    wish: StoreWish,
    reach: HintContext,
    pub backend: B,
    pub session: TokensSession,
    pub writer: Writer<String, Entry>,
}

impl<B: Backend> StoreApply<B> {
    /// Prepares a run. `reach` is for hints.
    pub fn new(wish: StoreWish, backend: B, session: TokensSession, reach: HintContext) -> Self {
        Self {
            wish,
            reach,
            backend,
            session,
            writer: Writer::new(),
        }
    }

    /// Fills the store.
    ///
    /// # Errors
    /// A refusal before the first write, or the writes that failed.
    pub async fn run(&mut self) -> Result<(), Failure> {
        if rounds(async || self.round().await).await?.is_some() {
            return self.writer.failures("entries").map_or(Ok(()), Err);
        }
        let place = self.backend.reach().shown(&self.wish.layout.path(&ROUTER));
        Err(
            Failure::unable("something else keeps changing the store during this run")
                .hint(format!("find out what writes {place}, then run this again")),
        )
    }

    /// Reads, plans and writes once. [`Written::Stale`] if that has to be repeated.
    async fn round(&mut self) -> Result<Written, Failure> {
        let entries = self.backend.entries(&self.wish.layout).await?;
        let router = entries.get(&self.wish.layout.path(&ROUTER));
        refuse_rotation(
            stored_state::of_entry(router),
            self.writer.started,
            &self.reach,
        )?;
        let plan = StorePlan::for_store(&self.wish, &self.session.filed, &entries);
        let store = self.backend.reach();
        self.writer.begin(&plan, &self.reach, store)?;
        if !self.writer.started {
            self.backend.check(&plan).await?;
        }
        // Filling the store is not applying to a cluster, so "last applied to" stays as it is.
        let applied_to = self.session.applied_to();
        let changes = plan.changes_anything();
        let tokens = self
            .session
            .save(&plan.tokens, plan.file, applied_to.as_ref(), changes)?;
        self.writer.started = true;
        let router = self.wish.layout.path(&ROUTER);
        let backend = &self.backend;
        let write = async |entry: &EntryPlan| backend.write(entry, &entry.fields(&tokens)).await;
        Ok(self.writer.write(&plan, &router, &router, write).await)
    }
}
