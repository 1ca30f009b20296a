//! What to do, in the words of kubectl and of the store's own program. No value stands in it, nor
//! on a process's arguments.

use super::targets::{BundleTarget, Eso, fields_of, kubectl_kind};
use crate::domain::checks::words::quoted;
use crate::domain::cluster::observed_secret::OperatorMarks;
use crate::domain::eso::objects::{
    Cause, Credentials, EntrySource, KvPath, Provider, SecretStore, StoreKind,
};
use crate::domain::eso::status::{ExternalSecretStatus, StoreAt};
use crate::domain::table::{BUNDLES, Bundle, InputRule, Origin};

/// A value that differs from the one before.
const NOW: &str = "force-sync=\"$(date +%s)\"";
/// The mount that `populate` takes unless told otherwise.
const DEFAULT_MOUNT: &str = "secret";

impl Eso<'_> {
    /// Installs the operator, or a newer one.
    pub(super) fn install(&self) -> String {
        format!(
            "helm upgrade --install external-secrets external-secrets/external-secrets \
             -n external-secrets --create-namespace{}",
            self.case.reach.helm
        )
    }

    pub(super) fn look_for_operator(&self) -> String {
        let kubectl = &self.case.reach.kubectl;
        format!("{kubectl} get pods -A -l app.kubernetes.io/name=external-secrets")
    }

    fn of_external(&self, tended: &ExternalSecretStatus, words: &str, more: &str) -> String {
        let object = &tended.object;
        let line = format!("{words} externalsecret {}{more}", quoted(&object.name));
        self.case.kubectl(&object.namespace, &line)
    }

    pub(super) fn describe(&self, tended: &ExternalSecretStatus) -> String {
        self.of_external(tended, "describe", "")
    }

    pub(super) fn delete(&self, tended: &ExternalSecretStatus) -> String {
        match &tended.object.owner {
            Some(owner) => self.case.ask_owner(&tended.object.namespace, owner),
            None => self.of_external(tended, "delete", ""),
        }
    }

    /// Has the operator refresh it now.
    pub(super) fn resync(&self, tended: &ExternalSecretStatus) -> String {
        match tended.object.namespace == self.case.cluster.home {
            true => format!("{} sync", self.case.reach.program),
            false => self.of_external(tended, "annotate --overwrite", &format!(" {NOW}")),
        }
    }

    fn then_resync(&self, tended: &ExternalSecretStatus, first: String) -> String {
        format!("{first} && {}", self.resync(tended))
    }

    /// Changes its spec, or has the one who applies it do so.
    fn patch(&self, tended: &ExternalSecretStatus, spec: &str) -> String {
        match &tended.object.owner {
            Some(owner) => self.case.ask_owner(&tended.object.namespace, owner),
            None => {
                let patch = format!(" --type=merge -p '{{\"spec\":{spec}}}'");
                self.of_external(tended, "patch", &patch)
            }
        }
    }

    pub(super) fn set_policy(
        &self,
        tended: &ExternalSecretStatus,
        policy: &str,
        word: &str,
    ) -> String {
        self.patch(
            tended,
            &format!("{{\"target\":{{\"{policy}\":\"{word}\"}}}}"),
        )
    }

    pub(super) fn set_refresh(&self, tended: &ExternalSecretStatus) -> String {
        let spec = "{\"refreshPolicy\":\"Periodic\",\"refreshInterval\":\"30s\"}";
        self.patch(tended, spec)
    }

    /// Takes the operator's marks off a Secret.
    pub(super) fn strip(&self, target: &BundleTarget<'_>, marks: &OperatorMarks) -> String {
        let secret = target.bundle.secret;
        let without = |names: &[String]| {
            let names = names.iter().map(|name| format!(" {name}-"));
            names.collect::<String>()
        };
        let patch = "--type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/ownerReferences\"}]'";
        let steps = [
            marks
                .owner
                .is_some()
                .then(|| format!("patch secret {secret} {patch}")),
            (!marks.labels.is_empty())
                .then(|| format!("label secret {secret}{}", without(&marks.labels))),
            (!marks.annotations.is_empty())
                .then(|| format!("annotate secret {secret}{}", without(&marks.annotations))),
        ];
        let steps = steps.into_iter().flatten();
        let steps = steps.map(|step| self.case.kubectl(target.namespace, &step));
        steps.collect::<Vec<_>>().join(" && ")
    }

    /// What mends the cause of an ExternalSecret, and brings it on.
    pub(super) fn mend(&self, tended: &ExternalSecretStatus, cause: &Cause) -> String {
        let store = StoreAt::of(&tended.object).zip(self.store_of(tended));
        match (cause, store) {
            (Cause::TargetTaken, _) => self.delete(tended),
            (Cause::StoreAbsent, _) => self.rename_store(tended),
            (Cause::NotAllowed, Some((_, store))) => match self.allow(tended, store) {
                Some(allow) => self.then_resync(tended, allow),
                None => self.describe(tended),
            },
            (Cause::NotManaged | Cause::NotAllowed, _) | (_, None) => self.describe(tended),
            (cause, Some((at, store))) => {
                self.then_resync(tended, self.mend_store(&at, store, cause))
            }
        }
    }

    /// Names another store.
    fn rename_store(&self, tended: &ExternalSecretStatus) -> String {
        let kind = tended
            .object
            .store
            .as_ref()
            .map(|store| store.kind.as_str());
        let kind = kind.unwrap_or("ClusterSecretStore");
        let spec =
            format!("{{\"secretStoreRef\":{{\"kind\":\"{kind}\",\"name\":\"'\"$STORE\"'\"}}}}");
        self.patch(tended, &spec)
    }

    pub(super) fn another_store(&self, at: &StoreAt) -> String {
        const FEW: usize = 3;
        let users: Vec<_> = self.users(at).collect();
        match users.len() <= FEW {
            true => {
                let renamed = users.iter().map(|tended| self.rename_store(tended));
                renamed.collect::<Vec<_>>().join(" && ")
            }
            false => {
                let kubectl = &self.case.reach.kubectl;
                format!("{kubectl} get clustersecretstores,secretstores -A")
            }
        }
    }

    fn of_store(&self, at: &StoreAt, words: &str, more: &str) -> String {
        let kind = kubectl_kind(at.at.kind);
        let line = format!("{words} {kind} {}{more}", quoted(&at.at.name));
        match &at.namespace {
            Some(namespace) => self.case.kubectl(namespace, &line),
            None => format!("{} {line}", self.case.reach.kubectl),
        }
    }

    pub(super) fn describe_store(&self, at: &StoreAt) -> String {
        self.of_store(at, "describe", "")
    }

    fn patch_store(&self, at: &StoreAt, store: &SecretStore, spec: &str) -> String {
        match (&store.owner, &at.namespace) {
            (Some(owner), namespace) => {
                let namespace = namespace.as_ref().unwrap_or(&self.case.cluster.home);
                self.case.ask_owner(namespace, owner)
            }
            (None, _) => {
                let patch = format!(" --type=merge -p '{{\"spec\":{spec}}}'");
                self.of_store(at, "patch", &patch)
            }
        }
    }

    /// Lets every class of operators work on a store, and on what reads it.
    pub(super) fn unreserve(&self, at: &StoreAt) -> String {
        let store = self.path2.stores.get(at).and_then(|seen| seen.there());
        let Some(store) = store else {
            return self.describe_store(at);
        };
        let mut steps = vec![
            self.patch_store(at, store, "{\"controller\":null}"),
            self.retry_hint(at),
        ];
        steps.extend(self.users(at).map(|tended| self.resync(tended)));
        steps.dedup();
        steps.join(" && ")
    }

    /// Has the operator look at a store again, which it does by itself every few minutes only.
    pub(super) fn retry_hint(&self, at: &StoreAt) -> String {
        format!(
            "{} && {}",
            self.of_store(at, "annotate --overwrite", &format!(" {NOW}")),
            self.of_store(at, "wait --for=condition=Ready --timeout=1m", "")
        )
    }

    /// What mends a store, and has the operator see that.
    pub(super) fn mend_store(&self, at: &StoreAt, store: &SecretStore, cause: &Cause) -> String {
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
            (Cause::StoreForbidden, ..) => return self.of_store(at, "edit", ""),
            _ => return self.describe_store(at),
        };
        format!("{first} && {}", self.retry_hint(at))
    }

    /// Asks the store's own program at the address at which the operator looks for it.
    fn status(&self, store: &SecretStore) -> String {
        let Provider::Vault { server, .. } = &store.provider else {
            return String::new();
        };
        let program = self.path2.contents.program;
        format!("{program} status -address={}", quoted(server))
    }

    /// The store's own program, led there where the environment does not.
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

    /// Makes a token, and puts it where the store's object looks for it.
    fn new_token(&self, at: &StoreAt, store: &SecretStore, credentials: &Credentials) -> String {
        let namespace = match (at.at.kind, &at.namespace, &credentials.namespace) {
            (StoreKind::SecretStore, Some(namespace), _) => namespace.to_string(),
            (_, _, Some(namespace)) => quoted(namespace),
            (_, _, None) => "\"$NAMESPACE\"".to_owned(),
        };
        let kubectl = format!("{} -n {namespace}", self.case.reach.kubectl);
        let create = self.store_cli(store, "token create -orphan -field=token");
        let (secret, key) = (quoted(&credentials.secret), quoted(&credentials.key));
        // A pipe would hide that no token was made; printf is a part of the shell.
        format!(
            "TOKEN=$({create} -policy=\"$POLICY\") && printf %s \"$TOKEN\" | {kubectl} create secret \
             generic {secret} --from-file={key}=/dev/stdin --dry-run=client -o yaml | {kubectl} \
             apply --server-side --force-conflicts -f -"
        )
    }

    /// Lets the operator read what it may not.
    fn allow(&self, tended: &ExternalSecretStatus, store: &SecretStore) -> Option<String> {
        let slots = self.path2.slots_of(&tended.object);
        let slots: Vec<_> = slots.into_iter().collect();
        let paths = slots.iter().map(|KvPath { mount, path }| {
            let path = quoted(&format!("{mount}/data/{path}"));
            format!(" {path}")
        });
        let paths: String = paths.collect();
        (!slots.is_empty()).then(|| {
            format!(
                "{{ {} \"$POLICY\" && printf '\\npath \"%s\" {{ capabilities = [\"read\"] }}\\n'{paths}; \
                 }} | {} \"$POLICY\" -",
                self.store_cli(store, "policy read"),
                self.store_cli(store, "policy write"),
            )
        })
    }

    /// Puts an entry in the store, from the live Secret where there is one.
    pub(super) fn fill(&self, target: &BundleTarget<'_>, tended: &ExternalSecretStatus) -> String {
        let from_cluster = target.live.is_some_and(|live| !live.data.is_empty());
        let filled = match self.store_of(tended).map(|store| &store.provider) {
            Some(provider @ Provider::Vault { .. }) => {
                let path = tended.object.entry();
                let slot = path.and_then(|path| provider.slot(path));
                slot.map(|slot| self.fill_kv(target, tended, &slot, from_cluster))
            }
            Some(Provider::Other(word)) => {
                let path = tended.object.entry();
                path.and_then(|path| self.fill_other(target, word, path))
            }
            None => None,
        };
        match filled {
            Some(filled) => self.then_resync(tended, filled),
            None => self.describe(tended),
        }
    }

    fn fill_kv(
        &self,
        target: &BundleTarget<'_>,
        tended: &ExternalSecretStatus,
        slot: &KvPath,
        from_cluster: bool,
    ) -> String {
        let required = target.bundle.required_inputs();
        let given = if from_cluster { &[][..] } else { &required };
        if let Some(populate) = self.populate(target.bundle, slot, given, from_cluster) {
            return populate;
        }
        let KvPath { mount, path } = slot;
        let put = self
            .store_of(tended)
            .map(|store| self.store_cli(store, "kv put"));
        format!(
            "{} | {} -mount={} {} -",
            self.json_of(target),
            put.unwrap_or_default(),
            quoted(mount),
            quoted(path)
        )
    }

    /// Has `populate` put what is missing at the places where the ExternalSecrets look; `None` for
    /// a path that it does not take.
    fn populate(
        &self,
        bundle: &'static Bundle,
        slot: &KvPath,
        given: &[&str],
        from_cluster: bool,
    ) -> Option<String> {
        let below = slot.path.strip_suffix(bundle.entry);
        let prefix = below.and_then(|below| below.strip_suffix('/'));
        let parent = || slot.path.rsplit_once('/').map(|(parent, _)| parent);
        let prefix = prefix.or_else(parent).unwrap_or(&slot.path);
        let mut options = format!(" --prefix {prefix}");
        for other in BUNDLES {
            let path = match other == bundle {
                true => Some(slot.path.clone()),
                false => self.path_at_home(other, &slot.mount),
            };
            let usual = format!("{prefix}/{}", other.entry);
            if let Some(path) = path.filter(|path| *path != usual) {
                options.push_str(&format!(" --path {}={path}", other.entry));
            }
        }
        if slot.mount != DEFAULT_MOUNT {
            options.push_str(&format!(" --mount {}", slot.mount));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./= ".contains(c);
        if !options.chars().all(plain) || options.contains("//") {
            return None;
        }
        let from = if from_cluster { " --from-cluster" } else { "" };
        let given = given.iter().map(|key| format!("{key}=\"${key}\" "));
        let given: String = given.collect();
        let program = &self.case.reach.program;
        Some(format!("{given}{program} populate{options}{from} --apply"))
    }

    /// Where the ExternalSecret of a bundle at home looks.
    fn path_at_home(&self, bundle: &Bundle, mount: &str) -> Option<String> {
        let home = &self.case.cluster.home;
        let mut externals = self.path2.externals.iter();
        let external = externals
            .find(|it| it.object.namespace == *home && it.object.target == bundle.secret)?;
        let path = external.object.entry()?;
        let slot = self.store_of(external)?.provider.slot(path)?;
        (slot.mount == mount).then_some(slot.path)
    }

    /// The values of a bundle as JSON: of the live Secret, or of variables.
    fn json_of(&self, target: &BundleTarget<'_>) -> String {
        let secret = target.bundle.secret;
        match target.live.is_some_and(|live| !live.data.is_empty()) {
            true => {
                let get = format!("get secret {secret} -o json");
                let get = self.case.kubectl(target.namespace, &get);
                format!("{get} | jq '.data | map_values(@base64d)'")
            }
            false => {
                let names = fields_of(target.bundle).map(|key| key.name);
                let names: Vec<_> = names.collect();
                // A variable that is not set would become an empty value.
                let set: String = names
                    .iter()
                    .map(|name| format!(": \"${{{name}?}}\" && "))
                    .collect();
                format!("{set}jq -n 'env | {{{}}}'", names.join(", "))
            }
        }
    }

    /// The same in the words of other stores.
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

    /// Adds the field that an entry lacks.
    pub(super) fn add_field(&self, tended: &ExternalSecretStatus) -> String {
        let store = self.store_of(tended);
        let lacking = tended
            .object
            .sources
            .iter()
            .find_map(|source| match source {
                EntrySource::Field { path, property, .. } if *property == tended.field => {
                    Some((path, property.as_ref()?))
                }
                _ => None,
            });
        let added = store.zip(lacking).and_then(|(store, (path, field))| {
            let slot = store.provider.slot(path)?;
            Some(self.patch_kv(store, &slot, field, "VALUE"))
        });
        match added {
            Some(added) => self.then_resync(tended, added),
            None => self.describe(tended),
        }
    }

    /// Sets one field to the value of a variable.
    fn patch_kv(&self, store: &SecretStore, slot: &KvPath, field: &str, variable: &str) -> String {
        let patch = self.store_cli(store, "kv patch");
        format!(
            "printf %s \"${variable}\" | {patch} -mount={} {} {}=-",
            quoted(&slot.mount),
            quoted(&slot.path),
            quoted(field)
        )
    }

    /// Adds the fields that an entry lacks: the bundle's own, with their defaults.
    pub(super) fn add_fields(
        &self,
        target: &BundleTarget<'_>,
        tended: &ExternalSecretStatus,
        missing: &[&'static str],
    ) -> String {
        let store = self.store_of(tended);
        let slot = tended
            .object
            .entry()
            .and_then(|path| store?.provider.slot(path));
        let (Some(store), Some(slot)) = (store, slot) else {
            return self.edit(tended);
        };
        let is_required = |name: &&&str| {
            let mut keys = target.bundle.keys.iter();
            let key = keys.find(|key| key.name == **name);
            key.is_some_and(|key| key.origin == Origin::Input(InputRule::Required))
        };
        let required: Vec<_> = missing.iter().filter(is_required).copied().collect();
        // With the live Secret as a source nothing is minted that is there.
        let from_cluster = target.live.is_some_and(|live| !live.data.is_empty());
        let added = self.populate(target.bundle, &slot, &required, from_cluster);
        let added = added.unwrap_or_else(|| {
            let patches = missing
                .iter()
                .map(|name| self.patch_kv(store, &slot, name, name));
            patches.collect::<Vec<_>>().join(" && ")
        });
        self.then_resync(tended, added)
    }

    /// What a person does with an ExternalSecret whose spec has to change.
    fn edit(&self, tended: &ExternalSecretStatus) -> String {
        match &tended.object.owner {
            Some(owner) => self.case.ask_owner(&tended.object.namespace, owner),
            None => self.of_external(tended, "edit", ""),
        }
    }
}
