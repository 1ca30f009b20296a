//! The preview: a POSIX shell script that does on a fresh namespace what `--apply` does.
//!
//! It holds names of variables and no value, and puts none on a command line: the shell's own
//! here-documents feed kubectl.

use crate::domain::bundles::{InputRule, Origin, ROUTER};
use crate::domain::inputs::{Inputs, Place};
use crate::domain::plan::{KeyAction, Plan, SecretPlan};
use crate::domain::tokens::TokenName;
use std::fmt::Write;
use std::path::Path;

/// What the script has to know beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct Preview<'a> {
    /// The plan for a namespace in which nothing exists.
    pub plan: &'a Plan,
    /// The inputs, for where they came from.
    pub inputs: &'a Inputs,
    /// The home namespace.
    pub namespace: &'a str,
    /// The labels of fleet namespaces that nobody knows before the cluster is asked.
    pub fleet_selector: Option<&'a str>,
    /// The tokens file.
    pub tokens_file: &'a Path,
    /// Options that lead kubectl to the cluster, quoted for a shell.
    pub kubectl_options: &'a str,
    /// Whether the namespace is made too.
    pub create_namespace: bool,
    /// The command that does it all, for the comment.
    pub apply: &'a str,
}

/// Writes the script.
pub fn script(preview: &Preview<'_>) -> String {
    let mut text = format!(
        "#!/bin/sh\n\
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
    text.push_str("(\nset -eu\numask 077\n");
    push_tokens(&mut text, preview.tokens_file);
    let kubectl = format!("kubectl{}", preview.kubectl_options);
    if preview.create_namespace {
        let _ = writeln!(text, "\n{kubectl} create namespace {}", preview.namespace);
    }
    for secret in &preview.plan.secrets {
        text.push('\n');
        if secret.is_written() {
            push_secret(&mut text, secret, &kubectl, secret.at.namespace.as_str());
        } else {
            let reason = secret.reason.as_deref().unwrap_or("nothing to do");
            let _ = writeln!(text, "# {}: skipped, {reason}", secret.at.name);
        }
    }
    if let Some(selector) = preview.fleet_selector {
        push_selected(&mut text, preview.plan, &kubectl, selector);
    }
    text.push_str(")\n");
    text
}

/// The router Secret in every namespace that the selector matches and that has not got one above.
fn push_selected(text: &mut String, plan: &Plan, kubectl: &str, selector: &str) {
    let routers = plan
        .secrets
        .iter()
        .filter(|secret| *secret.bundle == ROUTER);
    let done: Vec<_> = routers
        .clone()
        .map(|secret| secret.at.namespace.as_str())
        .collect();
    let Some(router) = routers.into_iter().next() else {
        return;
    };
    let _ = write!(
        text,
        "\nfor namespace in $({kubectl} get namespaces -l {} -o name); do\n\
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
         # The tokens are minted once; a file that exists is never replaced (set -C).\n\
         if [ ! -e {file} ]; then\n\
         \x20 mkdir -p {folder}\n\
         \x20 mint() {{ od -An -v -tx1 -N32 /dev/urandom | tr -d ' \\n'; }}\n"
    );
    for token in TokenName::ALL {
        let _ = writeln!(text, "  {token}=$(mint)");
    }
    let _ = writeln!(text, "  (set -C; cat > {file} <<EOF");
    for token in TokenName::ALL {
        let _ = writeln!(text, "{token}=\"${token}\"");
    }
    let _ = write!(text, "EOF\n  )\nfi\nunset {names}\n. {file}\n");
    for token in TokenName::ALL {
        let _ = writeln!(text, ": \"${{{token}:?is not in the tokens file}}\"");
    }
}

fn push_secret(text: &mut String, secret: &SecretPlan, kubectl: &str, namespace: &str) {
    let origin_of = |name: &str| {
        secret
            .bundle
            .keys
            .iter()
            .find(|key| key.name == name)
            .map(|key| key.origin)
    };
    let set: Vec<_> = secret
        .keys
        .iter()
        .filter(|key| matches!(key.action, KeyAction::Set(_)))
        .filter_map(|key| Some((key.key, origin_of(key.key)?)))
        .collect();
    for (key, origin) in &set {
        if matches!(
            origin,
            Origin::Input(InputRule::Required | InputRule::EnvFileOnly)
        ) {
            let _ = writeln!(text, ": \"${{{key}:?is not exported}}\"");
        }
    }
    let _ = writeln!(
        text,
        "{kubectl} -n {namespace} create secret generic {} --from-env-file=/dev/stdin <<EOF",
        secret.at.name
    );
    for (key, origin) in set {
        let variable = match origin {
            Origin::Token(token) | Origin::TokenList(token, _) => format!("${token}"),
            Origin::Input(InputRule::Default(value)) => format!("${{{key}:-{value}}}"),
            Origin::Input(InputRule::Required | InputRule::EnvFileOnly) => format!("${key}"),
        };
        let _ = writeln!(text, "{key}={variable}");
    }
    text.push_str("EOF\n");
}

/// A path with a slash in it: `.` searches PATH for any other.
fn sourceable(path: &Path) -> String {
    let shown = path.display().to_string();
    if path.is_absolute() {
        shown
    } else {
        format!("./{shown}")
    }
}

/// Quotes a text for a POSIX shell.
pub fn quote(text: &str) -> String {
    shlex::try_quote(text)
        .map(Into::into)
        .unwrap_or_else(|_| "''".to_owned())
}
