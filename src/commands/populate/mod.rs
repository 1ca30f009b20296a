//! `populate`: fills the secret store. Only adds: an existing field changes only if an option names
//! it.

mod answer;
mod via_eso;

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use super::shared::store_apply::{Backend, StoreApply, refusal};
use super::shared::tokens_session::TokensSession;
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
use crate::render::store as rendered;
use crate::render::store::StoreReport;
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
            let plan = StorePlan::new(&wish, &filed(global)?, &Entries::new());
            Ok(via_eso::preview(global, &plan, &reach, ui))
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
        with_api_keys: populate.with_api_keys,
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
    let plan = StorePlan::new(wish, &filed, &entries);
    let path = global.tokens_file.display().to_string();
    let report = StoreReport::of_plan(&plan, Some(store.address()), path);
    let is_refused = !plan.refusals.is_empty();
    let next = (plan.changes_anything() && !is_refused).then(|| {
        "This was a preview: nothing has been written. Run it again with --apply.".to_owned()
    });
    Ok(Answer {
        text: rendered::difference(&report, store.reach(), ui.palette()),
        next,
        body: Body::Store(report.body()),
        verdict: if is_refused {
            Verdict::Failed(refusal(&plan, store.reach(), reach))
        } else {
            Verdict::Yes
        },
    })
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
