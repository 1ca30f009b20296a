//! A rotation on a store that the program cannot write: somebody edits it as they are told.

use crate::space::{Data, EMBEDDINGS, ROUTER, Space};
use crate::via_eso::aws::{entry, request, store};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

fn edit(name: &str, change: impl FnOnce(&mut Data)) {
    let (mut fields, _) = entry(name).unwrap();
    change(&mut fields);
    let text = serde_json::to_string(&fields).unwrap();
    let put = json!({ "SecretId": name, "SecretString": text });
    assert_eq!(request("PutSecretValue", &put).0, 200);
}

/// Does what a line says, with the values of the tokens file.
fn obey(space: &Space, line: &str) {
    let Some(line) = line.trim().strip_prefix("in ") else {
        return;
    };
    let words: Vec<_> = line.splitn(5, ' ').collect();
    match words.as_slice() {
        [name, "remove", key] => edit(name, |fields| {
            fields.remove(*key).expect("it is there");
        }),
        [name, "set", key, "to", values] => {
            let filed = space.filed();
            edit(name, |fields| {
                let present = fields.get(*key).cloned().unwrap_or_default();
                let present: Vec<_> = present.split(',').collect();
                let value = |word: &str| match word.strip_prefix("its entry ") {
                    Some(index) => present[index.parse::<usize>().unwrap() - 1].to_owned(),
                    None => filed[word].clone(),
                };
                let values: Vec<_> = values.split(',').map(value).collect();
                fields.insert((*key).to_owned(), values.join(","));
            });
        }
        _ => panic!("{line}"),
    }
}

#[test]
fn each_phase_says_what_to_edit_and_waits_for_it() {
    let space = Space::new();
    store(&space);
    let (router, key) = ("r".repeat(64), "e".repeat(64));
    let tokens = [
        ("KB_ROUTER_TOKEN", router.as_str()),
        ("EMBEDDINGS_API_KEY", &key),
    ];
    space.write_file(&tokens);
    let list = format!("of-somebody-else-1234,{key}");
    let entries = [
        (
            "router",
            ROUTER,
            json!({ "KB_ROUTER_TOKEN": router, "EMBEDDINGS_API_KEY": key }),
        ),
        (
            "embeddings",
            EMBEDDINGS,
            json!({ "POSTGRES_URL": "postgres://u:p@db/brain", "EMBEDDINGS_API_KEYS": list }),
        ),
    ];
    for (name, secret, fields) in &entries {
        let at = format!("{}/{name}", space.namespace);
        let object = json!({ "Name": at, "SecretString": fields.to_string() });
        assert_eq!(request("CreateSecret", &object).0, 200);
        space.synchronize(name, secret, &at);
    }
    let mut child = space
        .command(&[], &["rotate", "--apply"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut story, mut mistaken) = (String::new(), None);
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("set KB_ROUTER_TOKEN to") {
            // A slip, which they correct once they are told.
            edit(&format!("{}/router", space.namespace), |fields| {
                fields.insert(
                    "KB_ROUTER_TOKEN".to_owned(),
                    "a slip of the hand".to_owned(),
                );
            });
            mistaken = Some(line.clone());
        } else if line.contains("not yet right") {
            obey(&space, &mistaken.take().expect("there was a slip"));
        } else {
            obey(&space, &line);
        }
        story.push_str(&line);
        story.push('\n');
    }
    assert!(child.wait().unwrap().success(), "{story}");
    assert!(
        story.contains("not yet right") && mistaken.is_none(),
        "{story}"
    );
    let (filed, now) = (space.filed(), space.data(ROUTER));
    assert_eq!(filed, now);
    for (name, before) in tokens {
        assert_ne!(now[name], before);
        assert!(!story.contains(&now[name]) && !story.contains(before));
    }
    let lists = space.data(EMBEDDINGS)["EMBEDDINGS_API_KEYS"].clone();
    assert_eq!(
        lists,
        format!("of-somebody-else-1234,{}", now["EMBEDDINGS_API_KEY"])
    );
    let again = space.run(&["rotate", "--status"]).exits(0);
    again.says(&["no rotation is open"]);
}
