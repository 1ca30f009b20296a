//! Reads the secret store for `verify`, with the token of the environment. A failed read is a fact
//! for the checks, not a failure.

use crate::cli::Global;
use crate::domain::eso::objects::KvPath;
use crate::domain::eso::status::{Contents, Path2, StoreSeen, Unread};
use crate::domain::eso::store_entry::Entry;
use crate::error::Failure;
use crate::io::store::{self, Store};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// How many entries are read at the same time.
const WIDTH: usize = 8;

/// Reads the entries of the ExternalSecrets. Empty if the environment names no store.
pub async fn look(path2: &Path2, global: &Global, ui: Ui) -> Contents {
    let Some(named) = store::named() else {
        return Contents::default();
    };
    let mut contents = Contents {
        // Replaced once a connection is made.
        address: Some("the address of the environment".to_owned()),
        entries: BTreeMap::new(),
    };
    let mut mounts = BTreeMap::<String, BTreeSet<KvPath>>::new();
    let servers: BTreeSet<_> = path2
        .externals
        .iter()
        .filter_map(|external| path2.store_of(&external.object))
        .filter_map(server_of)
        .collect();
    for external in &path2.externals {
        let store = path2.store_of(&external.object);
        let server = store.and_then(server_of);
        let namespace = store.and_then(namespace_of);
        // With several servers, only the one that the environment names can be read.
        let unread = if servers.len() > 1 && server.is_some_and(|server| !store::is_at(server)) {
            Some(other("server", &named, "ADDR", "$ADDRESS"))
        } else if namespace != named.namespace.as_deref() {
            let what = "namespace within the store";
            Some(other(what, &named, "NAMESPACE", "$NAMESPACE"))
        } else {
            None
        };
        for kv_path in path2.slots_of(&external.object) {
            if let Some(unread) = &unread {
                let entry = contents.entries.entry(kv_path);
                entry.or_insert_with(|| Err(unread.clone()));
            } else {
                let mount = kv_path.mount.clone();
                mounts.entry(mount).or_default().insert(kv_path);
            }
        }
    }
    for (mount, kv_paths) in mounts {
        match Store::connect(&mount, global.request_timeout.0, ui).await {
            Ok(store) => {
                contents.address = Some(store.address().to_owned());
                contents.entries.extend(read(&store, kv_paths).await);
            }
            Err(failure) => {
                let unread = unread(&failure);
                let unread = kv_paths
                    .into_iter()
                    .map(|kv_path| (kv_path, Err(unread.clone())));
                contents.entries.extend(unread);
            }
        }
    }
    contents
}

async fn read(
    store: &Store,
    kv_paths: impl IntoIterator<Item = KvPath>,
) -> Vec<(KvPath, Result<Entry, Unread>)> {
    let reads = kv_paths.into_iter().map(|kv_path| async move {
        let entry = store.read(&kv_path.path).await;
        (kv_path, entry.map_err(|failure| unread(&failure)))
    });
    stream::iter(reads).buffer_unordered(WIDTH).collect().await
}

/// The server that a SecretStore or ClusterSecretStore names.
fn server_of(store: &StoreSeen) -> Option<&str> {
    Some(store.there()?.provider.place()?.0)
}

/// The object of the store and the environment do not name the same `what`.
fn other(what: &str, named: &store::Named, setting: &str, value: &str) -> Unread {
    let variable = format!("{}_{setting}", named.program.to_uppercase());
    Unread {
        why: format!("the store's object names another {what} than {variable}"),
        hint: format!("export {variable}=\"{value}\""),
    }
}

/// The namespace of OpenBao or Vault that a SecretStore or ClusterSecretStore names.
fn namespace_of(store: &StoreSeen) -> Option<&str> {
    store.there()?.provider.place()?.1
}

fn unread(failure: &Failure) -> Unread {
    let why = std::iter::once(&failure.message).chain(&failure.causes);
    Unread {
        why: why.map(String::as_str).collect::<Vec<_>>().join(": "),
        hint: failure.hints.first().cloned().unwrap_or_default(),
    }
}
