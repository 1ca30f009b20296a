//! `populate --via-eso`: fills a store that only External Secrets Operator can reach. The operator
//! creates missing entries and changes none, so this command cannot change an entry either.

use super::answer;
use crate::cli::{Global, Populate};
use crate::commands::shared::answer::Answer;
use crate::commands::shared::cluster::connect;
use crate::commands::shared::eso::{check_ready, find_store, served};
use crate::commands::shared::store_apply::{Backend, StoreApply};
use crate::commands::shared::tokens_session::TokensSession;
use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::{StoreRef, temporary_name};
use crate::domain::eso::store_entry::{Entries, Fields, Layout, StoreReach};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{Action, EntryPlan, StorePlan, StoreWish};
use crate::domain::table::BUNDLES;
use crate::error::Failure;
use crate::io::eso::ephemeral::{EphemeralKind, Temporaries, Temporary};
use crate::io::eso::through::Through;
use crate::io::kube::client::Cluster;
use crate::io::written::Written;
use crate::ui::Ui;
use futures_util::future::try_join_all;
use std::time::Duration;
use tokio::time::sleep;

/// How often a written entry is read back at most. Some stores show a write with a delay.
const READS: usize = 5;
/// The pause between two reads.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// A store that is reached through the operator.
struct ViaEso<'a> {
    cluster: &'a Cluster,
    temporaries: &'a Temporaries,
    /// The served API version of ExternalSecret.
    version: &'static str,
    namespace: &'a Namespace,
    store: StoreRef,
    address: String,
    reach: StoreReach,
}

/// Fills the store that `--via-eso` names.
///
/// # Errors
/// A failure before the first write; later failures are in the answer.
pub async fn apply(
    global: &Global,
    options: &Populate,
    wish: StoreWish,
    reach: &HintContext,
    ui: Ui,
) -> Result<Answer, Failure> {
    let session = TokensSession::open(&global.tokens_file, ui)?;
    let cluster = connect(global, ui, "populate --via-eso", reach).await?;
    let temporaries = Temporaries::new();
    let store = StoreRef {
        kind: options.store_kind,
        name: options.via_eso.clone().unwrap_or_default(),
    };
    let backend = ViaEso {
        cluster: &cluster,
        temporaries: &temporaries,
        version: served(&cluster, reach).await?,
        namespace: &global.namespace,
        address: store.to_string(),
        store,
        reach: StoreReach::default(),
    };
    backend.check_ready().await?;
    let context = cluster.context.as_deref();
    ui.story(&format!(
        "filling {} through External Secrets Operator on {}{}, by short-lived ExternalSecrets, \
         PushSecrets and Secrets in namespace {}",
        backend.store,
        cluster.server,
        context
            .map(|name| format!(" (context {name})"))
            .unwrap_or_default(),
        global.namespace
    ));
    let mut run = StoreApply::new(wish, backend, session, reach.clone());
    let work = async {
        run.backend.remove_leftovers().await?;
        run.run().await
    };
    let outcome = cluster.with_temporaries(&temporaries, work).await;
    answer::of_run(global, &run, outcome, ui)
}

impl ViaEso<'_> {
    /// Checks that the operator can use and write the store, before an object is created.
    async fn check_ready(&self) -> Result<(), Failure> {
        let reach = self.cluster_reach();
        if !self.cluster.serves_push_secrets().await? {
            return Err(Failure::unable(
                "the operator is installed without PushSecret, which it needs to write to a store",
            )
            .hint(format!(
                "{} get crd pushsecrets.external-secrets.io",
                reach.kubectl
            )));
        }
        let (cluster, namespace, at) = (self.cluster, self.namespace, &self.store);
        let found = find_store(cluster, self.version, namespace, at).await?;
        let Some(store) = found else {
            return Ok(());
        };
        let store = cluster
            .wait_until_ready(self.version, namespace, store)
            .await?;
        check_ready(cluster, namespace, &store).await?;
        match store.capabilities.as_deref() {
            Some("ReadOnly") => Err(Failure::unable(format!("{at} cannot be used"))
                .cause("the operator can only read stores of this kind")
                .hint(
                    "write the entries with the store's own program: populate -o yaml \
                     --show-values prints them",
                )),
            _ => Ok(()),
        }
    }

    /// Removes the objects that a killed run has left behind.
    async fn remove_leftovers(&self) -> Result<(), Failure> {
        let names = BUNDLES.map(|bundle| {
            [
                temporary_name("proof", bundle),
                temporary_name("push", bundle),
            ]
        });
        let removals = names.iter().flatten().map(|name| async move {
            // The ExternalSecret before the Secret, so that the operator does not create it again.
            let kinds = [
                EphemeralKind::ExternalSecret(self.version),
                EphemeralKind::PushSecret,
                EphemeralKind::Secret,
            ];
            for kind in kinds {
                let (namespace, name) = (self.namespace.clone(), name.clone());
                let at = Temporary {
                    kind,
                    namespace,
                    name,
                };
                self.cluster.remove_leftover(&at).await?;
            }
            Ok(())
        });
        try_join_all(removals).await.map(drop)
    }

    /// The store as External Secrets Operator reads it.
    fn through(&self) -> Through<'_> {
        Through {
            cluster: self.cluster,
            temporaries: self.temporaries,
            version: self.version,
            store: &self.store,
        }
    }

    /// Reads a written entry back and checks that the store holds these fields.
    async fn read_back(&self, entry: &EntryPlan, fields: &Fields) -> Result<Written, Failure> {
        for read in 0..READS {
            if read > 0 {
                sleep(READ_PAUSE).await;
            }
            let through = self.through();
            let found = through
                .read(self.namespace, entry.bundle, &entry.at)
                .await?;
            match found.fields {
                None => {}
                Some(found) if &found == fields => return Ok(Written::Done),
                // Another writer came first, and the operator has not changed its entry.
                Some(_) => return Ok(Written::Stale),
            }
        }
        Err(Failure::unable(format!(
            "the operator has written {} and cannot read it back",
            entry.at
        ))
        .hint(self.store.describe(self.namespace, self.cluster_reach())))
    }

    /// The cause and the hint for an entry that would have to be changed.
    fn explain_unchangeable(&self, entry: &EntryPlan) -> (String, String) {
        let set = entry.new_values();
        let keys: Vec<_> = set.map(|(field, _)| field.key.as_ref()).collect();
        let cause = format!("{} exists and would need {}", entry.at, keys.join(", "));
        let hint = format!(
            "the operator creates entries and does not change them: set the fields with the \
             store's own program or, for OpenBao or Vault, run populate without --via-eso and \
             with a token that may write {}",
            entry.at
        );
        (cause, hint)
    }

    fn cluster_reach(&self) -> &HintContext {
        self.cluster.reach()
    }
}

impl Backend for ViaEso<'_> {
    fn address(&self) -> &str {
        &self.address
    }

    fn reach(&self) -> &StoreReach {
        &self.reach
    }

    async fn entries(&self, layout: &Layout) -> Result<Entries, Failure> {
        self.through().entries(self.namespace, layout).await
    }

    async fn check(&self, plan: &StorePlan) -> Result<(), Failure> {
        let mut changed = plan
            .places
            .iter()
            .filter(|entry| entry.action == Action::Configure)
            .peekable();
        if changed.peek().is_none() {
            return Ok(());
        }
        let mut failure = Failure::no(
            "refused, and nothing has been written: the operator cannot change an existing entry",
        );
        for entry in changed {
            let (cause, hint) = self.explain_unchangeable(entry);
            failure = failure.cause(cause).hint(hint);
        }
        Err(failure)
    }

    async fn write(&self, entry: &EntryPlan, fields: &Fields) -> Result<Written, Failure> {
        if entry.base.fields.is_some() {
            let (cause, hint) = self.explain_unchangeable(entry);
            return Err(Failure::unable(cause).hint(hint));
        }
        let through = self.through();
        let pushed = through.write(self.namespace, entry.bundle, &entry.at, fields);
        match pushed.await? {
            Written::Done => self.read_back(entry, fields).await,
            Written::Stale => Ok(Written::Stale),
        }
    }
}
