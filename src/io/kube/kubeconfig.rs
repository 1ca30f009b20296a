//! The cluster and the credentials: from the kubeconfig, or from the service account of the pod.
//!
//! A kubeconfig holds credentials and must not be quoted.

use crate::error::Failure;
use crate::io::local::text_file;
use http::header::{HeaderValue, USER_AGENT};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The largest token file that is trimmed, in MiB.
const LARGEST_TOKEN: u64 = 1;
/// The user agent of all requests.
pub(in crate::io) const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("k8s-bootstrap/", env!("CARGO_PKG_VERSION")));

/// The options that select a cluster.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// Loads the configuration and the name of its context, which is `None` inside a pod.
///
/// # Errors
/// No valid kubeconfig, or an unknown context (exit code 3).
pub async fn load(selection: &Selection) -> Result<(Config, Option<String>), Failure> {
    let (mut config, context) = find(selection).await?;
    // kube sets no user agent. Its retries are off, because `Cluster::send` retries.
    config.headers.push((USER_AGENT, AGENT));
    config.default_retry = false;
    Ok((config, context))
}

async fn find(selection: &Selection) -> Result<(Config, Option<String>), Failure> {
    let found = match (&selection.kubeconfig, kubeconfig_paths()) {
        (Some(path), _) => Kubeconfig::read_from(path),
        (None, Some(paths)) => read_all(&paths),
        (None, None) => Kubeconfig::read(),
    };
    let kubeconfig = match found {
        Ok(kubeconfig) => kubeconfig,
        Err(error) if is_default(selection) && is_absent(&error) => {
            return Config::incluster_env()
                .map(|config| (config, None))
                .map_err(|_| explain(&error, selection));
        }
        Err(error) => return Err(explain(&error, selection)),
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

/// The files in `$KUBECONFIG`; `None` if it is unset or empty.
fn kubeconfig_paths() -> Option<Vec<PathBuf>> {
    let list = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty())?;
    Some(
        std::env::split_paths(&list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
    )
}

/// Merges the files of a list. Like kubectl, it skips files that do not exist.
fn read_all(paths: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    let existing: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
    match (existing.split_first(), paths.first()) {
        (Some((first, rest)), _) => rest
            .iter()
            .try_fold(Kubeconfig::read_from(first)?, |merged, path| {
                merged.merge(Kubeconfig::read_from(path)?)
            }),
        (None, Some(first)) => Kubeconfig::read_from(first),
        (None, None) => Err(KubeconfigError::FindPath),
    }
}

/// Checks that no option or variable selects a cluster. Only then the service account of the pod is
/// used.
fn is_default(selection: &Selection) -> bool {
    selection.kubeconfig.is_none() && selection.context.is_none() && kubeconfig_paths().is_none()
}

fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

/// Trims the token of a token file as kubectl does. kube would send a trailing line break.
fn trim_token_file(config: &mut Config) {
    let auth = &mut config.auth_info;
    let (None, Some(path)) = (&auth.token, &auth.token_file) else {
        return;
    };
    // kube reports an unreadable file when it uses the token.
    let Ok(text) = text_file::read(Path::new(path), LARGEST_TOKEN) else {
        return;
    };
    let token = text.expose().trim();
    if token != text.expose() {
        auth.token = Some(token.to_owned().into());
    }
}

/// Describes an error without quoting the file, which holds credentials.
fn explain(error: &KubeconfigError, selection: &Selection) -> Failure {
    let which = match &selection.kubeconfig {
        Some(path) => format!("the kubeconfig {}", path.display()),
        None => "the kubeconfig ($KUBECONFIG, else ~/.kube/config)".to_owned(),
    };
    let kubectl = match &selection.kubeconfig {
        Some(path) => format!("kubectl --kubeconfig {}", quoted(path)),
        None => "kubectl".to_owned(),
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
            Failure::unable(format!("{which} is not a valid kubeconfig"))
                .cause(place.unwrap_or_else(|| "it cannot be parsed".to_owned()))
                .hint(format!("`{kubectl} config view` shows more"))
        }
        KubeconfigError::CurrentContextNotSet => {
            Failure::unable(format!("{which} names no current context")).hint(format!(
                "choose one with --context, or set it: {kubectl} config use-context NAME"
            ))
        }
        KubeconfigError::LoadContext(name) => {
            Failure::unable(format!("{which} has no context {name:?}"))
                .hint(format!("`{kubectl} config get-contexts` lists them"))
        }
        KubeconfigError::LoadClusterOfContext(name) => Failure::unable(format!(
            "{which} has no cluster {name:?}, which the context names"
        ))
        .hint(format!("`{kubectl} config get-clusters` lists them")),
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
            Failure::unable(format!("{which} has no usable server URL for this context"))
                .hint(format!("`{kubectl} config view --minify` shows it"))
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

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    shlex::try_quote(&path).map(Into::into).unwrap_or_default()
}
