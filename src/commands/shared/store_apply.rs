//! A run that fills the secret store, adding only.
//!
//! Gather, plan, write; where somebody else wrote first, all of it again. The order of the writes is
//! the order of trust: the tokens file, then the router entry, which decides whose tokens win, then
//! every other entry. Whoever needs the store filled gives a wish and gets a report.

use super::tokens_session::TokensSession;
use super::writer::{Writer, rounds};
use crate::commands::shared::cluster::refuse_rotation;
use crate::domain::eso::store_entry::{Entries, Fields, Layout, StoreReach};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{EntryPlan, StorePlan, StoreWish};
use crate::domain::rotation::elsewhere;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::error::Failure;
use crate::io::store::Store;
use crate::io::written::Written;
use crate::render::store::StoreReport;
use futures_util::future::join_all;

/// Who reads and writes the entries: the store itself, or somebody who reaches it for us.
pub trait Backend {
    /// Where it is, for words.
    fn address(&self) -> &str;

    /// How a person gets there.
    fn reach(&self) -> &StoreReach;

    /// Reads every entry of the layout.
    async fn entries(&self, layout: &Layout) -> Result<Entries, Failure>;

    /// Refuses before the first write where the plan cannot be carried out.
    async fn check(&self, plan: &StorePlan) -> Result<(), Failure>;

    /// Writes all fields of an entry, if it still is what the plan builds on.
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
        // All of them are awaited, so that the same one is told whichever fails first.
        let read = join_all(paths.iter().map(|path| self.read(path))).await;
        let read: Result<Vec<_>, _> = read.into_iter().collect();
        Ok(paths.into_iter().zip(read?).collect())
    }

    async fn check(&self, plan: &StorePlan) -> Result<(), Failure> {
        self.check(&plan.written().collect::<Vec<_>>()).await
    }

    async fn write(&self, entry: &EntryPlan, fields: &Fields) -> Result<Written, Failure> {
        self.write(entry, fields).await
    }
}

/// A run and what it has done so far.
pub struct StoreApply<B> {
    wish: StoreWish,
    reach: HintContext,
    /// Where it writes.
    pub backend: B,
    /// The tokens file.
    pub keeper: TokensSession,
    /// The newest plan.
    plan: Option<StorePlan>,
    /// Whether a plan has been carried out, in part at least.
    started: bool,
    writer: Writer<EntryPlan>,
}

impl<B: Backend> StoreApply<B> {
    /// A run that has done nothing yet. `reach` is for hints.
    pub fn new(wish: StoreWish, backend: B, keeper: TokensSession, reach: HintContext) -> Self {
        Self {
            wish,
            reach,
            backend,
            keeper,
            plan: None,
            started: false,
            writer: Writer::new(),
        }
    }

    /// Fills the store.
    ///
    /// # Errors
    /// What keeps it from its first write, and every write that failed. The report tells how far it
    /// came.
    pub async fn run(&mut self) -> Result<(), Failure> {
        if rounds(async || self.round().await).await?.is_some() {
            return self
                .writer
                .failures(BUNDLES.len(), "entries")
                .map_or(Ok(()), Err);
        }
        let place = self.backend.reach().shown(&self.wish.layout.path(&ROUTER));
        Err(
            Failure::unable("others keep changing the store while this runs")
                .hint(format!("see who writes {place}; then run this again")),
        )
    }

    /// Whether anything has been written, or tried to.
    pub fn started(&self) -> bool {
        self.started
    }

    /// What was planned and how far it has come; `None` where no plan was made. `path` is the tokens
    /// file's.
    pub fn report(&self, path: String) -> Option<StoreReport> {
        let plan = self.plan.as_ref()?;
        let mut report = StoreReport::of_plan(plan, Some(self.backend.address()), path);
        // A plan that was refused has done nothing to the file, whatever it says.
        report.file = self.keeper.change;
        for entry in report.entries.iter_mut().filter(|_| self.started) {
            match self.writer.result(&entry.plan.path) {
                Some((plan, failure)) => {
                    entry.plan = plan.clone();
                    entry.failed = failure.map(Failure::describe);
                }
                None if entry.plan.is_written() => entry.failed = Some("not written".to_owned()),
                None => {}
            }
        }
        Some(report)
    }

    /// Reads, plans and writes once; [`Written::Stale`] where that has to be done again.
    async fn round(&mut self) -> Result<Written, Failure> {
        self.writer.forget_failures();
        let entries = self.backend.entries(&self.wish.layout).await?;
        let router = entries.get(&self.wish.layout.path(&ROUTER));
        refuse_rotation(elsewhere::of_entry(router), self.started, &self.reach)?;
        let plan = StorePlan::new(&self.wish, &self.keeper.filed, &entries);
        self.plan = Some(plan.clone());
        if !plan.refusals.is_empty() {
            let mut failure = refusal(&plan, self.backend.reach(), &self.reach);
            if self.started {
                failure = failure.too_late();
            }
            return Err(failure);
        }
        if !self.started {
            self.backend.check(&plan).await?;
        }
        // Whose cluster the tokens were applied to is not for the store to say.
        let place = self.keeper.applied_to();
        let changes = plan.changes_anything();
        let tokens = self
            .keeper
            .keep(&plan.tokens, plan.file, place.as_ref(), changes)?;
        self.started = true;
        let router = self.wish.layout.path(&ROUTER);
        let backend = &self.backend;
        let write = async |entry: &EntryPlan| backend.write(entry, &entry.fields(&tokens)).await;
        Ok(self
            .writer
            .write(&plan.entries, &router, &router, write)
            .await)
    }
}

/// The failure of a plan that a person has to decide on.
pub fn refusal(plan: &StorePlan, store: &StoreReach, reach: &HintContext) -> Failure {
    let mut failure = Failure::undecided();
    for refusal in &plan.refusals {
        failure = failure
            .cause(refusal.message())
            .hint(refusal.hint(store, reach));
    }
    failure
}
