//! The preview: a POSIX shell script that does what `--apply` does in an empty namespace.
//!
//! The script holds no value and puts none on a command line: kubectl reads here-documents.

use super::yaml::skipped_comment;
use crate::domain::plan::{Plan, SecretPlan};
use crate::domain::table::{InputRule, Origin, ROUTER};
use crate::domain::values::inputs::{Inputs, Place};
use crate::domain::values::token::TokenName;
use std::fmt::Write;
use std::path::Path;

/// The input of the script.
#[derive(Clone, Copy, Debug)]
pub struct Preview<'a> {
    /// The plan for an empty namespace.
    pub plan: &'a Plan,
    /// The same plan as if each required input were set.
    pub complete: &'a Plan,
    /// For the sources of the inputs.
    pub inputs: &'a Inputs,
    /// The home namespace.
    pub namespace: &'a str,
    /// The label selector of fleet namespaces; their names are unknown without the cluster.
    pub fleet_selector: Option<&'a str>,
    pub tokens_file: &'a Path,
    /// kubectl with `--context` and `--kubeconfig`, quoted for a shell.
    pub kubectl: &'a str,
    /// True if the script creates the namespace.
    pub create_namespace: bool,
    /// The equivalent `--apply` command, for the comment.
    pub apply: &'a str,
    /// What to do afterwards.
    pub next: &'a str,
}

/// Writes the script.
///
/// The script is a here-document for `sh`. The shell that it is pasted into keeps its options, umask
/// and variables, and needs no support for comments (interactive zsh has none).
pub fn script(preview: &Preview<'_>) -> String {
    let mut text = format!(
        "sh <<'PREVIEW'\n\
         # Preview: nothing has been contacted, written or minted.\n\
         # This does on a fresh namespace what the next line does on any:\n\
         #   {}\n",
        preview.apply
    );
    let from_file: Vec<_> = preview.inputs.names_from(Place::EnvFile).collect();
    if !from_file.is_empty() {
        let _ = writeln!(
            text,
            "# Export these first; --env-file has them: {}",
            from_file.join(" ")
        );
    }
    text.push_str("set -eu\numask 077\n");
    push_checks(&mut text, preview.plan);
    push_tokens(&mut text, preview.tokens_file);
    let kubectl = preview.kubectl;
    if preview.create_namespace {
        let _ = writeln!(
            text,
            "\n{kubectl} create namespace {} </dev/null",
            preview.namespace
        );
    }
    for (secret, complete) in preview.plan.places.iter().zip(&preview.complete.places) {
        text.push('\n');
        let namespace = secret.at.namespace.as_str();
        if secret.is_written() {
            push_secret(&mut text, secret, kubectl, namespace);
        } else {
            text.push_str(&skipped_comment(secret.at.name, secret.reason.as_deref()));
            let mut block = String::new();
            push_secret(&mut block, complete, kubectl, namespace);
            push_comment(&mut text, &block);
        }
    }
    if let Some(selector) = preview.fleet_selector {
        push_selected(&mut text, preview.plan, kubectl, selector);
    }
    push_comment(&mut text, preview.next);
    text.push_str("PREVIEW\n");
    text
}

fn push_comment(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
}

/// Stops before the first command if a required input is missing.
fn push_checks(text: &mut String, plan: &Plan) {
    for (key, origin) in plan.written().flat_map(set_keys) {
        if matches!(
            origin,
            Origin::Input(InputRule::Required | InputRule::EnvFileOnly)
        ) {
            let _ = writeln!(text, ": \"${{{key}:?is not exported}}\"");
        }
    }
}

/// The keys that are written, with the origin of their values.
fn set_keys(secret: &SecretPlan) -> impl Iterator<Item = (&'static str, Origin)> {
    secret.new_values().filter_map(|(key, _)| {
        let row = secret.bundle.keys.iter().find(|row| row.name == key.key)?;
        Some((row.name, row.origin))
    })
}

/// The router Secret in every selected namespace that is not handled above.
fn push_selected(text: &mut String, plan: &Plan, kubectl: &str, selector: &str) {
    let routers = plan.places.iter().filter(|secret| *secret.bundle == ROUTER);
    let done: Vec<_> = routers
        .clone()
        .map(|secret| secret.at.namespace.as_str())
        .collect();
    let Some(router) = routers.into_iter().next() else {
        return;
    };
    let _ = write!(
        text,
        "\nnamespaces=$({kubectl} get namespaces -l {} -o name </dev/null)\n\
         for namespace in $namespaces; do\n\
         \x20 namespace=${{namespace#namespace/}}\n\
         \x20 case $namespace in {}) continue ;; esac\n",
        quote(selector),
        done.join("|")
    );
    push_secret(text, router, kubectl, "\"$namespace\"");
    text.push_str("done\n");
}

fn push_tokens(text: &mut String, path: &Path) {
    let path = sourceable(path);
    let folder = Path::new(&path)
        .parent()
        .map(|folder| folder.display().to_string());
    let (file, folder) = (
        quote(&path),
        quote(&folder.unwrap_or_else(|| ".".to_owned())),
    );
    let names = TokenName::ALL.map(TokenName::as_str).join(" ");
    let _ = write!(
        text,
        "\n\
         # The tokens: a file that exists is never replaced (set -C), a token in it never minted again.\n\
         if [ ! -e {file} ]; then\n\
         \x20 mkdir -p {folder}\n\
         \x20 (set -C; : > {file})\n\
         fi\n\
         unset {names}\n\
         . {file}\n\
         mint() {{ od -An -v -tx1 -N32 /dev/urandom | tr -d ' \\n'; }}\n"
    );
    for token in TokenName::ALL {
        let _ = write!(
            text,
            "if [ -z \"${{{token}-}}\" ]; then\n\
             \x20 {token}=$(mint)\n\
             \x20 cat >> {file} <<EOF\n\
             \n\
             {token}=\"${token}\"\n\
             EOF\n\
             fi\n"
        );
    }
}

fn push_secret(text: &mut String, secret: &SecretPlan, kubectl: &str, namespace: &str) {
    let _ = writeln!(
        text,
        "{kubectl} -n {namespace} create secret generic {} --from-env-file=/dev/stdin <<EOF",
        secret.at.name
    );
    for (key, origin) in set_keys(secret) {
        let variable = match origin {
            Origin::Token(token) | Origin::TokenList(token, _) => format!("${token}"),
            Origin::Input(InputRule::Default(value)) => format!("${{{key}:-{value}}}"),
            Origin::Input(InputRule::Required | InputRule::EnvFileOnly) => format!("${key}"),
        };
        let _ = writeln!(text, "{key}={variable}");
    }
    text.push_str("EOF\n");
}

/// A path with a slash, since `.` searches PATH for a name without one.
fn sourceable(path: &Path) -> String {
    let shown = path.display().to_string();
    if path.is_absolute() {
        shown
    } else {
        format!("./{shown}")
    }
}

/// Quotes a word for a POSIX shell.
pub fn quote(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| "''".to_owned(), Into::into)
}
