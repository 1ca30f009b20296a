//! What a pod spec says of an environment variable, and what follows where a service gets no token.

use crate::domain::cluster::snapshot::NamespaceSnapshot;
use crate::domain::cluster::workload::{Container, PodSpec, VariableSource};

/// The variables with the tokens that brain-api accepts; one is enough.
pub(super) const OF_BRAIN_API: [&str; 2] = ["KB_ROUTER_TOKENS", "KB_ROUTER_TOKEN"];

/// What a service does that gets no key.
pub(super) const WITHOUT_KEY: &str =
    "an older service accepts every request, a newer one answers every request with 503";

/// Whether a pod spec sets an environment variable. The greatest of several sources counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Setting {
    Unset,
    /// The variable may come from a ConfigMap or a Secret that was not read.
    Unknown,
    Set,
}

/// The containers with a port, or all containers if none has one.
pub(super) fn serving_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let any = spec.containers.iter().any(|it| it.port.is_some());
    spec.containers
        .iter()
        .filter(move |it| it.port.is_some() || !any)
}

/// The source of a variable in `env`, which overrides `envFrom`.
pub(super) fn env_source<'a>(
    container: &'a Container,
    variable: &str,
) -> Option<&'a VariableSource> {
    let env = container.env.iter().rev().find(|env| env.name == variable);
    env.map(|env| &env.source)
}

pub(super) fn setting(place: &NamespaceSnapshot, spec: &PodSpec, variables: &[&str]) -> Setting {
    serving_containers(spec)
        .flat_map(|container| variables.iter().map(move |variable| (container, variable)))
        .flat_map(|(container, variable)| settings_of(place, container, variable))
        .max()
        .unwrap_or(Setting::Unset)
}

/// How each source of a variable sets it.
fn settings_of(place: &NamespaceSnapshot, container: &Container, variable: &str) -> Vec<Setting> {
    let of_secret = |name: &str, key: &str| {
        let observed = place.secrets.get(name).or_else(|| place.others.get(name));
        let Some(observed) = observed else {
            return Setting::Unknown;
        };
        let value = observed.live.as_ref().and_then(|live| live.text(key));
        match value.is_some_and(|value| value.entries().next().is_some()) {
            true => Setting::Set,
            false => Setting::Unset,
        }
    };
    match env_source(container, variable) {
        Some(VariableSource::Literal { empty: true }) => vec![Setting::Unset],
        Some(VariableSource::Literal { empty: false }) => vec![Setting::Set],
        Some(VariableSource::Secret { name, key, .. }) => vec![of_secret(name, key)],
        Some(VariableSource::Other) => vec![Setting::Unknown],
        None => {
            let sources = container.env_from.iter().filter_map(|whole| {
                let key = variable.strip_prefix(whole.prefix.as_str())?;
                let secret = whole.secret.as_deref();
                Some(secret.map_or(Setting::Unknown, |name| of_secret(name, key)))
            });
            sources.collect()
        }
    }
}

/// Whether the pods of brain-api get no token from anywhere.
pub(super) fn is_unguarded(place: &NamespaceSnapshot, spec: &PodSpec) -> bool {
    setting(place, spec, &OF_BRAIN_API) == Setting::Unset
}
