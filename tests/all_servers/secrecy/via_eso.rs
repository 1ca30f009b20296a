//! No value shows where a store is filled through the operator, whose temporary objects hold them all.

use crate::path2::BAO;
use crate::searched::{FILED, FORMATS, OTHERS, STRANGERS, Searched};

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
        at.space.cluster_store(&BAO.token(&name, &["read"]));
        at.run(&apply, 3);
        let token = BAO.writer(&name);
        at.space
            .set_keys("store-token", &[("token", &token)], "kubectl");
        at.run(&[&apply[..], &["--env-file", "brain.env"]].concat(), 0);
        let entry = format!("{name}/router");
        assert_eq!(BAO.fields(&entry), at.space.filed());
        at.run(&apply, 0);
        at.run_with(&OTHERS, &apply, 0);
        at.run_with(
            &OTHERS,
            &[&apply[..], &["--update", "LLM_API_KEY"]].concat(),
            1,
        );

        // What the store holds disagrees, lacks fields, is no token, is not text.
        BAO.put(&entry, &STRANGERS);
        at.run(&apply, 1);
        BAO.put(&entry, &[STRANGERS[0]]);
        at.run(&apply, 1);
        std::fs::remove_file(at.space.file()).unwrap();
        BAO.put(&entry, &[("KB_ROUTER_TOKEN", "s3ntinel"), STRANGERS[1]]);
        at.run(&apply, 1);
        let field = serde_json::json!({ "data": { "KB_ROUTER_TOKEN": ["s3ntinel"] } });
        BAO.expect("POST", &format!("secret/data/{entry}"), &field);
        at.run(&apply, 1);
    }
}
