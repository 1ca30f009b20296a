//! The result or plan of `--apply` and `populate`, from which every output format is rendered.
//! Secrets and store entries are reported alike.

use crate::domain::cluster::names::SecretRef;
use crate::domain::eso::store_entry::Entry;
use crate::domain::plan::{Action, FileAction, KeyAction, PlacePlan, Plan, SecretBase};
use crate::ui::{Mark, Palette, Tone};
use std::fmt::Write;

#[derive(Clone, Debug)]
pub struct Report<At, Base> {
    pub file: FileReport,
    pub places: Vec<PlaceReport<At, Base>>,
}

pub type SecretsReport = Report<SecretRef, Option<SecretBase>>;
pub type StoreReport = Report<String, Entry>;

impl<At: Clone, Base: Clone> Report<At, Base> {
    /// The report of a preview. `path` is that of the tokens file.
    pub fn of_plan(plan: &Plan<PlacePlan<At, Base>>, path: String) -> Self {
        Self {
            file: FileReport {
                path,
                change: plan.file.into(),
            },
            places: plan.places.iter().map(PlaceReport::of_plan).collect(),
        }
    }
}

/// What happens to the tokens file.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FileReport {
    pub path: String,
    #[serde(rename = "action")]
    pub change: FileChange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    Created,
    /// Tokens are added or replaced.
    Updated,
    Unchanged,
}

impl FileChange {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

impl From<FileAction> for FileChange {
    fn from(action: FileAction) -> Self {
        match action {
            FileAction::Create => Self::Created,
            FileAction::Update { .. } => Self::Updated,
            FileAction::Keep => Self::Unchanged,
        }
    }
}

impl FileReport {
    /// The line after `--apply`.
    pub fn outcome(&self, palette: Palette) -> String {
        let mark = palette.mark(Mark::Ok);
        let (path, change) = (&self.path, self.change.as_str());
        format!("{mark} tokens file {path}: {change}\n")
    }

    /// The line of a preview; empty if nothing changes.
    pub fn difference(&self) -> String {
        match self.change {
            FileChange::Unchanged => String::new(),
            change => format!("tokens file {}: would be {}\n", self.path, change.as_str()),
        }
    }
}

/// The plan for a place and the error of its write.
#[derive(Clone, Debug)]
pub struct PlaceReport<At, Base> {
    pub plan: PlacePlan<At, Base>,
    /// Why the write failed.
    pub failed: Option<String>,
}

impl<At: Clone, Base: Clone> PlaceReport<At, Base> {
    fn of_plan(plan: &PlacePlan<At, Base>) -> Self {
        Self {
            plan: plan.clone(),
            failed: None,
        }
    }

    /// The documented word for the result.
    pub fn action(&self) -> &'static str {
        match self.plan.action {
            _ if self.failed.is_some() => "failed",
            Action::Create => "created",
            Action::Configure => "configured",
            Action::Keep => "unchanged",
            Action::Skip => "skipped",
            Action::Refuse => "refused",
        }
    }

    /// Why the write failed, or the reason in the plan.
    pub fn reason(&self) -> Option<&str> {
        self.failed.as_deref().or(self.plan.reason.as_deref())
    }

    /// The line after a run: the result, the keys, and the reason. `present` is what values
    /// there are called, `update` how to change a key that was kept.
    pub fn outcome(&self, name: &str, present: &str, update: &str, palette: Palette) -> String {
        let mark = palette.mark(match (self.plan.action, &self.failed) {
            (_, Some(_)) | (Action::Refuse, _) => Mark::Fail,
            (Action::Skip, _) => Mark::Skip,
            _ => Mark::Ok,
        });
        let mut words = vec![self.action().to_owned()];
        if self.failed.is_none() {
            let set = self.keys_by_source();
            if self.plan.is_written() && !set.is_empty() {
                words.push(format!("set {set}"));
            }
            let adopted = self.keys_with(|action| matches!(action, KeyAction::Adopted));
            if !adopted.is_empty() {
                words.push(format!("{adopted} adopted into the tokens file"));
            }
        }
        let differing = self.keys_with(|action| matches!(action, KeyAction::Differs));
        if self.plan.action != Action::Refuse && !differing.is_empty() {
            words.push(format!(
                "kept the {present} {differing} although another value is given{update}"
            ));
        }
        words.extend(self.reason().map(str::to_owned));
        format!("{mark} {name}: {}\n", words.join("; "))
    }

    /// The keys that are set, grouped by source: `A, B (minted), C (env)`.
    fn keys_by_source(&self) -> String {
        let keys: Vec<_> = self.plan.new_values().map(|(key, _)| key).collect();
        let groups = keys.chunk_by(|one, other| one.source == other.source);
        let groups = groups.map(|group| {
            let names: Vec<_> = group.iter().map(|key| &*key.key).collect();
            format!("{} ({})", names.join(", "), group[0].source.as_str())
        });
        groups.collect::<Vec<_>>().join(", ")
    }

    fn keys_with(&self, wanted: impl Fn(&KeyAction) -> bool) -> String {
        let keys = self.plan.keys.iter();
        let keys = keys.filter(|key| wanted(&key.action));
        keys.map(|key| &*key.key).collect::<Vec<_>>().join(", ")
    }

    /// The lines of a preview: one for the place, and one for each key that is not just kept.
    /// `configure` is what a change of the place is called.
    pub fn difference(&self, name: &str, configure: &str, palette: Palette) -> String {
        let what = match self.plan.action {
            Action::Create => "would be created",
            Action::Configure => configure,
            Action::Keep => "unchanged",
            Action::Skip => "skipped",
            Action::Refuse => "refused",
        };
        let reason = self.reason().map(|reason| format!(": {reason}"));
        let mut text = format!("{name}: {what}{}\n", reason.unwrap_or_default());
        for key in &self.plan.keys {
            let (tone, mark, note) = match key.action {
                KeyAction::Set(_) if key.live => (Tone::Good, "~", ""),
                KeyAction::Set(_) => (Tone::Good, "+", ""),
                KeyAction::Adopted => (Tone::Good, "=", ", adopted into the tokens file"),
                KeyAction::Differs => (Tone::Muted, "!", ", kept although another value is given"),
                KeyAction::Kept => continue,
            };
            let line = format!("{mark} {} ({}{note})", key.key, key.source.as_str());
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {}", palette.paint(tone, &line));
        }
        text
    }
}
