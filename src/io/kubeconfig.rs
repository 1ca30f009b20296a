//! Which cluster, and as whom: the kubeconfig, or the service account of the pod we run in.

use crate::domain::value::SecretValue;
use crate::error::Failure;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::PathBuf;

/// What the command line says about the cluster.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// Finds the configuration and the name of its context (none inside a pod).
///
/// # Errors
/// Where there is no usable kubeconfig or no such context (exit code 3).
pub async fn load(selection: &Selection) -> Result<(Config, Option<String>), Failure> {
    let kubeconfig = match &selection.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match kubeconfig {
        Ok(found) => found,
        Err(error) => {
            let inside = Config::incluster_env().ok();
            return match inside.filter(|_| selection.kubeconfig.is_none()) {
                Some(config) => Ok((config, None)),
                None => Err(explain(&error, selection)),
            };
        }
    };
    let context = selection
        .context
        .clone()
        .or_else(|| kubeconfig.current_context.clone());
    let options = KubeConfigOptions {
        context: context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| explain(&error, selection))?;
    trim_token_file(&mut config);
    Ok((config, context))
}

/// kubectl accepts a token file that ends with a line break; kube would send that along.
fn trim_token_file(config: &mut Config) {
    let auth = &mut config.auth_info;
    let (None, Some(path)) = (&auth.token, &auth.token_file) else {
        return;
    };
    // What cannot be read is told where it is used.
    let Ok(text) = std::fs::read_to_string(path).map(SecretValue::from) else {
        return;
    };
    let token = text.expose().trim();
    if token != text.expose() {
        auth.token = Some(token.to_owned().into());
    }
}

/// Puts an error into words without quoting the file, which holds credentials.
fn explain(error: &KubeconfigError, selection: &Selection) -> Failure {
    let which = match &selection.kubeconfig {
        Some(path) => format!("the kubeconfig {}", path.display()),
        None => "the kubeconfig ($KUBECONFIG, else ~/.kube/config)".to_owned(),
    };
    let point = "point KUBECONFIG or --kubeconfig at a file that kubectl works with";
    match error {
        KubeconfigError::ReadConfig(source, path) => {
            Failure::unable(format!("cannot read the kubeconfig {}", path.display()))
                .cause(source.to_string())
                .hint(point)
        }
        KubeconfigError::FindPath => Failure::unable("there is no kubeconfig").hint(point),
        KubeconfigError::Parse(source) => {
            let place = source.location().map(|at| format!("line {}", at.line()));
            Failure::unable(format!("{which} is not valid YAML of a kubeconfig"))
                .cause(place.unwrap_or_else(|| "it cannot be parsed".to_owned()))
                .hint("`kubectl config view` tells more")
        }
        KubeconfigError::CurrentContextNotSet => {
            Failure::unable(format!("{which} names no current context"))
                .hint("choose one with --context, or set it: kubectl config use-context NAME")
        }
        KubeconfigError::LoadContext(name) => {
            Failure::unable(format!("{which} has no context {name:?}"))
                .hint("`kubectl config get-contexts` lists them")
        }
        KubeconfigError::LoadClusterOfContext(name) => Failure::unable(format!(
            "{which} has no cluster {name:?}, which the context names"
        ))
        .hint("`kubectl config get-clusters` lists them"),
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            Failure::unable(format!("{which} has no usable server URL for this context"))
                .hint("`kubectl config view --minify` shows it")
        }
        KubeconfigError::LoadCertificateAuthority(_)
        | KubeconfigError::LoadClientCertificate(_)
        | KubeconfigError::LoadClientKey(_)
        | KubeconfigError::ParseCertificates(_) => Failure::unable(format!(
            "a certificate or key that {which} names cannot be read"
        ))
        .hint("check certificate-authority, client-certificate and client-key in it"),
        _ => Failure::unable(format!("{which} cannot be used")).hint(point),
    }
}
