//! Options of every command.

use super::parse::{Timeout, path, printable, timeout};
use crate::domain::cluster::names::Namespace;
use crate::ui::{Color, Format};
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The home namespace, which gets every Secret (not the context's)
    #[arg(
        short,
        long,
        global = true,
        value_name = "NS",
        default_value = "default"
    )]
    pub namespace: Namespace,
    /// The context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", value_parser = printable)]
    pub context: Option<String>,
    /// The kubeconfig
    #[arg(long, global = true, value_name = "FILE", value_parser = path)]
    pub kubeconfig: Option<PathBuf>,
    /// The tokens file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "local/.k8s-tokens",
        value_parser = path
    )]
    pub tokens_file: PathBuf,
    /// Inputs as KEY=value lines, which beat the environment; - is stdin
    #[arg(long, global = true, value_name = "FILE", value_parser = path)]
    pub env_file: Option<PathBuf>,
    /// What the answer looks like (yaml: previews, rbac and externalsecrets)
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub output: Format,
    /// Answers, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Shows each request; twice, the connection too. Never a value
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours (NO_COLOR is honoured)
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Color,
    /// How long a request may take, tries included: 30, 30s, 2m; 0 is no limit
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub request_timeout: Timeout,
}
