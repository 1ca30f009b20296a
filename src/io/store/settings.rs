//! The address, token and TLS settings of the store, read as `bao` and `vault` read them: from the
//! environment, and from the token file that `login` writes.

use crate::domain::values::secret_value::SecretValue;
use crate::error::Failure;
use crate::io::kube::kubeconfig;
use crate::io::local::text_file::{self, BadFile};
use http::{HeaderValue, Uri, header};
use kube::Config;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// The largest token file that is read, in MiB.
const LARGEST_TOKEN: u64 = 1;
/// The default address of `bao` and `vault`.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// The settings of the connection to the store.
pub struct Settings {
    /// The program whose variable names the address, for hints: `bao` or `vault`.
    pub program: &'static str,
    pub uri: Uri,
    pub token: HeaderValue,
    /// The namespace in the store, if one is set.
    pub namespace: Option<HeaderValue>,
}

impl Settings {
    /// Reads the environment, and the token file if the environment has no token.
    ///
    /// # Errors
    /// No token, or invalid settings (exit code 3).
    pub fn read() -> Result<Self, Failure> {
        let found = setting("ADDR");
        let program = found.as_ref().map_or("bao", |(program, _)| *program);
        let address = found.map_or_else(|| DEFAULT_ADDRESS.to_owned(), |(_, address)| address);
        let uri = address
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme().is_some() && uri.host().is_some())
            .ok_or_else(|| {
                Failure::unable("the address of the secret store is not a URL")
                    .hint("set BAO_ADDR or VAULT_ADDR to a URL such as https://bao.example:8200")
            })?;
        let token = header(&token(program)?).ok_or_else(|| {
            Failure::unable("the token for the secret store is not valid in an HTTP header")
                .hint(format!("log in again: {program} login"))
        })?;
        // An invalid namespace is an error: without it, requests would go to another namespace.
        let namespace = setting("NAMESPACE").map(|(program, name)| {
            header(&name.into()).ok_or_else(|| {
                let variable = format!("{}_NAMESPACE", program.to_uppercase());
                Failure::unable(format!("{variable} is not valid in an HTTP header"))
                    .hint(format!("set {variable} to the namespace's path"))
            })
        });
        Ok(Self {
            program,
            uri,
            token,
            namespace: namespace.transpose()?,
        })
    }

    /// The settings as a configuration of kube's client, which also connects to the API server.
    ///
    /// # Errors
    /// An invalid CA file (exit code 3).
    pub fn config(&self, timeout: Option<Duration>) -> Result<Config, Failure> {
        let mut config = Config::new(self.uri.clone());
        config.headers.push((header::USER_AGENT, kubeconfig::AGENT));
        config.default_retry = false;
        config.connect_timeout = timeout;
        config.tls_server_name = setting("TLS_SERVER_NAME").map(|(_, name)| name);
        config.accept_invalid_certs =
            setting("SKIP_VERIFY").is_some_and(|(_, value)| value == "true" || value == "1");
        config.auth_info.client_certificate = setting("CLIENT_CERT").map(|(_, path)| path);
        config.auth_info.client_key = setting("CLIENT_KEY").map(|(_, path)| path);
        if let Some((program, path)) = setting("CACERT") {
            let unusable = |cause: String| {
                Failure::unable(format!(
                    "the CA file {path} of the secret store cannot be used"
                ))
                .cause(cause)
                .hint(format!(
                    "point {}_CACERT at a PEM file",
                    program.to_uppercase()
                ))
            };
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&path)
                .map_err(|error| unusable(error.to_string()))?
                .collect();
            let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
            if certificates.is_empty() {
                return Err(unusable("it holds no certificate".to_owned()));
            }
            config.root_cert = Some(certificates.iter().map(|der| der.to_vec()).collect());
        }
        Ok(config)
    }
}

/// Reads a setting from `BAO_*`, or else from `VAULT_*`, and gives the program and the value.
pub(super) fn setting(name: &str) -> Option<(&'static str, String)> {
    let variable = |prefix: &str| {
        let value = std::env::var(format!("{prefix}_{name}")).ok();
        value.filter(|value| !value.is_empty())
    };
    variable("BAO")
        .map(|value| ("bao", value))
        .or_else(|| variable("VAULT").map(|value| ("vault", value)))
}

/// Makes a sensitive header, which logs do not show; `None` if a header cannot hold the value.
pub(super) fn header(value: &SecretValue) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Reads the token from the environment, or from the file that `login` writes.
fn token(program: &'static str) -> Result<SecretValue, Failure> {
    if let Some((_, token)) = setting("TOKEN") {
        return Ok(SecretValue::from(token));
    }
    let none = || {
        Failure::unable("there is no token for the secret store").hint(format!(
            "set BAO_TOKEN or VAULT_TOKEN, or log in: {program} login"
        ))
    };
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .ok_or_else(none)?;
    // `bao` uses the file name of `vault`.
    let path = home.join(".vault-token");
    match text_file::read(&path, LARGEST_TOKEN) {
        Ok(text) if !text.expose().trim().is_empty() => Ok(SecretValue::from(text.expose().trim())),
        Ok(_) => Err(none()),
        Err(BadFile::Unreadable(error)) if error.kind() == ErrorKind::NotFound => Err(none()),
        Err(error) => Err(Failure::unable(format!("cannot read {}", path.display()))
            .because(error)
            .hint(format!("log in again: {program} login"))),
    }
}
