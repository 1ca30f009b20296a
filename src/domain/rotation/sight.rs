//! Which reads a snapshot must not lack, so that the next step of a rotation can be decided. It must
//! not read anything itself.

use super::Rotation;
use crate::domain::cluster::snapshot::{ClusterSnapshot, CopyRef, Denied};
use crate::domain::table::{EMBEDDINGS, ROUTER};

/// The failed reads without which the next step is unknown. What was not read looks like what does
/// not exist: a workload seems to have rolled out, a pod to have ended, a Secret to be right.
pub fn missing_reads<'a>(rotation: &Rotation, facts: &'a ClusterSnapshot) -> Vec<&'a Denied> {
    let copies = rotation.copies();
    let home = facts.home_place().secrets.get(ROUTER.secret);
    let is_path_2 = home.is_some_and(|observed| observed.owner.is_some());
    let is_needed = |denied: &Denied| match (denied.verb, denied.resource.as_str()) {
        ("list", "externalsecrets") => is_path_2,
        ("list", "namespaces") => rotation.selector.is_some(),
        // Who may not list Secrets is told that copies are not seen.
        ("list", "secrets") => denied.why.is_some(),
        ("get", resource) => {
            let place = denied.namespace.as_ref();
            let read = resource.strip_prefix("secrets/").zip(place);
            read.is_some_and(|(name, namespace)| {
                [ROUTER.secret, EMBEDDINGS.secret].contains(&name)
                    || copies.contains(&CopyRef {
                        namespace: namespace.clone(),
                        name: name.to_owned(),
                    })
            })
        }
        _ => false,
    };
    let others = facts.denied.iter().filter(|denied| is_needed(denied));
    facts.unlistable_workloads().chain(others).collect()
}
