//! No value shows where a store is filled through the operator, whose temporary objects hold them all.

use super::{FILED, FORMATS, OTHERS, STRANGERS, Searched};
use crate::sandbox::SANDBOX;

#[test]
fn no_value_shows_where_a_store_is_filled_through_the_operator() {
    for format in FORMATS {
        let at = Searched::new(format);
        at.space.write_file(&FILED);
        let name = at.space.namespace.clone();
        let preview = ["populate", "--prefix", &name, "--via-eso", &name];
        let apply = [&preview[..], &["--apply"]].concat();
        at.run(&preview, 0);
        at.run(&apply, 3);
        at.space.cluster_store(&SANDBOX.bao.token(&name, &["read"]));
        at.run(&apply, 3);
        let token = SANDBOX.bao.writer(&name);
        at.space
            .set_keys("store-token", &[("token", &token)], "kubectl");
        at.run(&[&apply[..], &["--env-file", "brain.env"]].concat(), 0);
        let entry = format!("{name}/router");
        assert_eq!(SANDBOX.bao.fields(&entry), at.space.filed());
        at.run(&apply, 0);
        at.run_with(&OTHERS, &apply, 0);
        at.run_with(
            &OTHERS,
            &[&apply[..], &["--update", "LLM_API_KEY"]].concat(),
            1,
        );

        // What the store holds disagrees, lacks fields, is no token, is no text.
        SANDBOX.bao.put(&entry, &STRANGERS);
        at.run(&apply, 1);
        SANDBOX.bao.put(&entry, &[STRANGERS[0]]);
        at.run(&apply, 1);
        std::fs::remove_file(at.space.file()).unwrap();
        SANDBOX
            .bao
            .put(&entry, &[("KB_ROUTER_TOKEN", "s3ntinel"), STRANGERS[1]]);
        at.run(&apply, 1);
        let field = serde_json::json!({ "data": { "KB_ROUTER_TOKEN": ["s3ntinel"] } });
        SANDBOX
            .bao
            .expect("POST", &format!("secret/data/{entry}"), &field);
        at.run(&apply, 1);
    }
}
