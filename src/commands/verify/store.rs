//! A look into the secret store with the person's own token, for `verify`. Whatever stands in its
//! way is a fact.

use crate::cli::Global;
use crate::domain::eso::objects::KvPath;
use crate::domain::eso::status::{Contents, Path2, StoreSeen, Unread};
use crate::domain::eso::store_entry::Entry;
use crate::error::Failure;
use crate::io::store::{self, Store};
use crate::ui::Ui;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// How many entries are read at once at most.
const WIDTH: usize = 8;

/// Reads the entries of the ExternalSecrets; nothing where the environment names no store.
pub async fn look(path2: &Path2, global: &Global, ui: Ui) -> Contents {
    let Some(named) = store::named() else {
        return Contents::default();
    };
    let mut contents = Contents {
        program: named.program,
        // Until the store says its own.
        address: Some("the address of the environment".to_owned()),
        entries: BTreeMap::new(),
    };
    let mut mounts = BTreeMap::<String, BTreeSet<KvPath>>::new();
    let stores = path2.externals.iter();
    let stores = stores.filter_map(|external| path2.store_of(&external.object));
    let servers: BTreeSet<_> = stores.filter_map(server_of).collect();
    let several = servers.len() > 1;
    for external in &path2.externals {
        let store = path2.store_of(&external.object);
        let elsewhere = store.and_then(|store| namespace_of(store)) != named.namespace.as_deref();
        // Of several servers only the one that the environment names can be looked into.
        let another = store.and_then(server_of).filter(|_| several);
        if another.is_some_and(|server| !store::is_at(server)) {
            for slot in path2.slots_of(&external.object) {
                contents
                    .entries
                    .entry(slot)
                    .or_insert_with(|| Err(other_server(&named)));
            }
            continue;
        }
        for slot in path2.slots_of(&external.object) {
            match elsewhere {
                true => drop(contents.entries.insert(slot, Err(other_namespace(&named)))),
                false => drop(mounts.entry(slot.mount.clone()).or_default().insert(slot)),
            }
        }
    }
    for (mount, slots) in mounts {
        match Store::connect(&mount, global.request_timeout.0, ui).await {
            Ok(store) => {
                contents.address = Some(store.address().to_owned());
                contents.entries.extend(read(&store, slots).await);
            }
            Err(failure) => {
                let unread = unread(&failure);
                let unread = slots.into_iter().map(|slot| (slot, Err(unread.clone())));
                contents.entries.extend(unread);
            }
        }
    }
    contents
}

async fn read(
    store: &Store,
    slots: impl IntoIterator<Item = KvPath>,
) -> Vec<(KvPath, Result<Entry, Unread>)> {
    let reads = slots.into_iter().map(|slot| async move {
        let entry = store.read(&slot.path).await;
        (slot, entry.map_err(|failure| unread(&failure)))
    });
    stream::iter(reads).buffer_unordered(WIDTH).collect().await
}

/// The server that a store's object names.
fn server_of(store: &StoreSeen) -> Option<&str> {
    Some(store.there()?.provider.place()?.0)
}

fn other_server(named: &store::Named) -> Unread {
    let variable = format!("{}_ADDR", named.program.to_uppercase());
    Unread {
        why: format!("the store's object names another server than {variable}"),
        hint: format!("export {variable}=\"$ADDRESS\""),
    }
}

/// The namespace within the store that its object names.
fn namespace_of(store: &StoreSeen) -> Option<&str> {
    store.there()?.provider.place()?.1
}

fn other_namespace(named: &store::Named) -> Unread {
    let variable = format!("{}_NAMESPACE", named.program.to_uppercase());
    Unread {
        why: format!("the store's object names another namespace within the store than {variable}"),
        hint: format!("export {variable}=\"$NAMESPACE\""),
    }
}

fn unread(failure: &Failure) -> Unread {
    let why = std::iter::once(&failure.message).chain(&failure.causes);
    Unread {
        why: why.map(String::as_str).collect::<Vec<_>>().join(": "),
        hint: failure.hints.first().cloned().unwrap_or_default(),
    }
}
