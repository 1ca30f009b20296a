//! `populate --via-eso` where nothing is contacted: its options, its preview.

use crate::folder::Folder;

#[test]
fn its_options_go_together_or_not() {
    let folder = Folder::new();
    let start = ["populate", "--prefix", "kv/brain"];
    let wrong: [(&[&str], &str); 4] = [
        (
            &["--via-eso", "s", "--mount", "kv"],
            "--via-eso conflicts with another argument",
        ),
        (&["--store-kind", "SecretStore"], "--via-eso is missing"),
        (
            &["--via-eso", "No_Name"],
            "--via-eso is not the name of an object",
        ),
        (
            &["--via-eso", "s", "--store-kind", "Vault"],
            "--store-kind takes one of: ClusterSecretStore, SecretStore",
        ),
    ];
    for (more, message) in wrong {
        let run = folder
            .run(&[&start[..], more, &["--apply"]].concat())
            .check();
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{more:?}");
        assert!(run.err.contains(message), "{run}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn the_preview_says_what_it_cannot_know() {
    let folder = Folder::with_tokens();
    let before = folder.names();
    let run = folder
        .run(&["populate", "--prefix", "kv/brain", "--via-eso", "writer"])
        .check();
    assert_eq!(run.code, 0, "{run}");
    assert!(
        run.out.contains("kv/brain/router: would be created"),
        "{run}"
    );
    assert!(run.out.contains("+ KB_ROUTER_TOKEN (file)"), "{run}");
    assert!(run.err.contains("not known before --apply"), "{run}");
    assert_eq!(folder.names(), before);
}

#[test]
fn without_a_cluster_nothing_is_made() {
    let folder = Folder::new();
    let run = folder
        .run(&[
            "populate",
            "--prefix",
            "kv/brain",
            "--via-eso",
            "writer",
            "--apply",
        ])
        .check();
    assert_eq!(run.code, 3, "{run}");
    assert!(run.err.contains("kubeconfig"), "{run}");
    let tokens = folder
        .names()
        .iter()
        .any(|name| name.contains("k8s-tokens"));
    assert!(!tokens, "{:?}", folder.names());
}
