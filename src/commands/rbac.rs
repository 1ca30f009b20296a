//! `rbac`: prints the smallest set of Roles that a command needs. Contacts no server.

use super::shared::answer::Answer;
use crate::cli::{Fleet, Global, Rbac, RbacCommand};
use crate::commands::shared::options::fleet;
use crate::error::Failure;
use crate::render::json::Body;
use crate::render::rbac::{self, Access, Grant};

/// Prints the Roles, ClusterRoles and bindings.
///
/// # Errors
/// An option that the chosen command does not take (exit code 2).
pub fn run(global: &Global, rbac: &Rbac) -> Result<Answer, Failure> {
    let access = match rbac.command {
        RbacCommand::Apply => Access::Apply,
        RbacCommand::Diff => Access::Diff,
        RbacCommand::Recover => Access::Recover,
        RbacCommand::Populate => Access::Populate {
            via_eso: rbac.via_eso,
        },
        RbacCommand::Verify => Access::Verify { live: rbac.live },
        RbacCommand::Sync => Access::Sync,
        RbacCommand::Migrate => Access::Migrate,
        RbacCommand::Rotate => Access::Rotate { live: rbac.live },
    };
    let takes_live_and_copy = matches!(rbac.command, RbacCommand::Verify | RbacCommand::Rotate);
    if !takes_live_and_copy && (rbac.live || !rbac.copy.is_empty()) {
        return Err(
            Failure::usage("--live and --copy go with rbac verify and rotate")
                .hint("leave them out, or ask for one of these"),
        );
    }
    if rbac.cluster_store && !access.reads_stores() {
        let message = "--cluster-store goes with rbac verify, rotate, sync and migrate";
        return Err(Failure::usage(message).hint("leave it out, or use one of these"));
    }
    if rbac.command != RbacCommand::Populate && rbac.via_eso {
        return Err(Failure::usage("--via-eso goes with rbac populate")
            .hint("leave it out, or use rbac populate"));
    }
    let command_without_fleet = match access {
        Access::Recover => Some("tokens recover"),
        Access::Populate { .. } => Some("populate"),
        _ => None,
    };
    if let Some(command) = command_without_fleet
        && rbac.fleet != Fleet::default()
    {
        let message = format!("{command} reads the home namespace only");
        return Err(Failure::usage(message).hint("leave the fleet options out"));
    }
    let account = rbac.service_account.as_ref();
    let fleet = fleet(&rbac.fleet);
    let grant = Grant {
        home: &global.namespace,
        named: &fleet.named,
        selected: fleet.selector.is_some(),
        copies: &rbac.copy,
        cluster_store: rbac.cluster_store,
        account: account.map(|account| (&account.namespace, account.name.as_str())),
    };
    let objects = rbac::objects(access, &grant);
    let text = rbac::yaml(access, &objects);
    Ok(Answer::new(text, Body::Objects { objects }))
}
