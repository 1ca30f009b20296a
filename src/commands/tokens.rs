//! `tokens show` prints the tokens for use in a shell. `tokens recover` rebuilds a lost tokens file
//! from the cluster. Neither mints a token or writes to the cluster.

use super::shared::answer::{Answer, Verdict};
use super::shared::hint_context::{HintOptions, reach};
use crate::cli::{Global, Show, TokensFormat};
use crate::commands::shared::cluster::connect;
use crate::commands::shared::tokens_file::{filed, warn_unless_ignored};
use crate::domain::eso::store_entry::StoreReach;
use crate::domain::plan::{Decision, resolve};
use crate::domain::table::{EMBEDDINGS, ROUTER};
use crate::domain::values::token::{PerToken, Token};
use crate::domain::values::tokens_file::{AppliedTo, TokensFile};
use crate::error::Failure;
use crate::io::kube::client::Cluster;
use crate::io::local::tokens_file::{self, Locked};
use crate::render::json::Body;
use crate::render::report::{FileChange, FileReport};
use crate::render::tokens as render;
use crate::ui::Ui;

/// Prints the tokens in the file: `eval "$(k8s-bootstrap tokens)"`.
///
/// # Errors
/// A file that does not exist, cannot be used or lacks a token (exit code 3).
pub fn show(global: &Global, show: Show, ui: Ui) -> Result<Answer, Failure> {
    let shown = global.tokens_file.display();
    let run = reach(global, HintOptions::default()).program;
    let incomplete = |message: String| {
        Failure::unable(message).hint(format!(
            "mint with `{run} --apply`, or rebuild it with `{run} tokens recover --apply`"
        ))
    };
    let loaded = tokens_file::read(&global.tokens_file)?
        .ok_or_else(|| incomplete(format!("there is no tokens file {shown}")))?;
    if loaded.loose {
        ui.warn(&format!("others can read {shown}: chmod 600 {shown}"));
    }
    let tokens = PerToken::try_from_fn(|name| {
        let token = loaded.file.tokens().get(name).clone();
        token.ok_or_else(|| incomplete(format!("the tokens file {shown} lacks {name}")))
    })?;
    let text = match show.format {
        TokensFormat::Export => render::export(&tokens),
        TokensFormat::Dotenv => render::dotenv(&tokens),
        TokensFormat::Json => render::json(&tokens),
    };
    Ok(Answer::new(
        text,
        Body::Tokens {
            tokens: tokens
                .iter()
                .map(|(name, token)| (name.as_str(), token.value().clone()))
                .collect(),
        },
    ))
}

/// Rebuilds a lost or incomplete tokens file. Without `apply` only reports what would be done.
///
/// # Errors
/// A failed read or write (exit code 3), or tokens that disagree (exit code 1).
pub async fn recover(global: &Global, apply: bool, ui: Ui) -> Result<Answer, Failure> {
    let reach = reach(global, HintOptions::default());
    let locked = if apply {
        Some(Locked::new(&global.tokens_file, &ui)?)
    } else {
        None
    };
    let loaded = match &locked {
        Some(locked) => locked.read(&ui)?,
        None => tokens_file::read(&global.tokens_file)?,
    };
    let cluster = connect(global, ui, "recover", &reach).await?;
    let home = &global.namespace;
    let found = cluster.secrets(home, &[&ROUTER, &EMBEDDINGS]).await?;
    let filed = filed(loaded.as_ref().map(|loaded| &loaded.file));
    let decisions = PerToken::try_from_fn(|name| {
        resolve(name, filed.tokens.get(name), home, &found, None).map_err(|why| {
            Failure::undecided()
                .cause(why.message())
                .hint(why.hint(&reach, &StoreReach::default()))
        })
    })?;
    let tokens = PerToken::from_fn(|name| decisions.get(name).token().cloned());
    let file = loaded
        .as_ref()
        .map(|loaded| loaded.file.clone())
        .unwrap_or_default();
    let change = if tokens == *file.tokens() {
        FileChange::Unchanged
    } else if loaded.is_none() {
        FileChange::Created
    } else {
        FileChange::Updated
    };
    if let Some(locked) = locked.filter(|_| change != FileChange::Unchanged) {
        write(&locked, &file, &tokens, &cluster, global)?;
        warn_unless_ignored(&global.tokens_file, ui);
    }
    Ok(recovery_answer(
        global,
        &reach.program,
        &decisions,
        change,
        apply,
    ))
}

fn write(
    locked: &Locked,
    file: &TokensFile,
    tokens: &PerToken<Option<Token>>,
    cluster: &Cluster,
    global: &Global,
) -> Result<(), Failure> {
    let applied_to = AppliedTo {
        server: cluster.server.clone(),
        namespace: global.namespace.to_string(),
    };
    locked.write(&file.text_with_tokens(tokens, Some(&applied_to)))
}

fn recovery_answer(
    global: &Global,
    run: &str,
    decisions: &PerToken<Decision>,
    change: FileChange,
    apply: bool,
) -> Answer {
    let path = global.tokens_file.display().to_string();
    let mut text = String::new();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (name, decision) in decisions.iter() {
        let line = match decision {
            Decision::File(_) => format!("{name}: in the file\n"),
            Decision::Cluster(_) | Decision::Store(_) => {
                format!("{name}: found in namespace {}\n", global.namespace)
            }
            Decision::Minted(_) => format!("{name}: not found\n"),
        };
        text.push_str(&line);
        match decision.token() {
            Some(_) => found.push(name.as_str()),
            None => missing.push(name.as_str()),
        }
    }
    let is_preview = !apply && change != FileChange::Unchanged;
    let would = if is_preview { "would be " } else { "" };
    text.push_str(&format!("tokens file {path}: {would}{}\n", change.as_str()));
    if is_preview {
        text.push_str(&format!(
            "This was a preview; to write it: {run} tokens recover --apply\n"
        ));
    }
    let verdict = if missing.is_empty() {
        Verdict::Yes
    } else {
        Verdict::Failed(
            Failure::no(format!("not found: {}", missing.join(", "))).hint(format!(
                "`{run} --apply` mints the missing tokens; or name the right namespace with -n"
            )),
        )
    };
    let tokens_file = FileReport { path, change };
    Answer {
        verdict,
        ..Answer::new(
            text,
            Body::Recovery {
                tokens_file,
                found,
                missing,
            },
        )
    }
}
