//! `populate`: fills the secret store, adding only.
//!
//! The tokens file comes first, then the router entry, which decides whose tokens win, then every
//! other entry.

use super::keeping::Keeper;
use super::reach::{Given, reach};
use super::{Answer, Verdict};
use crate::cli::{Global, Populate};
use crate::domain::bundles::{BUNDLES, ROUTER};
use crate::domain::plan::{Action, FiledTokens};
use crate::domain::reach::Reach;
use crate::domain::store::{Entries, Layout, StoreReach};
use crate::domain::store_plan::{EntryPlan, LiveValues, StorePlan, StoreWish};
use crate::domain::tokens::{PerToken, Token};
use crate::error::{Failure, Kind};
use crate::io::store::{Store, Stored};
use crate::io::tokens_file;
use crate::render::document::Body;
use crate::render::report::FileChange;
use crate::render::store::{self as rendered, StoreReport};
use crate::ui::{Format, Ui};
use futures_util::future::{join_all, try_join_all};
use std::collections::BTreeMap;

/// How often everything is read and planned at most, where others keep writing first.
const ROUNDS: usize = 10;

/// Fills the store, or shows what would be done; with `-o yaml` or `-o json`, and without --apply,
/// prints the bundles and leaves the store alone.
///
/// # Errors
/// What keeps a run from its first write; later failures are in the answer.
pub async fn run(global: &Global, populate: &Populate, ui: Ui) -> Result<Answer, Failure> {
    let reach = reach(global, Given::default());
    let wish = wish(global, populate, &reach, ui).await?;
    match (populate.apply, ui.format) {
        (true, _) => apply(global, populate, wish, &reach, ui).await,
        (false, Format::Text) => preview(global, populate, &wish, &reach, ui).await,
        (false, _) => documents(global, populate, &wish, &reach, ui),
    }
}

/// What the operator wants in the store, with the live Secrets where they are the source.
async fn wish(
    global: &Global,
    populate: &Populate,
    reach: &Reach,
    ui: Ui,
) -> Result<StoreWish, Failure> {
    // With the live Secrets as a source an --update may take its value from there.
    let live = match populate.from_cluster {
        true => Some(live(global, reach, ui).await?),
        false => None,
    };
    let inputs = super::inputs(global, &populate.update, |key| {
        let mut secrets = live.iter().flat_map(LiveValues::values);
        secrets.any(|keys| keys.contains_key(key))
    })?;
    let renamed = populate.layout.path.iter();
    Ok(StoreWish {
        layout: Layout::new(
            &populate.layout.prefix,
            renamed
                .map(|(entry, path)| (*entry, path.clone()))
                .collect(),
        ),
        inputs,
        update: populate.update.iter().copied().collect(),
        with_api_keys: populate.with_api_keys,
        live,
    })
}

/// Every key of the live Secrets.
async fn live(global: &Global, reach: &Reach, ui: Ui) -> Result<LiveValues, Failure> {
    let cluster = super::connect(global, ui, "diff", reach).await?;
    let found = cluster.secrets(&global.namespace, &BUNDLES).await?;
    let mut values = LiveValues::new();
    for (at, observed) in found {
        let Some(secret) = observed.live else {
            ui.warn(&format!("there is no {at}, so nothing is taken from it"));
            continue;
        };
        let mut keys = BTreeMap::new();
        for (key, value) in secret.data {
            let text = value.text.ok_or_else(|| {
                Failure::no(format!("{key} of {at} is not text (base64 of UTF-8)")).hint(format!(
                    "{} -n {} edit secret {}",
                    reach.kubectl, at.namespace, at.name
                ))
            })?;
            keys.insert(key, text);
        }
        values.insert(at.name, keys);
    }
    Ok(values)
}

/// The bundles as documents, for SOPS, Terraform or a store's own program.
fn documents(
    global: &Global,
    populate: &Populate,
    wish: &StoreWish,
    reach: &Reach,
    ui: Ui,
) -> Result<Answer, Failure> {
    let filed = filed(global)?;
    let plan = StorePlan::new(wish, &filed, &Entries::new());
    let report = StoreReport::of_plan(&plan, None, global.tokens_file.display().to_string());
    if !plan.refusals.is_empty() {
        return Ok(Answer {
            text: String::new(),
            next: None,
            body: Body::Store(report.body()),
            verdict: Verdict::Failed(refusal(&plan, &StoreReach::default(), reach)),
        });
    }
    let documents = rendered::documents(&plan, populate.show_values);
    Ok(Answer {
        text: match ui.format {
            Format::Yaml => rendered::yaml(&plan, &documents),
            _ => String::new(),
        },
        next: None,
        body: Body::Documents { entries: documents },
        verdict: Verdict::Yes,
    })
}

fn filed(global: &Global) -> Result<FiledTokens, Failure> {
    let loaded = tokens_file::read(&global.tokens_file)?;
    Ok(super::filed(loaded.as_ref().map(|loaded| &loaded.file)))
}

/// What `--apply` would do. Reads the store and writes nothing.
async fn preview(
    global: &Global,
    populate: &Populate,
    wish: &StoreWish,
    reach: &Reach,
    ui: Ui,
) -> Result<Answer, Failure> {
    let filed = filed(global)?;
    let store = Store::connect(&populate.mount, global.request_timeout.0, ui).await?;
    let entries = entries(&store, wish).await?;
    let plan = StorePlan::new(wish, &filed, &entries);
    let path = global.tokens_file.display().to_string();
    let report = StoreReport::of_plan(&plan, Some(store.address()), path);
    let refused = !plan.refusals.is_empty();
    let next = (plan.changes_anything() && !refused).then(|| {
        "This was a preview: nothing has been written. Run it again with --apply.".to_owned()
    });
    Ok(Answer {
        text: rendered::difference(&report, &store.reach().mount, ui.palette()),
        next,
        body: Body::Store(report.body()),
        verdict: match refused {
            true => Verdict::Failed(refusal(&plan, store.reach(), reach)),
            false => Verdict::Yes,
        },
    })
}

async fn entries(store: &Store, wish: &StoreWish) -> Result<Entries, Failure> {
    let paths = BUNDLES.map(|bundle| wish.layout.path(bundle));
    let read = paths.iter().map(|path| store.read(path));
    let read = try_join_all(read).await?;
    Ok(paths.into_iter().zip(read).collect())
}

/// The failure of a plan that a person has to decide on.
fn refusal(plan: &StorePlan, store: &StoreReach, reach: &Reach) -> Failure {
    let mut failure = Failure::no("refused, and nothing has been written: a person has to decide");
    for refusal in &plan.refusals {
        failure = failure
            .cause(refusal.message())
            .hint(refusal.hint(store, &reach.apply));
    }
    failure
}

async fn apply(
    global: &Global,
    populate: &Populate,
    wish: StoreWish,
    reach: &Reach,
    ui: Ui,
) -> Result<Answer, Failure> {
    let keeper = Keeper::open(&global.tokens_file, ui)?;
    let store = Store::connect(&populate.mount, global.request_timeout.0, ui).await?;
    ui.story(&format!(
        "filling the secret store {}, mount {}",
        store.address(),
        populate.mount
    ));
    let mut run = Run {
        wish,
        store,
        keeper,
        plan: None,
        started: false,
        done: BTreeMap::new(),
    };
    let outcome = run.rounds(reach).await;
    run.answer(global, outcome, ui)
}

/// A run and what it has done so far.
struct Run {
    wish: StoreWish,
    store: Store,
    keeper: Keeper,
    /// The newest plan.
    plan: Option<StorePlan>,
    /// Whether a plan has been carried out, in part at least.
    started: bool,
    /// The entries that were written, or were to be and why not.
    done: BTreeMap<String, (EntryPlan, Option<Failure>)>,
}

impl Run {
    async fn rounds(&mut self, reach: &Reach) -> Result<(), Failure> {
        for _ in 0..ROUNDS {
            if self.round(reach).await? == Stored::Done {
                return Ok(());
            }
        }
        Err(
            Failure::unable("others keep changing the store while this runs").hint(format!(
                "see who: {} kv metadata get -mount={} {}",
                self.store.reach().program,
                self.store.reach().mount,
                self.wish.layout.path(&ROUTER)
            )),
        )
    }

    /// Reads, plans and writes once; [`Stored::Stale`] where that has to be done again.
    async fn round(&mut self, reach: &Reach) -> Result<Stored, Failure> {
        self.done.retain(|_, (_, failure)| failure.is_none());
        let entries = entries(&self.store, &self.wish).await?;
        let plan = StorePlan::new(&self.wish, &self.keeper.filed, &entries);
        self.plan = Some(plan.clone());
        if !plan.refusals.is_empty() {
            let mut failure = refusal(&plan, self.store.reach(), reach);
            if self.started {
                failure.kind = Kind::Unable;
                failure.message =
                    "others wrote while this ran, and now a person has to decide".into();
            }
            return Err(failure);
        }
        if !self.started {
            self.check_capabilities(&plan).await?;
        }
        // Whose cluster the tokens were applied to is not for the store to say.
        let place = self.keeper.applied_to();
        let changes = plan.changes_anything();
        let tokens = self
            .keeper
            .keep(&plan.tokens, plan.file, place.as_ref(), changes)?;
        self.started = true;
        let written = plan.entries.iter().filter(|entry| entry.is_written());
        let (first, rest): (Vec<_>, Vec<_>) = written.partition(|entry| entry.bundle == &ROUTER);
        if self.wave(&first, &tokens).await == Stored::Stale {
            return Ok(Stored::Stale);
        }
        let router = self.wish.layout.path(&ROUTER);
        if let Some((_, Some(_))) = self.done.get(&router) {
            for entry in rest {
                let failure = Failure::unable(format!("not written, since {router} was not"))
                    .hint("mend that first, then run this again");
                self.done
                    .insert(entry.path.clone(), (entry.clone(), Some(failure)));
            }
            return Ok(Stored::Done);
        }
        Ok(self.wave(&rest, &tokens).await)
    }

    /// Refuses before the first write where the store's token may not do what is planned.
    async fn check_capabilities(&self, plan: &StorePlan) -> Result<(), Failure> {
        let written: Vec<_> = plan
            .entries
            .iter()
            .filter(|entry| entry.is_written())
            .collect();
        if written.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> = written.iter().map(|entry| entry.path.clone()).collect();
        let may = self.store.capabilities(&paths).await?;
        let reach = self.store.reach();
        let mut failure =
            Failure::unable("the store's token may not write there, and nothing has been written");
        for entry in written {
            // The first version of an entry is created, every other one updates it.
            let needed = if entry.base.version == 0 {
                "create"
            } else {
                "update"
            };
            let words = &may[&entry.path];
            if !words.iter().any(|word| word == needed || word == "root") {
                failure = failure
                    .cause(format!(
                        "it lacks the capability {needed} on {}/data/{}",
                        reach.mount, entry.path
                    ))
                    .hint(format!(
                        "give its policy: path \"{}/data/{}\" {{ capabilities = [\"create\", \
                         \"read\", \"update\"] }}",
                        reach.mount, entry.path
                    ));
            }
        }
        match failure.causes.is_empty() {
            true => Ok(()),
            false => Err(failure),
        }
    }

    /// Sends writes together and records how each ended.
    async fn wave(&mut self, entries: &[&EntryPlan], tokens: &PerToken<Token>) -> Stored {
        let store = &self.store;
        let writes = entries.iter().map(|entry| async move {
            let fields = entry.fields(tokens);
            store.write(&entry.path, entry.base.version, &fields).await
        });
        let mut state = Stored::Done;
        for (entry, ended) in entries.iter().zip(join_all(writes).await) {
            let failure = match ended {
                Ok(Stored::Done) => None,
                Ok(Stored::Stale) => {
                    state = Stored::Stale;
                    continue;
                }
                Err(failure) => Some(failure),
            };
            self.done
                .insert(entry.path.clone(), ((*entry).clone(), failure));
        }
        state
    }

    fn answer(
        self,
        global: &Global,
        outcome: Result<(), Failure>,
        ui: Ui,
    ) -> Result<Answer, Failure> {
        let Some(plan) = &self.plan else {
            return outcome.map(|()| unreachable!("a plan was made"));
        };
        let path = global.tokens_file.display().to_string();
        let mut report = StoreReport::of_plan(plan, Some(self.store.address()), path);
        if self.started {
            report.file = self.keeper.change;
            for entry in &mut report.entries {
                match self.done.get(&entry.plan.path) {
                    Some((plan, failure)) => {
                        entry.plan = plan.clone();
                        entry.failed = failure.as_ref().map(|failure| failure.message.clone());
                    }
                    None if outcome.is_err() && entry.plan.is_written() => {
                        entry.failed = Some("not written".to_owned());
                    }
                    None => {}
                }
            }
        } else {
            report.file = FileChange::Unchanged;
        }
        let verdict = match outcome.err().or_else(|| self.failures()) {
            Some(failure) => Verdict::Failed(failure),
            None => Verdict::Yes,
        };
        self.keeper.say_if_git_would_take_it();
        let text = match (&verdict, self.started) {
            (Verdict::Failed(_), false) => String::new(),
            _ => rendered::outcome(&report, &self.store.reach().mount, ui.palette()),
        };
        let skipped = report
            .entries
            .iter()
            .any(|entry| entry.plan.action == Action::Skip);
        let next = skipped.then(|| {
            "An entry was skipped for want of an input: set it, and run this again.".to_owned()
        });
        Ok(Answer {
            text,
            next,
            body: Body::Store(report.body()),
            verdict,
        })
    }

    /// One failure for all entries that could not be written.
    fn failures(&self) -> Option<Failure> {
        let failed: Vec<_> = self
            .done
            .iter()
            .filter_map(|(path, (_, failure))| Some((path, failure.as_ref()?)))
            .collect();
        if failed.is_empty() {
            return None;
        }
        let (count, all) = (failed.len(), BUNDLES.len());
        let mut whole = Failure::unable(format!("{count} of {all} entries could not be written"));
        for (path, failure) in failed {
            let why: Vec<_> = std::iter::once(&failure.message)
                .chain(&failure.causes)
                .map(String::as_str)
                .collect();
            whole = whole.cause(format!("{path}: {}", why.join(": ")));
            for hint in &failure.hints {
                whole = whole.hint(hint.clone());
            }
        }
        Some(whole)
    }
}
