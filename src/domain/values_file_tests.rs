//! Trees, lines, and files that are broken or mean.

use super::values::secret_value::SecretValue;
use super::values_file::{Fault, FaultKind, Map, Node, Values};
use proptest::prelude::*;

fn parse(text: &str) -> Values {
    Values::parse(&SecretValue::from(text))
}

/// The root of a file with one document.
fn root(text: &str) -> Map {
    let values = parse(text);
    assert_eq!(values.fault, None, "{text}");
    match values.documents.as_slice() {
        [Node::Map(map)] => map.clone(),
        other => panic!("{other:?}"),
    }
}

/// Line and text below some keys.
fn at(root: &Map, path: &str) -> Option<(usize, String)> {
    let (map, key) = match path.rsplit_once('.') {
        None => (root.clone(), path),
        Some((above, key)) => {
            let mut map = root.clone();
            for step in above.split('.') {
                map = match map.get(step) {
                    Some(Node::Map(map)) => map.clone(),
                    _ => return None,
                };
            }
            (map, key)
        }
    };
    let scalar = map.get(key)?.scalar()?;
    Some((scalar.line, scalar.text.expose().to_owned()))
}

fn found(line: usize, text: &str) -> Option<(usize, String)> {
    Some((line, text.to_owned()))
}

#[test]
fn each_text_knows_its_line() {
    let text = "a: 1\n# no\nb:\n  c: 'x'\n  d: |\n\n    one\n    two\n  e: >-\n    f\n    g\n";
    let root = root(text);
    assert_eq!(at(&root, "a"), found(1, "1"));
    assert_eq!(at(&root, "b.c"), found(4, "x"));
    assert_eq!(at(&root, "b.d"), found(6, "\none\ntwo\n"));
    assert_eq!(at(&root, "b.e"), found(10, "f g"));
    let Some(Node::Map(b)) = root.get("b") else {
        panic!("{root:?}");
    };
    let lines: Vec<_> = b.text("d").unwrap().lines().collect();
    assert_eq!(lines, [(6, ""), (7, "one"), (8, "two")]);
}

#[test]
fn all_documents_are_there() {
    let values = parse("\u{feff}a: 1\r\n---\r\n# nothing\r\n---\r\nb: 2\r\n...\r\n");
    assert_eq!(values.fault, None);
    let roots: Vec<_> = values
        .roots()
        .map(|root| matches!(root, Node::Map(_)))
        .collect();
    assert_eq!(roots, [true, false, true]);
    assert!(parse("").documents.is_empty());
    assert!(parse("# nothing\n").documents.is_empty());
}

#[test]
fn many_comments_are_no_trouble() {
    let text = format!("a:\n{}  b: 1\n", "  # x\n".repeat(500));
    assert_eq!(at(&root(&text), "a.b"), found(502, "1"));
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let text = "base: &base {on: true, store: s}\n\
                other: &other {store: t, path: p}\n\
                alias: *base\n\
                merged:\n  on: false\n  <<: *base\n\
                both: {<<: [*base, *other]}\n\
                quoted: {'<<': x}\n";
    let root = root(text);
    assert_eq!(at(&root, "alias.store"), found(1, "s"));
    // What stands there itself counts, and then the first.
    assert_eq!(at(&root, "merged.on"), found(5, "false"));
    assert_eq!(at(&root, "merged.store"), found(1, "s"));
    assert_eq!(at(&root, "both.store"), found(1, "s"));
    assert_eq!(at(&root, "both.path"), found(2, "p"));
    assert_eq!(at(&root, "quoted.<<"), found(8, "x"));
    assert_eq!(at(&self::root("a: 1\na: 2\n"), "a"), found(2, "2"));
}

#[test]
fn what_is_true_is_true_for_helm() {
    let root =
        root("a: true\nb: 'false'\nc: Yes\nd: False\ne: off\nf:\ng: ~\nh: ''\ni: 0\nj: null\n");
    let is_true = |key: &str| {
        let scalar = root.get(key).and_then(Node::scalar);
        scalar.is_some_and(|scalar| scalar.is_true())
    };
    let told: String = ('a'..='j')
        .filter(|key| is_true(&key.to_string()))
        .collect();
    assert_eq!(told, "abc");
    assert!(root.text("g").is_none() && root.text("h").is_none() && root.text("z").is_none());
}

/// Where it breaks, and what is kept.
fn broken(text: &str) -> (Fault, usize, usize) {
    let values = parse(text);
    let rest = values.rest.as_ref().map_or(0, |rest| rest.line);
    (values.fault.unwrap(), values.roots().count(), rest)
}

fn fault(line: usize, column: usize, kind: FaultKind) -> Fault {
    Fault { line, column, kind }
}

#[test]
fn a_broken_file_is_there_as_far_as_it_goes() {
    let text = "a: 1\n---\nb: 2\nc: [1, 2\nd: 3\n";
    let values = parse(text);
    let broken = values.broken.clone().unwrap();
    let Node::Map(map) = &broken else {
        panic!("{broken:?}");
    };
    assert_eq!(values.fault.unwrap().kind, FaultKind::Syntax);
    assert_eq!(values.documents.len(), 1);
    assert_eq!(at(map, "b"), found(3, "2"));
    assert!(map.get("c").is_some());
    let rest = values.rest.unwrap();
    assert!(
        rest.line >= 4 && rest.text.expose().ends_with("d: 3\n"),
        "{}",
        rest.line
    );
}

#[test]
fn each_fault_has_its_place() {
    for (text, expected) in [
        (
            "a: 1\nb: \"x\nc: 2\n",
            (fault(2, 4, FaultKind::Syntax), 1, 2),
        ),
        ("a: *no\n", (fault(1, 4, FaultKind::Syntax), 1, 1)),
        ("a: 1\n- b\n", (fault(2, 3, FaultKind::Syntax), 1, 1)),
        (
            "a: 1\n---\n- b\n---\nc: 1\n",
            (fault(3, 1, FaultKind::NoMapping), 3, 3),
        ),
        ("some text\n", (fault(1, 1, FaultKind::NoMapping), 1, 1)),
        ("a: &x [*x]\n", (fault(1, 8, FaultKind::Aliases), 1, 1)),
    ] {
        assert_eq!(broken(text), expected, "{text}");
    }
}

#[test]
fn what_is_nested_or_multiplied_has_a_bound() {
    let deep = format!("a: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert_eq!(broken(&deep).0.kind, FaultKind::TooDeep);
    let block: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert_eq!(broken(&block).0.kind, FaultKind::TooDeep);

    let mut laughs = "a0: &a0 [ha, ha]\n".to_owned();
    for i in 1..40 {
        laughs.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            vec![format!("*a{}", i - 1); 9].join(", ")
        ));
    }
    assert_eq!(broken(&laughs).0.kind, FaultKind::Aliases);

    let mut chain = "a0: &a0 [ha]\n".to_owned();
    for i in 1..500 {
        chain.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    assert_eq!(broken(&chain).0.kind, FaultKind::TooDeep);

    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        "*a, ".repeat(1000)
    );
    assert_eq!(broken(&long).0.kind, FaultKind::Aliases);
}

#[test]
fn no_text_is_in_what_is_printed_of_it() {
    for text in ["k: s3ntinel\n", "s3ntinel: [\n", "- s3ntinel\n"] {
        let values = parse(text);
        assert!(!format!("{values:?} {values:#?}").contains("s3ntinel"));
    }
}

proptest! {
    /// Whatever the bytes: no panic, and each line is in the tree or in the rest.
    #[test]
    fn any_text_is_survived(text in "([-a-c:&*<>|\"'{}\\[\\],# \n~!?%]|: |- |---\n){0,60}") {
        let values = parse(&text);
        prop_assert_eq!(values.fault.is_some(), values.rest.is_some());
        prop_assert!(values.fault.is_some() || values.broken.is_none());
    }
}
