//! `populate`: fills the secret store. Only adds: an existing field changes only if an option names
//! it.

mod answer;
mod via_eso;

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use super::shared::store_apply::{Backend, StoreApply};
use super::shared::tokens_session::TokensSession;
use super::shared::writer::refusal;
use crate::cli::{Global, Populate};
use crate::commands::shared::cluster::{connect, home_router, refuse_rotation};
use crate::commands::shared::options::{inputs, layout};
use crate::domain::eso::store_entry::{Entries, StoreReach};
use crate::domain::hint_context::HintContext;
use crate::domain::plan::{Decision, FiledTokens, LiveValues, StorePlan, StoreWish};
use crate::domain::rotation::stored_state;
use crate::domain::table::{BUNDLES, ROUTER};
use crate::error::Failure;
use crate::io::local::tokens_file;
use crate::io::store::Store;
use crate::render::json::Body;
use crate::render::report::Report;
use crate::render::store as rendered;
use crate::ui::{Format, Ui};
use std::collections::BTreeMap;

/// Fills the store, or previews that. With `-o yaml` or `-o json` and without `--apply`, prints the
/// entries as documents and does not contact the store.
///
/// # Errors
/// A failure before the first write; later failures are in the answer.
pub async fn run(global: &Global, populate: &Populate, ui: Ui) -> Result<Answer, Failure> {
    if populate.show_values && (populate.apply || ui.format == Format::Text) {
        return Err(
            Failure::usage("--show-values goes with -o yaml or json, without --apply")
                .hint("leave it out, or add -o yaml"),
        );
    }
    let reach = reach(global, HintOptions::default());
    let wish = wish(global, populate, &reach, ui).await?;
    match (populate.apply, ui.format) {
        (true, _) if populate.via_eso.is_some() => {
            via_eso::apply(global, populate, wish, &reach, ui).await
        }
        (false, Format::Text) if populate.via_eso.is_some() => {
            // Without creating an object, the content of the store is not known.
            let plan = StorePlan::for_store(&wish, &filed(global)?, &Entries::new());
            let store = StoreReach::default();
            let mut answer = difference(global, &plan, None, &store, &reach, ui);
            let unknown = "The content of the store is not known before --apply: existing fields \
                           are adopted and never changed.";
            answer.next = answer.next.map(|next| format!("{unknown} {next}"));
            Ok(answer)
        }
        (true, _) => apply(global, populate, wish, &reach, ui).await,
        (false, Format::Text) => preview(global, populate, &wish, &reach, ui).await,
        (false, _) => documents(global, populate, &wish, &reach, ui),
    }
}

/// The wanted state of the store, with the live Secrets if `--from-cluster` makes them the source.
async fn wish(
    global: &Global,
    populate: &Populate,
    reach: &HintContext,
    ui: Ui,
) -> Result<StoreWish, Failure> {
    let layout = layout(&populate.layout)?;
    let live = if populate.from_cluster {
        Some(live_values(global, reach, ui).await?)
    } else {
        None
    };
    // The value of an --update may also come from a live Secret.
    let inputs = inputs(global, &populate.update, |key| {
        let mut secrets = live.iter().flat_map(LiveValues::values);
        secrets.any(|keys| keys.get(key).is_some_and(|value| !value.is_empty()))
    })?;
    Ok(StoreWish {
        layout,
        inputs,
        update: populate.update.iter().copied().collect(),
        api_keys: !populate.api_keys.without_api_keys,
        home: global.namespace.clone(),
        live,
    })
}

/// All keys of the live Secrets.
async fn live_values(global: &Global, reach: &HintContext, ui: Ui) -> Result<LiveValues, Failure> {
    let cluster = connect(global, ui, "populate", reach).await?;
    let home = &global.namespace;
    let (found, externals) = tokio::join!(
        cluster.secrets(home, &BUNDLES),
        cluster.external_secrets(Some(home))
    );
    let mut found = found?;
    // Without permission to list ExternalSecrets, an open rotation still shows in the store.
    for external in externals?
        .iter()
        .flatten()
        .filter(|external| external.makes_secret())
    {
        let mut secrets = found.iter_mut();
        if let Some((_, observed)) = secrets.find(|(at, _)| at.name == external.target) {
            observed.claim(external);
        }
    }
    let open = stored_state::of_cluster(home_router(&found, home));
    refuse_rotation(open, false, reach)?;
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

/// The entries as documents, for SOPS, Terraform or the command-line client of a store.
fn documents(
    global: &Global,
    populate: &Populate,
    wish: &StoreWish,
    reach: &HintContext,
    ui: Ui,
) -> Result<Answer, Failure> {
    let filed = filed(global)?;
    let plan = StorePlan::for_store(wish, &filed, &Entries::new());
    if let Some(failure) = refusal(&plan, reach, &StoreReach::default()) {
        let report = Report::of_plan(&plan, global.tokens_file.display().to_string());
        return Ok(Answer {
            text: String::new(),
            next: None,
            body: Body::of_store(&report, None),
            verdict: Verdict::Failed(failure),
        });
    }
    let unminted: Vec<_> = plan
        .tokens
        .iter()
        .filter(|(_, decision)| matches!(decision, Some(Decision::Minted(_))))
        .map(|(name, _)| name.as_str())
        .collect();
    if populate.show_values && !unminted.is_empty() {
        // The placeholder must not be encrypted and stored in place of a token.
        return Err(
            Failure::no(format!("there is no {} to show yet", unminted.join(", "))).hint(format!(
                "`{}` mints the tokens, and so does populate --apply",
                reach.apply
            )),
        );
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
    Ok(crate::commands::shared::tokens_file::filed(
        loaded.as_ref().map(|loaded| &loaded.file),
    ))
}

/// Shows what `--apply` would do. Reads the store and writes nothing.
async fn preview(
    global: &Global,
    populate: &Populate,
    wish: &StoreWish,
    reach: &HintContext,
    ui: Ui,
) -> Result<Answer, Failure> {
    let filed = filed(global)?;
    let store = Store::connect(&populate.mount, global.request_timeout.0, ui).await?;
    let entries = store.entries(&wish.layout).await?;
    let router = entries.get(&wish.layout.path(&ROUTER));
    refuse_rotation(stored_state::of_entry(router), false, reach)?;
    let plan = StorePlan::for_store(wish, &filed, &entries);
    let address = Some(store.address());
    Ok(difference(global, &plan, address, store.reach(), reach, ui))
}

/// The answer of a preview. `address` is that of the store, if it was contacted.
fn difference(
    global: &Global,
    plan: &StorePlan,
    address: Option<&str>,
    store: &StoreReach,
    reach: &HintContext,
    ui: Ui,
) -> Answer {
    let report = Report::of_plan(plan, global.tokens_file.display().to_string());
    let failure = refusal(plan, reach, store);
    let next = (plan.changes_anything() && failure.is_none()).then(|| {
        "This was a preview: nothing has been written. Run it again with --apply.".to_owned()
    });
    Answer {
        text: rendered::difference(&report, store, ui.palette()),
        next,
        body: Body::of_store(&report, address),
        verdict: failure.map_or(Verdict::Yes, Verdict::Failed),
    }
}

async fn apply(
    global: &Global,
    populate: &Populate,
    wish: StoreWish,
    reach: &HintContext,
    ui: Ui,
) -> Result<Answer, Failure> {
    let session = TokensSession::open(&global.tokens_file, ui)?;
    let store = Store::connect(&populate.mount, global.request_timeout.0, ui).await?;
    ui.story(&format!(
        "filling the secret store {}, mount {}",
        store.address(),
        populate.mount
    ));
    let mut run = StoreApply::new(wish, store, session, reach.clone());
    let outcome = run.run().await;
    answer::of_run(global, &run, outcome, ui)
}
