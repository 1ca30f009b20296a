//! `rbac`: the smallest Role that a command needs.

use super::{Answer, Verdict};
use crate::cli::{Global, Rbac, RbacCommand};
use crate::render::document::Body;
use crate::render::rbac::{self, Access};

/// Prints the objects. Contacts nothing.
pub fn run(global: &Global, rbac: &Rbac) -> Answer {
    let access = match rbac.command {
        RbacCommand::Apply => Access::Apply,
        RbacCommand::Diff => Access::Diff,
        RbacCommand::Recover => Access::Recover,
    };
    let account = rbac.service_account.as_ref();
    let account = account.map(|account| (&account.namespace, account.name.as_str()));
    let objects = rbac::objects(access, &global.namespace, account);
    let text = rbac::yaml(access, &objects);
    Answer {
        text,
        body: Body::Objects { objects },
        verdict: Verdict::Yes,
    }
}
