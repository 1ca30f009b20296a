//! `rbac`

use super::parse::{ServiceAccount, copy, service_account};
use super::shared::Fleet;
use crate::domain::cluster::snapshot::CopyRef;
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Rbac {
    /// The command
    #[arg(value_enum, default_value = "apply")]
    pub command: RbacCommand,
    /// For verify --live, and for the checks of rotate that forward ports
    #[arg(long)]
    pub live: bool,
    /// For populate --via-eso, which creates temporary objects
    #[arg(long)]
    pub via_eso: bool,
    /// For verify --copy and rotate --copy (repeatable)
    #[arg(long, value_name = "NS/NAME", value_parser = copy)]
    pub copy: Vec<CopyRef>,
    /// For verify, rotate, sync and migrate with a ClusterSecretStore; prints a ClusterRole, too
    #[arg(long)]
    pub cluster_store: bool,
    /// Also bind the Role to this service account
    #[arg(long, value_name = "NS:NAME", value_parser = service_account)]
    pub service_account: Option<ServiceAccount>,
    #[command(flatten)]
    pub fleet: Fleet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RbacCommand {
    /// k8s-bootstrap --apply
    Apply,
    /// k8s-bootstrap diff
    Diff,
    /// k8s-bootstrap tokens recover
    Recover,
    /// k8s-bootstrap populate --from-cluster
    Populate,
    /// k8s-bootstrap verify
    Verify,
    /// k8s-bootstrap sync
    Sync,
    /// k8s-bootstrap migrate --apply, and --rollback
    Migrate,
    /// k8s-bootstrap rotate --apply
    Rotate,
}
