//! What the commands of Path 2 share: what is served, which ExternalSecrets count, a way of our own
//! to the store.

use crate::cli::Global;
use crate::domain::bundles::{BUNDLES, ROUTER};
use crate::domain::external_secrets::{ExternalSecret, Provider};
use crate::domain::live::{LiveSecret, NamespaceState};
use crate::domain::migration::{Texts, compare};
use crate::domain::names::Namespace;
use crate::domain::reach::Reach;
use crate::domain::store::Entry;
use crate::error::Failure;
use crate::io::cluster::{Cluster, WIDTH};
use crate::io::external_secrets::Served;
use crate::io::store::{self, Store};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The version of ExternalSecret that is served.
///
/// # Errors
/// Where none is, or that may not be asked (exit code 3).
pub async fn served(cluster: &Cluster, reach: &Reach) -> Result<&'static str, Failure> {
    match cluster.served().await? {
        Served::Version(version) => Ok(version),
        Served::Nothing => Err(Failure::unable(
            "External Secrets Operator is not installed: the API server knows no ExternalSecret",
        )
        .hint("install it: https://external-secrets.io/latest/introduction/getting-started/")),
        Served::Forbidden => Err(Failure::unable(
            "you may not ask which version of ExternalSecret is served",
        )
        .hint(format!(
            "every user may by default; see {} get clusterrolebinding system:discovery",
            reach.kubectl
        ))),
    }
}

/// Tells whether an ExternalSecret makes one of the Secrets: any of them at home, that of the
/// tokens in the fleet.
pub fn is_of_the_table(
    external: &ExternalSecret,
    home: &Namespace,
    fleet: &BTreeSet<Namespace>,
) -> bool {
    let target = external.target.as_str();
    match external.namespace == *home {
        true => BUNDLES.iter().any(|bundle| bundle.secret == target),
        false => target == ROUTER.secret && fleet.contains(&external.namespace),
    }
}

/// How long the operator has for an ExternalSecret.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Refuses a home namespace that is not there.
///
/// # Errors
/// One that is absent or going away (exit code 3).
pub fn check_home(name: &Namespace, state: NamespaceState) -> Result<(), Failure> {
    match state {
        NamespaceState::Active | NamespaceState::Forbidden => Ok(()),
        NamespaceState::Absent => Err(Failure::unable(format!("namespace {name} does not exist"))
            .hint("name the one that has the Secrets with -n")),
        NamespaceState::Terminating => Err(Failure::unable(format!(
            "namespace {name} is being deleted"
        ))
        .hint("wait until it is gone")),
    }
}

/// The ExternalSecrets of these namespaces, as they are at this moment.
///
/// # Errors
/// Where those of one may not be listed (exit code 3).
pub async fn externals(
    cluster: &Cluster,
    version: &str,
    places: impl Iterator<Item = &Namespace>,
) -> Result<Vec<ExternalSecret>, Failure> {
    let reads = places.map(|place| cluster.all_external_secrets(version, place));
    let found: Vec<_> = stream::iter(reads).buffered(WIDTH).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// A failure where a Secret is not what it is to be.
///
/// # Errors
/// The keys of which it has other values, or which it has or lacks (exit code 3).
pub fn check_values(live: &LiveSecret, wanted: &Texts) -> Result<(), Failure> {
    let (differing, lost, gained) = compare(live, wanted);
    let odd = [differing, lost, gained].concat();
    match odd.is_empty() {
        true => Ok(()),
        false => Err(Failure::unable(format!(
            "it has other values than before: {}",
            odd.join(", ").replace(char::is_control, "?")
        ))),
    }
}

/// A way of our own to a store that is OpenBao or Vault, where the environment names one.
///
/// # Errors
/// One that is named and cannot be used (exit code 3).
pub async fn direct(
    global: &Global,
    provider: &Provider,
    ui: Ui,
) -> Result<Option<Store>, Failure> {
    match provider {
        Provider::Vault {
            mount: Some(mount), ..
        } if store::named().is_some() => {
            let store = Store::connect(mount, global.request_timeout.0, ui).await?;
            Ok(Some(store))
        }
        _ => Ok(None),
    }
}

/// The keys of which a Secret and an entry have different values.
pub fn differing(live: &LiveSecret, entry: &Entry) -> Vec<String> {
    let fields = entry.fields.iter().flatten();
    let fields: BTreeMap<_, _> = fields
        .map(|(key, field)| (key_of_field(key), field.text.as_ref()))
        .collect();
    let keys: BTreeSet<_> = live.data.keys().chain(fields.keys()).collect();
    keys.into_iter()
        .filter(|key| {
            let value = live.text(key);
            value.is_none() || Some(&value) != fields.get(*key)
        })
        .cloned()
        .collect()
}

/// What the operator calls a field in a Secret, whose keys cannot have every name.
fn key_of_field(name: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let chars = name.chars();
    chars.map(|c| if good(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::live::LiveValue;
    use crate::domain::store::Field;
    use crate::domain::value::SecretValue;

    #[test]
    fn a_secret_differs_from_an_entry_in_these_keys() {
        let text = |text: &str| SecretValue::from(text);
        let live = LiveSecret {
            data: [("same", "1"), ("other", "1"), ("od__d", "1"), ("lost", "1")]
                .map(|(key, value)| (key.to_owned(), LiveValue::encode(&text(value))))
                .into(),
            ..LiveSecret::default()
        };
        let fields = [
            ("same", "1"),
            ("other", "2"),
            ("od~/d", "1"),
            ("gained", "1"),
        ];
        let entry = Entry {
            version: 1,
            fields: Some(
                fields
                    .map(|(key, value)| (key.to_owned(), Field::of_text(&text(value))))
                    .into(),
            ),
        };
        assert_eq!(differing(&live, &entry), ["gained", "lost", "other"]);
    }
}
