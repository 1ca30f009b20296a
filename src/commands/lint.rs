//! `lint`: checks that values files and manifests reference the Secrets and contain no credentials.
//! Reads files only and contacts no server.

use super::shared::answer::{Answer, Verdict};
use crate::cli::Lint;
use crate::domain::checks;
use crate::domain::lint::{self, Source};
use crate::error::Failure;
use crate::io::local::text_file;
use crate::render::checks as rendered;
use crate::render::json::Body;
use crate::render::script::quote;
use crate::ui::Ui;
use std::path::Path;

/// The largest file that is read, in MiB.
const LARGEST: u64 = 16;

/// Checks the files. A file that cannot be read or parsed does not stop the checks of the others.
///
/// # Errors
/// Stdin given twice (exit code 2).
pub fn run(lint: &Lint, ui: Ui) -> Result<Answer, Failure> {
    let stdin = Path::new("-");
    if lint.files.iter().filter(|path| *path == stdin).count() > 1 {
        return Err(Failure::usage("stdin (-) is named twice")
            .hint("name it once: it can be read only once"));
    }
    let sources: Vec<_> = lint.files.iter().map(|path| source(path)).collect();
    let judgement = lint::judge(&sources);
    let verdict = if !judgement.broken.is_empty() {
        let broken = judgement.broken.join(", ");
        let failure = Failure::unable(format!("cannot check {broken}"));
        Verdict::Failed(failure.hint("fix what values.parsed reports, and run lint again"))
    } else if checks::healthy(&judgement.checks) {
        Verdict::Yes
    } else {
        Verdict::No
    };
    let mut checks = judgement.checks;
    let text = rendered::text(&checks, true, lint.short, ui.palette());
    checks.retain(|check| rendered::is_shown(check, lint.short));
    Ok(Answer {
        verdict,
        ..Answer::new(text, Body::Checks { checks })
    })
}

fn source(path: &Path) -> Source {
    let shown = path.display().to_string();
    let is_stdin = shown == "-";
    Source {
        quoted: (!is_stdin).then(|| quote(&shown)),
        name: if is_stdin { "stdin".to_owned() } else { shown },
        text: text_file::read(path, LARGEST).map_err(|bad| bad.to_string()),
    }
}
