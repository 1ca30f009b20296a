//! The tokens file.

use super::check::{Check, Id};
use crate::domain::cluster::snapshot::{FileFacts, FileState, Keeping};
use crate::domain::values::token::TokenName;

/// `refile` is what makes the file whole; it may replace one that cannot be used only where the
/// cluster `has_all` of it, since what is in the file may be nowhere else.
pub(super) fn checks(file: &FileFacts, refile: &str, has_all: bool) -> Vec<Check> {
    let shown = &file.path.shown;
    let quoted = &file.path.quoted;
    let (tokens, loose) = match &file.state {
        FileState::Absent => {
            let absent = Check::warn(
                Id::FilePresent,
                format!("there is no tokens file {shown}"),
                refile,
            );
            let rest = [Id::FileParsed, Id::FileMode, Id::FileComplete];
            return std::iter::once(absent)
                .chain(rest.map(|id| Check::skip(id, "there is no tokens file")))
                .chain([ignored(file)])
                .collect();
        }
        FileState::Unusable(why) => {
            let unusable = Check::fail(
                Id::FileParsed,
                why.clone(),
                match has_all {
                    true => format!("mv {quoted} {quoted}.broken && {refile}"),
                    false => format!("${{EDITOR:-vi}} {quoted}"),
                },
            );
            let rest = [Id::FileMode, Id::FileComplete];
            return [
                Check::pass(Id::FilePresent, format!("there is {shown}")),
                unusable,
            ]
            .into_iter()
            .chain(rest.map(|id| Check::skip(id, "the tokens file cannot be used")))
            .chain([ignored(file)])
            .collect();
        }
        FileState::Read { tokens, loose } => (tokens, *loose),
    };
    let missing: Vec<_> = TokenName::ALL
        .into_iter()
        .filter(|name| tokens.get(*name).is_none())
        .map(TokenName::as_str)
        .collect();
    vec![
        Check::pass(Id::FilePresent, format!("there is {shown}")),
        Check::pass(Id::FileParsed, "each of its lines is understood"),
        match loose {
            true => Check::warn(
                Id::FileMode,
                format!("others can read {shown}: whoever did has the tokens"),
                format!("chmod 600 {quoted}"),
            ),
            false => Check::pass(Id::FileMode, "nobody else can read it"),
        },
        match missing.is_empty() {
            true => Check::pass(Id::FileComplete, "it holds both tokens"),
            false => Check::warn(
                Id::FileComplete,
                format!("{shown} does not hold {}", missing.join(" and ")),
                refile,
            ),
        },
        ignored(file),
    ]
}

fn ignored(file: &FileFacts) -> Check {
    let id = Id::FileIgnored;
    let shown = &file.path.shown;
    let (folder, name) = (&file.path.folder, &file.path.name);
    // The copies beside it are kept out as well. The file's last line may lack its end.
    let ignore = format!("printf '\\n/%s*\\n' {name} >> {folder}/.gitignore");
    let absent = matches!(file.state, FileState::Absent);
    match file.keeping {
        // git has yet to see its folder.
        Keeping::Away | Keeping::NotIgnored | Keeping::Unknown if absent => {
            Check::skip(id, "there is no tokens file")
        }
        Keeping::Away => Check::pass(id, "git leaves it alone"),
        Keeping::Unknown => Check::skip(id, "not known: git does not answer in that folder")
            .hint(format!("git -C {folder} status")),
        Keeping::NotIgnored => Check::warn(id, format!("git does not ignore {shown}"), ignore),
        Keeping::Tracked => Check::warn(
            id,
            format!("git tracks {shown}: whoever has the repository has the tokens"),
            // Forced, since what is staged may be neither the file nor the last commit.
            format!("git -C {folder} rm --quiet --force --cached -- {name} && {ignore}"),
        ),
    }
}
