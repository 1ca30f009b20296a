//! `rbac`: the smallest Role that a command needs.

use super::{Answer, Verdict};
use crate::cli::{Global, Rbac, RbacCommand};
use crate::render::document::Body;
use crate::render::rbac::{self, Access, Grant};

/// Prints the objects. Contacts nothing.
pub fn run(global: &Global, rbac: &Rbac) -> Answer {
    let access = match rbac.command {
        RbacCommand::Apply => Access::Apply,
        RbacCommand::Diff => Access::Diff,
        RbacCommand::Recover => Access::Recover,
    };
    let account = rbac.service_account.as_ref();
    let grant = Grant {
        home: &global.namespace,
        named: &rbac.fleet.fleet_namespace,
        selected: rbac.fleet.fleet_selector.is_some(),
        account: account.map(|account| (&account.namespace, account.name.as_str())),
    };
    let objects = rbac::objects(access, &grant);
    let text = rbac::yaml(access, &objects);
    Answer {
        text,
        next: None,
        body: Body::Objects { objects },
        verdict: Verdict::Yes,
    }
}
