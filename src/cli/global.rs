//! Options of every command.

use super::parse::{Timeout, path, printable, timeout};
use crate::domain::cluster::names::Namespace;
use crate::ui::{Color, Format};
use clap::{ArgAction, Args};
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The home namespace, which gets all Secrets; the namespace of the context is not used
    #[arg(
        short,
        long,
        global = true,
        value_name = "NS",
        default_value = "default"
    )]
    pub namespace: Namespace,
    /// The kubeconfig context
    #[arg(long, global = true, value_name = "NAME", value_parser = printable)]
    pub context: Option<String>,
    /// The kubeconfig file
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
    /// Inputs as KEY=value lines; they override the environment; - is stdin
    #[arg(long, global = true, value_name = "FILE", value_parser = path)]
    pub env_file: Option<PathBuf>,
    /// The output format (yaml: for previews, rbac and externalsecrets)
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub output: Format,
    /// Print only results, warnings and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print each request; -vv: also the connection. No value is printed
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colors; NO_COLOR turns them off
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Color,
    /// The time limit of a request, with retries: 30, 30s, 2m; 0 is no limit
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub request_timeout: Timeout,
}
