//! Hints of the checks of Path 2: kubectl commands and commands of the store's own CLI. They hold no
//! value and put none into the arguments of a process.

use super::targets::{BundleTarget, Eso, fields_of, kubectl_kind};
use crate::domain::checks::words::quoted;
use crate::domain::cluster::observed_secret::OperatorMarks;
use crate::domain::eso::objects::{
    Cause, Credentials, EntrySource, KvPath, Provider, SecretStore, StoreKind,
};
use crate::domain::eso::status::{ExternalSecretStatus, StoreAt};
use crate::domain::table::{BUNDLES, Bundle, InputRule, Origin};

/// An annotation with a new value, on which the operator reconciles.
const NOW: &str = "force-sync=\"$(date +%s)\"";
/// The default of `populate --mount`.
const DEFAULT_MOUNT: &str = "secret";

impl Eso<'_> {
    /// Installs or upgrades the operator.
    pub(super) fn install(&self) -> String {
        format!(
            "helm upgrade --install external-secrets external-secrets/external-secrets \
             -n external-secrets --create-namespace{}",
            self.case.reach.helm
        )
    }

    pub(super) fn list_operator_pods(&self) -> String {
        let kubectl = &self.case.reach.kubectl;
        format!("{kubectl} get pods -A -l app.kubernetes.io/name=external-secrets")
    }

    fn on_external_secret(
        &self,
        external: &ExternalSecretStatus,
        words: &str,
        more: &str,
    ) -> String {
        let object = &external.object;
        let line = format!("{words} externalsecret {}{more}", quoted(&object.name));
        self.case.kubectl(&object.namespace, &line)
    }

    pub(super) fn describe(&self, external: &ExternalSecretStatus) -> String {
        self.on_external_secret(external, "describe", "")
    }

    pub(super) fn delete(&self, external: &ExternalSecretStatus) -> String {
        match &external.object.owner {
            Some(owner) => self.case.ask_owner(&external.object.namespace, owner),
            None => self.on_external_secret(external, "delete", ""),
        }
    }

    /// Makes the operator refresh it now.
    pub(super) fn resync(&self, external: &ExternalSecretStatus) -> String {
        if external.object.namespace == self.case.cluster.home {
            format!("{} sync", self.case.reach.program)
        } else {
            self.on_external_secret(external, "annotate --overwrite", &format!(" {NOW}"))
        }
    }

    fn then_resync(&self, external: &ExternalSecretStatus, first: String) -> String {
        format!("{first} && {}", self.resync(external))
    }

    /// Changes its spec, or the source of the object if something else owns it.
    fn patch(&self, external: &ExternalSecretStatus, spec: &str) -> String {
        match &external.object.owner {
            Some(owner) => self.case.ask_owner(&external.object.namespace, owner),
            None => {
                let patch = format!(" --type=merge -p '{{\"spec\":{spec}}}'");
                self.on_external_secret(external, "patch", &patch)
            }
        }
    }

    pub(super) fn set_policy(
        &self,
        external: &ExternalSecretStatus,
        policy: &str,
        word: &str,
    ) -> String {
        self.patch(
            external,
            &format!("{{\"target\":{{\"{policy}\":\"{word}\"}}}}"),
        )
    }

    pub(super) fn set_refresh(&self, external: &ExternalSecretStatus) -> String {
        let spec = "{\"refreshPolicy\":\"Periodic\",\"refreshInterval\":\"30s\"}";
        self.patch(external, spec)
    }

    /// Removes the marks of the operator from a Secret.
    pub(super) fn remove_marks(&self, target: &BundleTarget<'_>, marks: &OperatorMarks) -> String {
        let secret = target.bundle.secret;
        let removals =
            |names: &[String]| -> String { names.iter().map(|name| format!(" {name}-")).collect() };
        let patch = "--type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/ownerReferences\"}]'";
        let steps = [
            marks
                .owner
                .is_some()
                .then(|| format!("patch secret {secret} {patch}")),
            (!marks.labels.is_empty())
                .then(|| format!("label secret {secret}{}", removals(&marks.labels))),
            (!marks.annotations.is_empty())
                .then(|| format!("annotate secret {secret}{}", removals(&marks.annotations))),
        ];
        let commands: Vec<_> = steps
            .into_iter()
            .flatten()
            .map(|step| self.case.kubectl(target.namespace, &step))
            .collect();
        commands.join(" && ")
    }

    /// Removes the cause of a failed ExternalSecret and refreshes it.
    pub(super) fn fix(&self, external: &ExternalSecretStatus, cause: &Cause) -> String {
        let store = StoreAt::of(&external.object).zip(self.store_of(external));
        match (cause, store) {
            (Cause::TargetTaken, _) => self.delete(external),
            (Cause::StoreAbsent, _) => self.change_store(external),
            (Cause::NotAllowed, Some((_, store))) => match self.allow(external, store) {
                Some(allow) => self.then_resync(external, allow),
                None => self.describe(external),
            },
            (Cause::NotManaged | Cause::NotAllowed, _) | (_, None) => self.describe(external),
            (cause, Some((at, store))) => {
                self.then_resync(external, self.fix_store(&at, store, cause))
            }
        }
    }

    /// Changes the store of an ExternalSecret to `$STORE`.
    fn change_store(&self, external: &ExternalSecretStatus) -> String {
        let store = external.object.store.as_ref();
        let kind = store.map_or("ClusterSecretStore", |store| store.kind.as_str());
        let spec =
            format!("{{\"secretStoreRef\":{{\"kind\":\"{kind}\",\"name\":\"'\"$STORE\"'\"}}}}");
        self.patch(external, &spec)
    }

    pub(super) fn another_store(&self, at: &StoreAt) -> String {
        const FEW: usize = 3;
        let users: Vec<_> = self.users(at).collect();
        if users.len() <= FEW {
            let changes = users.iter().map(|external| self.change_store(external));
            changes.collect::<Vec<_>>().join(" && ")
        } else {
            let kubectl = &self.case.reach.kubectl;
            format!("{kubectl} get clustersecretstores,secretstores -A")
        }
    }

    fn on_store(&self, at: &StoreAt, words: &str, more: &str) -> String {
        let kind = kubectl_kind(at.at.kind);
        let line = format!("{words} {kind} {}{more}", quoted(&at.at.name));
        match &at.namespace {
            Some(namespace) => self.case.kubectl(namespace, &line),
            None => format!("{} {line}", self.case.reach.kubectl),
        }
    }

    pub(super) fn describe_store(&self, at: &StoreAt) -> String {
        self.on_store(at, "describe", "")
    }

    fn patch_store(&self, at: &StoreAt, store: &SecretStore, spec: &str) -> String {
        match (&store.owner, &at.namespace) {
            (Some(owner), namespace) => {
                let namespace = namespace.as_ref().unwrap_or(&self.case.cluster.home);
                self.case.ask_owner(namespace, owner)
            }
            (None, _) => {
                let patch = format!(" --type=merge -p '{{\"spec\":{spec}}}'");
                self.on_store(at, "patch", &patch)
            }
        }
    }

    /// Lets operators of every class reconcile a store and the ExternalSecrets that read it.
    pub(super) fn unreserve(&self, at: &StoreAt) -> String {
        let store = self.path2.stores.get(at).and_then(|seen| seen.there());
        let Some(store) = store else {
            return self.describe_store(at);
        };
        let mut steps = vec![
            self.patch_store(at, store, "{\"controller\":null}"),
            self.retry_hint(at),
        ];
        steps.extend(self.users(at).map(|external| self.resync(external)));
        steps.dedup();
        steps.join(" && ")
    }

    /// Makes the operator check a store now; by itself it does so only every few minutes.
    pub(super) fn retry_hint(&self, at: &StoreAt) -> String {
        format!(
            "{} && {}",
            self.on_store(at, "annotate --overwrite", &format!(" {NOW}")),
            self.on_store(at, "wait --for=condition=Ready --timeout=1m", "")
        )
    }

    /// Removes the cause of a failed store and makes the operator check it.
    pub(super) fn fix_store(&self, at: &StoreAt, store: &SecretStore, cause: &Cause) -> String {
        let first = match (cause, &store.provider, &store.credentials) {
            (Cause::Refused | Cause::NoCredentials, Provider::Vault { .. }, Some(credentials)) => {
                self.new_token(at, store, credentials)
            }
            (Cause::Sealed, Provider::Vault { .. }, _) => self.store_cli(store, "operator unseal"),
            (Cause::Unreachable, Provider::Vault { .. }, _) => self.status(store),
            (Cause::Untrusted, Provider::Vault { .. }, _) => {
                let spec = "{\"provider\":{\"vault\":{\"caBundle\":\"'\"$(base64 <\"$CA\" | tr -d \
                            '\\n')\"'\"}}}";
                self.patch_store(at, store, spec)
            }
            (Cause::StoreForbidden, ..) => return self.on_store(at, "edit", ""),
            _ => return self.describe_store(at),
        };
        format!("{first} && {}", self.retry_hint(at))
    }

    /// The status of the store at the address that the operator uses.
    fn status(&self, store: &SecretStore) -> String {
        let Provider::Vault { server, .. } = &store.provider else {
            return String::new();
        };
        let program = self.path2.contents.program;
        format!("{program} status -address={}", quoted(server))
    }

    /// A command of the store's CLI, with the address if the environment does not set it.
    fn store_cli(&self, store: &SecretStore, words: &str) -> String {
        let program = self.path2.contents.program;
        let mut line = format!("{program} {words}");
        if let (
            None,
            Provider::Vault {
                server, namespace, ..
            },
        ) = (&self.path2.contents.address, &store.provider)
        {
            line.push_str(&format!(" -address={}", quoted(server)));
            if let Some(namespace) = namespace {
                line.push_str(&format!(" -namespace={}", quoted(namespace)));
            }
        }
        line
    }

    /// Creates a token of the store and writes it into the Secret that the store object names.
    fn new_token(&self, at: &StoreAt, store: &SecretStore, credentials: &Credentials) -> String {
        let namespace = match (at.at.kind, &at.namespace, &credentials.namespace) {
            (StoreKind::SecretStore, Some(namespace), _) => namespace.to_string(),
            (_, _, Some(namespace)) => quoted(namespace),
            (_, _, None) => "\"$NAMESPACE\"".to_owned(),
        };
        let kubectl = format!("{} -n {namespace}", self.case.reach.kubectl);
        let create = self.store_cli(store, "token create -orphan -field=token");
        let (secret, key) = (quoted(&credentials.secret), quoted(&credentials.key));
        // A pipe would hide a failed `token create`. printf is a shell builtin, so the token is in no
        // process list.
        format!(
            "TOKEN=$({create} -policy=\"$POLICY\") && printf %s \"$TOKEN\" | {kubectl} create secret \
             generic {secret} --from-file={key}=/dev/stdin --dry-run=client -o yaml | {kubectl} \
             apply --server-side --force-conflicts -f -"
        )
    }

    /// Adds the paths of an ExternalSecret to the policy of the operator.
    fn allow(&self, external: &ExternalSecretStatus, store: &SecretStore) -> Option<String> {
        let slots = self.path2.slots_of(&external.object);
        let paths: String = slots
            .iter()
            .map(|KvPath { mount, path }| {
                let path = quoted(&format!("{mount}/data/{path}"));
                format!(" {path}")
            })
            .collect();
        (!slots.is_empty()).then(|| {
            format!(
                "{{ {} \"$POLICY\" && printf '\\npath \"%s\" {{ capabilities = [\"read\"] }}\\n'{paths}; \
                 }} | {} \"$POLICY\" -",
                self.store_cli(store, "policy read"),
                self.store_cli(store, "policy write"),
            )
        })
    }

    /// Creates the store entry, from the live Secret if there is one.
    pub(super) fn fill_entry(
        &self,
        target: &BundleTarget<'_>,
        external: &ExternalSecretStatus,
    ) -> String {
        let from_cluster = target.live.is_some_and(|live| !live.data.is_empty());
        let filled = match self.store_of(external).map(|store| &store.provider) {
            Some(provider @ Provider::Vault { .. }) => {
                let path = external.object.entry();
                let slot = path.and_then(|path| provider.slot(path));
                slot.map(|slot| self.fill_kv(target, external, &slot, from_cluster))
            }
            Some(Provider::Other(word)) => {
                let path = external.object.entry();
                path.and_then(|path| self.fill_other(target, word, path))
            }
            None => None,
        };
        match filled {
            Some(filled) => self.then_resync(external, filled),
            None => self.describe(external),
        }
    }

    fn fill_kv(
        &self,
        target: &BundleTarget<'_>,
        external: &ExternalSecretStatus,
        slot: &KvPath,
        from_cluster: bool,
    ) -> String {
        let required = target.bundle.required_inputs();
        let inputs = if from_cluster { &[][..] } else { &required };
        if let Some(populate) = self.populate(target.bundle, slot, inputs, from_cluster) {
            return populate;
        }
        let KvPath { mount, path } = slot;
        let put = self
            .store_of(external)
            .map(|store| self.store_cli(store, "kv put"));
        format!(
            "{} | {} -mount={} {} -",
            self.json_of(target),
            put.unwrap_or_default(),
            quoted(mount),
            quoted(path)
        )
    }

    /// `populate` with the paths that the ExternalSecrets read; `None` if it does not accept a path.
    fn populate(
        &self,
        bundle: &'static Bundle,
        slot: &KvPath,
        inputs: &[&str],
        from_cluster: bool,
    ) -> Option<String> {
        let parent = || slot.path.rsplit_once('/').map(|(parent, _)| parent);
        let prefix = slot
            .path
            .strip_suffix(bundle.entry)
            .and_then(|below| below.strip_suffix('/'))
            .or_else(parent)
            .unwrap_or(&slot.path);
        let mut options = format!(" --prefix {prefix}");
        for other in BUNDLES {
            let path = if other == bundle {
                Some(slot.path.clone())
            } else {
                self.path_at_home(other, &slot.mount)
            };
            let usual = format!("{prefix}/{}", other.entry);
            if let Some(path) = path.filter(|path| *path != usual) {
                options.push_str(&format!(" --path {}={path}", other.entry));
            }
        }
        if slot.mount != DEFAULT_MOUNT {
            options.push_str(&format!(" --mount {}", slot.mount));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./= ".contains(c);
        if !options.chars().all(is_plain) || options.contains("//") {
            return None;
        }
        let from = if from_cluster { " --from-cluster" } else { "" };
        let inputs: String = inputs
            .iter()
            .map(|key| format!("{key}=\"${key}\" "))
            .collect();
        let program = &self.case.reach.program;
        Some(format!("{inputs}{program} populate{options}{from} --apply"))
    }

    /// The path that the ExternalSecret of a bundle in the home namespace reads.
    fn path_at_home(&self, bundle: &Bundle, mount: &str) -> Option<String> {
        let home = &self.case.cluster.home;
        let mut externals = self.path2.externals.iter();
        let external = externals
            .find(|it| it.object.namespace == *home && it.object.target == bundle.secret)?;
        let path = external.object.entry()?;
        let slot = self.store_of(external)?.provider.slot(path)?;
        (slot.mount == mount).then_some(slot.path)
    }

    /// Prints the values of a bundle as JSON, from the live Secret or from shell variables.
    fn json_of(&self, target: &BundleTarget<'_>) -> String {
        let secret = target.bundle.secret;
        if target.live.is_some_and(|live| !live.data.is_empty()) {
            let get = format!("get secret {secret} -o json");
            let get = self.case.kubectl(target.namespace, &get);
            return format!("{get} | jq '.data | map_values(@base64d)'");
        }
        let names: Vec<_> = fields_of(target.bundle).map(|key| key.name).collect();
        // jq would turn an unset variable into null.
        let guards: String = names
            .iter()
            .map(|name| format!(": \"${{{name}?}}\" && "))
            .collect();
        format!("{guards}jq -n 'env | {{{}}}'", names.join(", "))
    }

    /// Creates the entry with the CLI of another store; `None` if the store is unknown.
    fn fill_other(&self, target: &BundleTarget<'_>, provider: &str, path: &str) -> Option<String> {
        let path = quoted(path);
        let put = match provider {
            "aws" => format!(
                "aws secretsmanager create-secret --name {path} --secret-string file:///dev/stdin"
            ),
            "gcpsm" => format!("gcloud secrets create {path} --data-file=-"),
            "azurekv" => format!(
                "az keyvault secret set --vault-name \"$VAULT\" --name {path} --file /dev/stdin"
            ),
            _ => return None,
        };
        Some(format!("{} | {put}", self.json_of(target)))
    }

    /// Adds the missing field of an entry.
    pub(super) fn add_field(&self, external: &ExternalSecretStatus) -> String {
        let store = self.store_of(external);
        let missing = external
            .object
            .sources
            .iter()
            .find_map(|source| match source {
                EntrySource::Field { path, property, .. } if *property == external.field => {
                    Some((path, property.as_ref()?))
                }
                _ => None,
            });
        let added = store.zip(missing).and_then(|(store, (path, field))| {
            let slot = store.provider.slot(path)?;
            Some(self.patch_kv(store, &slot, field, "VALUE"))
        });
        match added {
            Some(added) => self.then_resync(external, added),
            None => self.describe(external),
        }
    }

    /// Sets a field to the value of a shell variable.
    fn patch_kv(&self, store: &SecretStore, slot: &KvPath, field: &str, variable: &str) -> String {
        let patch = self.store_cli(store, "kv patch");
        format!(
            "printf %s \"${variable}\" | {patch} -mount={} {} {}=-",
            quoted(&slot.mount),
            quoted(&slot.path),
            quoted(field)
        )
    }

    /// Adds the missing fields of an entry, with their defaults.
    pub(super) fn add_fields(
        &self,
        target: &BundleTarget<'_>,
        external: &ExternalSecretStatus,
        missing: &[&'static str],
    ) -> String {
        let store = self.store_of(external);
        let slot = external
            .object
            .entry()
            .and_then(|path| store?.provider.slot(path));
        let (Some(store), Some(slot)) = (store, slot) else {
            return self.edit(external);
        };
        let is_required = |name: &&&str| {
            let mut keys = target.bundle.keys.iter();
            let key = keys.find(|key| key.name == **name);
            key.is_some_and(|key| key.origin == Origin::Input(InputRule::Required))
        };
        let required: Vec<_> = missing.iter().filter(is_required).copied().collect();
        // With --from-cluster populate does not mint a token that the Secret has.
        let from_cluster = target.live.is_some_and(|live| !live.data.is_empty());
        let patch = || {
            let patches = missing
                .iter()
                .map(|name| self.patch_kv(store, &slot, name, name));
            patches.collect::<Vec<_>>().join(" && ")
        };
        let added = self
            .populate(target.bundle, &slot, &required, from_cluster)
            .unwrap_or_else(patch);
        self.then_resync(external, added)
    }

    /// Edits an ExternalSecret, or the source of the object if something else owns it.
    fn edit(&self, external: &ExternalSecretStatus) -> String {
        match &external.object.owner {
            Some(owner) => self.case.ask_owner(&external.object.namespace, owner),
            None => self.on_external_secret(external, "edit", ""),
        }
    }
}
