//! `file.*`: the tokens file exists, is valid, private, complete, and ignored by git.

use super::check::{Check, Id};
use crate::domain::cluster::snapshot::{FileFacts, FileState, Keeping};
use crate::domain::values::token::{PerToken, Token};

const NO_FILE: &str = "tokens file not found";
const NOT_VALID: &str = "the tokens file is not valid";

/// `complete` is the command that completes the file, `None` without a cluster. A file that is not
/// valid is moved away only if `can_recover`: otherwise its tokens may exist nowhere else.
pub(super) fn checks(file: &FileFacts, complete: Option<&str>, can_recover: bool) -> Vec<Check> {
    let incomplete = |id, message| match complete {
        Some(complete) => Check::warn(id, message).hint(complete),
        None => Check::warn(id, message).see(Id::FilePresent),
    };
    let shown = &file.path.shown;
    let quoted = &file.path.quoted;
    let exists = Check::pass(Id::FilePresent, format!("{shown} exists"));
    let mut checks = match &file.state {
        FileState::Absent => vec![
            incomplete(Id::FilePresent, format!("tokens file {shown} not found")),
            Check::skip(Id::FileParsed, NO_FILE),
            Check::skip(Id::FileMode, NO_FILE),
            Check::skip(Id::FileComplete, NO_FILE),
        ],
        FileState::Unusable(why) => vec![
            exists,
            Check::fail(Id::FileParsed, why).hint(if can_recover {
                format!("mv {quoted} {quoted}.broken")
            } else {
                format!("${{EDITOR:-vi}} {quoted}")
            }),
            Check::skip(Id::FileMode, NOT_VALID),
            Check::skip(Id::FileComplete, NOT_VALID),
        ],
        FileState::Read { tokens, loose } => vec![
            exists,
            Check::pass(Id::FileParsed, "the tokens file is valid"),
            if *loose {
                Check::warn(Id::FileMode, format!("other users can read {shown}"))
                    .hint(format!("chmod 600 {quoted}"))
            } else {
                Check::pass(Id::FileMode, "other users cannot read it")
            },
            match missing(tokens).as_slice() {
                [] => Check::pass(Id::FileComplete, "it holds both tokens"),
                names => incomplete(
                    Id::FileComplete,
                    format!("{shown} does not hold {}", names.join(" and ")),
                ),
            },
        ],
    };
    checks.push(ignored(file));
    checks
}

fn missing(tokens: &PerToken<Option<Token>>) -> Vec<&'static str> {
    let missing = tokens.iter().filter(|(_, token)| token.is_none());
    missing.map(|(name, _)| name.as_str()).collect()
}

fn ignored(file: &FileFacts) -> Check {
    let id = Id::FileIgnored;
    let shown = &file.path.shown;
    let (folder, name) = (&file.path.folder, &file.path.name);
    let absent = matches!(file.state, FileState::Absent);
    match file.keeping {
        // git may not know the folder yet.
        Keeping::Away | Keeping::NotIgnored | Keeping::Unknown if absent => {
            Check::skip(id, NO_FILE)
        }
        Keeping::Away => Check::pass(id, "git does not track it"),
        Keeping::Unknown => Check::skip(id, "unknown: git fails in that folder")
            .hint(format!("git -C {folder} status")),
        // The pattern covers copies beside the file. The last line of .gitignore may lack its newline.
        Keeping::NotIgnored => Check::warn(id, format!("git does not ignore {shown}"))
            .hint(format!("printf '\\n/%s*\\n' {name} >> {folder}/.gitignore")),
        // --force: the staged version may differ from both the file and the last commit.
        Keeping::Tracked => Check::warn(
            id,
            format!("git tracks {shown}: everybody with the repository has the tokens"),
        )
        .hint(format!(
            "git -C {folder} rm --quiet --force --cached -- {name}"
        )),
    }
}
