//! No value shows on Path 2: neither those of the Secrets, nor those of the store, nor a token for it.

use crate::path2::BAO;
use crate::searched::{FILED, FORMATS, INPUTS, STRANGERS, Searched};
use crate::space::{EMBEDDINGS, ROUTER};
use serde_json::Value;

#[test]
fn no_value_shows_on_the_way_to_the_store_and_back() {
    for format in FORMATS {
        let at = Searched::new(format);
        at.space.write_file(&FILED);
        at.run(&["--apply"], 0);
        let prefix = at.space.namespace.clone();
        let reader = BAO.token(&prefix, &["read", "create"]);
        let own = BAO.token(&prefix, &["read", "create", "update"]);
        for token in [&reader, &own] {
            at.hide(token);
        }
        at.space.cluster_store(&reader);
        let operator = at.space.operator(&own);
        let operator = operator
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let environment = [&INPUTS[..], &operator].concat();
        let run = |arguments: &[&str], code| at.run_with(&environment, arguments, code);
        let to = ["migrate", "--prefix", &prefix, "--store", &prefix];
        let apply = [&to[..], &["--apply"]].concat();

        // The credential is judged, the store lacks everything, then differs in every way.
        run(&to, 0);
        let router = format!("{prefix}/router");
        let [(first, stranger), _] = STRANGERS;
        BAO.put(
            &router,
            &[(first, stranger), ("OTHER", "s3ntinel-of-the-store")],
        );
        run(&to, 1);
        run(&apply, 1);
        let metadata = format!("secret/metadata/{router}");
        BAO.expect("DELETE", &metadata, &Value::Null);
        at.run(&to, 0);
        at.run(&apply, 1);
        run(&apply, 0);
        assert_eq!(at.space.data(ROUTER)["KB_ROUTER_TOKEN"], FILED[0].1);
        run(&apply, 0);

        let entry = format!("{prefix}/embeddings");
        BAO.put(&entry, &[INPUTS[0], ("LLM_API_KEY", "s3ntinel-rotated")]);
        run(&["sync"], 0);
        assert_eq!(at.space.data(EMBEDDINGS)["LLM_API_KEY"], "s3ntinel-rotated");
        BAO.put(&entry, &[]);
        run(&["sync"], 3);
        BAO.revoke(&own);
        run(&["sync"], 3);
        run(&apply, 3);
        BAO.revoke(&reader);
        at.run(&["sync"], 3);
        at.run(&["migrate", "--rollback"], 0);
        at.run(&["migrate", "--rollback", "--apply"], 0);
    }
}
