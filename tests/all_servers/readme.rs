//! The commands of docs/path2.md.

use crate::documents::document;
use crate::path2::BAO;
use crate::space::{AGENTICORE, EMBEDDINGS, ROUTER};
use crate::story::run_story;

#[test]
fn path_2_works_as_its_document_shows_it() {
    let bao = &*BAO;
    let operator = [("BAO_ADDR", bao.address.as_str()), ("BAO_TOKEN", &bao.root)];
    let (space, ran) = run_story(&document("docs/path2.md"), "brain2", &operator);
    for (secret, entry) in [
        (ROUTER, "router"),
        (EMBEDDINGS, "embeddings"),
        (AGENTICORE, "agenticore"),
    ] {
        let entry = bao.fields(&format!("brain2/{entry}"));
        assert_eq!(space.data(secret), entry, "{secret}");
        let object = space.object(secret).unwrap();
        let owner = &object["metadata"]["ownerReferences"][0]["kind"];
        assert_eq!(owner, "ExternalSecret");
    }
    assert_eq!(space.data(ROUTER), space.filed());
    assert_eq!(space.data(EMBEDDINGS).len(), 7);
    assert_eq!(space.data(EMBEDDINGS)["LLM_API_KEY"], "sk-llm-example");
    assert!(!ran.err.contains("may do more than read"), "{}", ran.err);
}
