//! The whole story with running pods.

use super::Mover;
use crate::path2::BAO;
use crate::space::EMBEDDINGS;
use crate::workloads::{WORKLOADS, install, started, wait_ready};
use serde_json::json;

/// The pods and when their containers started.
fn pods(mover: &Mover) -> Vec<Option<(String, String)>> {
    let pods = WORKLOADS.map(|workload| started(&mover.space, workload));
    assert!(pods.iter().all(Option::is_some));
    pods.into()
}

#[test]
fn from_path_1_to_path_2_and_back_without_a_restart() {
    let mover = Mover::new();
    install(&mover.space, &json!({}));
    for workload in WORKLOADS {
        wait_ready(&mover.space, workload);
    }
    let (before, running) = (mover.values(), pods(&mover));

    mover
        .migrate(&["--apply"])
        .exits(0)
        .says(&["3 pods of", "have not been replaced"]);
    assert_eq!(mover.values(), Mover::grown(before.clone()));
    assert_eq!(pods(&mover), running);

    let entry = mover.entry("embeddings");
    let mut fields = BAO.fields(&entry);
    fields.insert("LLM_API_KEY".to_owned(), "rotated".to_owned());
    let pairs: Vec<_> = fields
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    BAO.put(&entry, &pairs);
    mover.run(&["sync"]).exits(0).says(&["changed LLM_API_KEY"]);
    assert_eq!(mover.space.data(EMBEDDINGS), fields);
    assert_eq!(pods(&mover), running);

    let rotated = mover.values();
    mover.run(&["migrate", "--rollback", "--apply"]).exits(0);
    assert_eq!(mover.values(), rotated);
    assert_eq!(pods(&mover), running);
}
