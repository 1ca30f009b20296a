//! What `migrate` does, as text, JSON, and values for the charts.

use crate::domain::cluster::names::Namespace;
use crate::domain::eso::objects::StoreRef;
use crate::domain::eso::store_entry::{LOG_LEVEL_DEFAULT, Layout};
use crate::domain::migration::{MigrationPlan, Move, SIXTH, Standing};
use crate::domain::table::BUNDLES;
use crate::ui::{Palette, Tone};
use serde::Serialize;
use std::fmt::Write;

/// How a Secret ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It would move, or go back: this is a preview.
    Planned,
    /// It moved, or went back.
    Done,
    /// It was there already.
    Unchanged,
    /// It is left alone, and why.
    Left(String),
    /// A person has to decide first.
    Refused(String),
    /// It did not work, and why.
    Failed(String),
}

impl Ended {
    fn action(&self, done: &'static str) -> &'static str {
        match self {
            Self::Planned | Self::Done => done,
            Self::Unchanged => "unchanged",
            Self::Left(_) => "skipped",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Planned | Self::Done | Self::Unchanged => None,
            Self::Left(why) | Self::Refused(why) | Self::Failed(why) => Some(why),
        }
    }

    fn mark(&self) -> (Tone, &'static str) {
        match self {
            Self::Planned => (Tone::Good, "[plan]"),
            Self::Done | Self::Unchanged => (Tone::Good, "[ok]  "),
            Self::Left(_) => (Tone::Muted, "[skip]"),
            Self::Refused(_) | Self::Failed(_) => (Tone::Bad, "[fail]"),
        }
    }
}

/// A Secret on its way, or back.
#[derive(Clone, Debug)]
pub struct Passage {
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub secret: String,
    /// The ExternalSecret that makes it, or made it.
    pub external_secret: String,
    /// How it ended.
    pub ended: Ended,
    /// What else there is to say.
    pub note: Option<String>,
}

/// For `-o json`.
#[derive(Debug, Serialize)]
pub struct MigrationBody {
    server: String,
    store: Option<String>,
    entries: Vec<EntryBody>,
    secrets: Vec<PassageBody>,
    values: Option<String>,
}

#[derive(Debug, Serialize)]
struct EntryBody {
    path: String,
    action: &'static str,
    keys: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PassageBody {
    namespace: String,
    name: String,
    external_secret: String,
    action: &'static str,
    reason: Option<String>,
    note: Option<String>,
}

/// What an entry of the store gets first.
#[derive(Clone, Debug)]
pub struct Gift {
    /// The entry.
    pub path: String,
    /// Whether it is new.
    pub created: bool,
    /// What it gets, each with where it comes from.
    pub keys: Vec<String>,
}

/// The document for a way over. `done` is the word for a Secret that came there.
pub fn body(
    server: &str,
    store: Option<&StoreRef>,
    gifts: &[Gift],
    passages: &[Passage],
    done: &'static str,
    values: Option<String>,
) -> MigrationBody {
    MigrationBody {
        server: server.to_owned(),
        store: store.map(ToString::to_string),
        entries: gifts
            .iter()
            .map(|gift| EntryBody {
                path: gift.path.clone(),
                action: if gift.created {
                    "created"
                } else {
                    "configured"
                },
                keys: gift.keys.clone(),
            })
            .collect(),
        secrets: passages
            .iter()
            .map(|passage| PassageBody {
                namespace: passage.namespace.to_string(),
                name: passage.secret.clone(),
                external_secret: passage.external_secret.clone(),
                action: passage.ended.action(done),
                reason: passage.ended.reason().map(str::to_owned),
                note: passage.note.clone(),
            })
            .collect(),
        values,
    }
}

/// What the store gets by a plan.
pub fn gifts(plan: &MigrationPlan) -> Vec<Gift> {
    plan.written()
        .map(|entry| Gift {
            path: entry.path.clone(),
            created: entry.base.fields.is_none(),
            keys: entry
                .keys
                .iter()
                .map(|key| format!("{} ({})", key.key, key.source.as_str()))
                .collect(),
        })
        .collect()
}

/// A Secret of a plan that has not been carried out.
pub fn planned(moved: &Move) -> Passage {
    let ended = match &moved.standing {
        Standing::Plain => Ended::Planned,
        Standing::Moved => Ended::Unchanged,
        Standing::Left(why) => Ended::Left(why.clone()),
        Standing::Refused => Ended::Refused("a person has to decide first".to_owned()),
    };
    let note = match (&moved.standing, &moved.after) {
        (Standing::Plain, None) => {
            Some("equality with the store is not yet proven: --apply proves it first".to_owned())
        }
        (Standing::Plain, Some(_)) if moved.grows => Some(format!(
            "{SIXTH}={LOG_LEVEL_DEFAULT} is added, the service's own default; Reloader, where it is \
             at work, restarts the service once for it"
        )),
        _ => None,
    };
    Passage {
        namespace: moved.at.namespace.clone(),
        secret: moved.at.name.to_owned(),
        external_secret: moved.bundle.external_secret.to_owned(),
        ended,
        note,
    }
}

/// A line per entry that the store gets something in.
pub fn gifts_text(gifts: &[Gift], mount: &str, preview: bool) -> String {
    let mut text = String::new();
    for gift in gifts {
        let what = match (preview, gift.created) {
            (true, true) => "would be created with",
            (true, false) => "would get",
            (false, true) => "created with",
            (false, false) => "got",
        };
        let keys = gift.keys.join(", ").replace(char::is_control, "?");
        let _ = writeln!(text, "{mount}/{}: {what} {keys}", gift.path);
    }
    text
}

/// A line per Secret. `done` says what happened, and what would.
pub fn passages_text(passages: &[Passage], done: (&str, &str), palette: Palette) -> String {
    let mut text = String::new();
    for passage in passages {
        let (tone, mark) = passage.ended.mark();
        let what = match &passage.ended {
            Ended::Planned => said(done.1, passage),
            Ended::Done => said(done.0, passage),
            Ended::Unchanged => "unchanged".to_owned(),
            Ended::Left(why) => format!("left alone: {why}"),
            Ended::Refused(why) | Ended::Failed(why) => why.clone(),
        };
        let note = passage.note.as_ref().map(|note| format!("; {note}"));
        let Passage {
            namespace, secret, ..
        } = passage;
        let mark = palette.paint(tone, mark);
        let note = note.unwrap_or_default();
        let _ = writeln!(text, "{mark} {namespace}/{secret}: {what}{note}");
    }
    text
}

/// What is said of a Secret; one whose ExternalSecret is gone already has none to name.
fn said(template: &str, passage: &Passage) -> String {
    let external = match passage.external_secret.as_str() {
        "" => "that is gone already",
        name => name,
    };
    template.replace("{}", external)
}

/// The values for the charts from now on, as YAML with comments. `emits` is whether the server
/// serves the version of ExternalSecret that the charts emit.
pub fn values(layout: &Layout, store: &StoreRef, emits: bool) -> String {
    if !emits {
        return "# values for the charts: they emit ExternalSecrets of v1beta1, which is not served \
                here, so those that migrate made stay\n\
                externalSecret:\n  enabled: false\n"
            .to_owned();
    }
    let mut text =
        "# values for the charts; helm upgrade --take-ownership adopts the ExternalSecrets \
                    that migrate made\n"
            .to_owned();
    for bundle in BUNDLES {
        let chart = bundle.external_secret.trim_end_matches("-secrets");
        let _ = write!(
            text,
            "---\n# {chart}\nexternalSecret:\n  enabled: true\n  storeName: {}\n  secretPath: {}\n  \
             targetSecretName: {}\n",
            store.name,
            layout.path(bundle),
            bundle.secret
        );
    }
    text
}
