//! Which texts of a values file are credentials: told by the name of the key, or by a password in
//! a URL. What only names a Secret, a key or a variable is none.

use crate::domain::cluster::snapshot::KNOWN_COPIES;
use crate::domain::table::{self, BUNDLES};
use crate::domain::values_file::{Form, Map, Node, Scalar, Values, canonical};
use std::collections::BTreeSet;

/// How the names of other credentials end, and what they are called.
const OTHERS: [(&str, What); 8] = [
    ("password", What::Other("a password")),
    ("passwd", What::Other("a password")),
    ("passphrase", What::Other("a passphrase")),
    ("apikey", What::Other("an API key")),
    ("token", What::Other("a token")),
    ("clientsecret", What::Other("a client secret")),
    ("privatekey", What::Other("a private key")),
    ("secretaccesskey", What::Other("a secret access key")),
];
/// How the names end under which names stand and no values.
const REFERENCES: [&str; 4] = ["ref", "valuefrom", "existingsecret", "secretkeys"];
/// What a value is in that stands elsewhere, or is encrypted.
const STAND_INS: [(&str, &str); 7] = [
    ("${", "}"),
    ("$(", ")"),
    ("{{", "}}"),
    ("<", ">"),
    ("ENC[", "]"),
    ("ref+", ""),
    ("vault:", ""),
];
/// How much of a path tells what its value is, in letters.
const TELLING: usize = 64;

/// A credential, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Credential {
    /// The line, from 1.
    pub line: usize,
    /// What it is.
    pub what: What,
}

/// What a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The value of a key of the table.
    Key(&'static str),
    /// Something else.
    Other(&'static str),
}

/// All credentials of a file, in the order of their lines.
pub(super) fn credentials(values: &Values) -> Vec<Credential> {
    let mut search = Search::default();
    for root in values.roots() {
        search.node(root, &Place::default());
    }
    let mut of_rest = Search::default();
    if let Some(rest) = &values.rest {
        of_rest.lines(rest);
    }
    // Where the file breaks off, a line can be in both.
    let told: BTreeSet<_> = search.found.iter().map(|one| one.line).collect();
    let rest = of_rest.found.into_iter();
    search
        .found
        .extend(rest.filter(|one| !told.contains(&one.line)));
    search.found.into_iter().collect()
}

/// Where a node stands.
#[derive(Clone, Default)]
struct Place {
    /// The end of its path, in canonical form.
    path: String,
    /// Whether names stand here and no values.
    names_only: bool,
}

impl Place {
    fn below(&self, key: &str) -> Self {
        let key = canonical(key);
        let refers = REFERENCES.iter().any(|end| key.ends_with(end));
        let path = format!("{}{key}", self.path);
        // A canonical name is ASCII.
        let start = path.len().saturating_sub(TELLING);
        Self {
            path: path[start..].to_owned(),
            names_only: self.names_only || refers,
        }
    }

    /// What a value here is by its name.
    fn what(&self) -> Option<What> {
        if self.names_only {
            None
        } else {
            named(&self.path)
        }
    }
}

#[derive(Default)]
struct Search {
    found: BTreeSet<Credential>,
}

impl Search {
    fn node(&mut self, node: &Node, place: &Place) {
        match node {
            Node::Scalar(scalar) => self.scalar(scalar, place.what()),
            Node::List(items) => items.iter().for_each(|item| self.node(item, place)),
            Node::Map(map) => self.map(map, place),
        }
    }

    fn map(&mut self, map: &Map, place: &Place) {
        let name = map.get("name").and_then(Node::scalar);
        for (key, value) in &map.0 {
            self.node(key, &Place::default());
            let below = match key.scalar() {
                Some(key) if key.is("value") => named_value(place, name),
                Some(key) => place.below(key.text.expose()),
                None => Place::default(),
            };
            self.node(value, &below);
        }
    }

    fn scalar(&mut self, scalar: &Scalar, what: Option<What>) {
        match what {
            Some(what) if is_value(scalar) => self.add(scalar.line, what),
            _ => self.lines(scalar),
        }
    }

    /// Looks for `NAME=value`, `name: value` and URLs in a text.
    fn lines(&mut self, scalar: &Scalar) {
        for (line, text) in scalar.lines() {
            let of_url = || passwords(text).any(|password| !stands_in(password));
            let url = What::Other("a URL with a password");
            let assigned = assigned(text, scalar.form);
            if let Some(what) = assigned.or_else(|| of_url().then_some(url)) {
                self.add(line, what);
            }
        }
    }

    fn add(&mut self, line: usize, what: What) {
        self.found.insert(Credential { line, what });
    }
}

/// Where the value of `name: POSTGRES_URL, value: ...` stands.
fn named_value(place: &Place, name: Option<&Scalar>) -> Place {
    let named = name.map(|name| place.below(name.text.expose()));
    named
        .filter(|named| named.what().is_some())
        .unwrap_or_else(|| place.clone())
}

/// What a value is whose path ends so.
fn named(path: &str) -> Option<What> {
    let mut keys = table::credentials().map(|key| key.name);
    let of_table = keys.find(|name| path.ends_with(&canonical(name)));
    let other = || OTHERS.iter().find(|(end, _)| path.ends_with(end));
    of_table
        .map(What::Key)
        .or_else(|| other().map(|(_, what)| *what))
}

/// Tells whether what stands under the name of a credential is one.
fn is_value(scalar: &Scalar) -> bool {
    !scalar.is_blank() && !scalar.is_plain(&["true", "false"]) && is_secret(scalar.text.expose())
}

fn is_secret(text: &str) -> bool {
    let text = text.trim();
    let passwords: Vec<_> = passwords(text).collect();
    match passwords.as_slice() {
        [] => !text.is_empty() && !stands_in(text) && !is_known_name(text),
        passwords => passwords.iter().any(|password| !stands_in(password)),
    }
}

/// Tells whether a text stands for a value that is elsewhere, or is encrypted.
fn stands_in(text: &str) -> bool {
    STAND_INS
        .iter()
        .any(|(start, end)| text.starts_with(start) && text.ends_with(end))
}

/// Tells whether it is the name of a Secret or of a key.
fn is_known_name(text: &str) -> bool {
    let is_of = |bundle: &table::Bundle| {
        bundle.secret == text || bundle.keys.iter().any(|key| key.name == text)
    };
    BUNDLES.iter().any(|bundle| is_of(bundle)) || KNOWN_COPIES.contains(&text)
}

/// What a line gives a value to. A text that is not written line by line can be prose or the name
/// of an image: there only the name of a variable counts.
fn assigned(line: &str, form: Form) -> Option<What> {
    let quotes = ['"', '\'', ' ', '\t'];
    let (name, value) = line.split_once([':', '='])?;
    let name = name.trim_start_matches([' ', '\t', '-']);
    let name = name
        .strip_prefix("export ")
        .unwrap_or(name)
        .trim_matches(quotes);
    let is_name = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let value = value
        .trim_matches(quotes)
        .trim_end_matches([',', '"', '\'']);
    if !is_name || !is_secret(value) || ["true", "false", "null", "~"].contains(&value) {
        return None;
    }
    match form {
        Form::Lines => named(&canonical(name)),
        Form::Plain | Form::Quoted => table::credentials()
            .find(|key| key.name == name)
            .map(|key| What::Key(key.name)),
    }
}

/// The passwords of the URLs in a text.
fn passwords(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| c.is_whitespace() || "/\"'`".contains(c);
    text.split("://").skip(1).filter_map(move |rest| {
        let authority = rest.split(ends).next()?;
        let (user, _) = authority.rsplit_once('@')?;
        let (_, password) = user.split_once(':')?;
        (!password.is_empty()).then_some(password)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::values::secret_value::SecretValue;

    /// Lines and what is there.
    fn found(text: &str) -> Vec<(usize, &'static str)> {
        let values = Values::parse(&SecretValue::from(text));
        let words = |what| match what {
            What::Key(word) | What::Other(word) => word,
        };
        let found = credentials(&values).into_iter();
        found.map(|one| (one.line, words(one.what))).collect()
    }

    fn one(text: &str) -> Option<&'static str> {
        match found(text).as_slice() {
            [] => None,
            [(1, what)] => Some(what),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn each_credential_of_the_table_is_found_however_it_is_spelled() {
        for name in table::credentials().map(|key| key.name) {
            let words: Vec<_> = name.split('_').map(str::to_lowercase).collect();
            let camel: String = words
                .iter()
                .enumerate()
                .map(|(i, word)| match i {
                    0 => word.clone(),
                    _ => format!("{}{}", word[..1].to_uppercase(), &word[1..]),
                })
                .collect();
            let (first, last) = name.split_once('_').unwrap();
            for text in [
                format!("{name}: x"),
                format!("{}: x", words.join("-")),
                format!("{camel}: x"),
                format!("{first}: {{{last}: x}}"),
                format!("env: [{{name: {name}, value: x}}]"),
                format!("env: [{{value: x, name: {name}}}]"),
                format!("env: {{{name}: {{value: x}}}}"),
                format!("{name}: [x, y]"),
                format!("env: ['{name}=x']"),
                format!("env: ['{name}: x']"),
                format!("{name}: 12345"),
                format!("a: {{<<: {{{name}: x}}}}"),
            ] {
                assert_eq!(one(&text), Some(name), "{text}");
            }
            for text in [
                format!("{name}: ''"),
                format!("{name}:"),
                format!("{name}: ~"),
                format!("{name}: ${{{name}}}"),
                format!("{name}: $({name})"),
                format!("{name}: '{{{{ .Values.x }}}}'"),
                format!("{name}: {name}"),
                format!("{name}: ENC[AES256_GCM,data:x]"),
                format!("{name}: {{secretKeyRef: {{name: x, key: {name}}}}}"),
                format!("secretKeyRef: {{{name}: x}}"),
                format!("env: [{{name: {name}, valueFrom: {{secretKeyRef: {{key: x}}}}}}]"),
                format!("envFrom: [{{secretRef: {{name: {name}}}}}]"),
                format!("existingSecret: {name}"),
                format!("env: ['{name}=']"),
                format!("env: ['{name}=${{{name}}}']"),
                format!("description: about {name}"),
            ] {
                assert_eq!(one(&text), None, "{text}");
            }
        }
    }

    #[test]
    fn other_credentials_are_told_by_the_end_of_their_names() {
        for (text, expected) in [
            ("password: x", Some("a password")),
            ("db: {adminPassword: x}", Some("a password")),
            ("apiKey: x", Some("an API key")),
            ("auth_token: x", Some("a token")),
            ("apiKeys: [{name: a, value: x}]", Some("API_KEYS")),
            ("llm: {apiKey: x}", Some("LLM_API_KEY")),
            ("password: {value: x}", Some("a password")),
            ("existingSecret: agenticore-secrets", None),
            ("passwordSecret: x", None),
            ("tokenSecretName: x", None),
            ("passwordKey: x", None),
            ("apiKey: agenticore-secrets", None),
            ("token: brain-ops-secrets", None),
            ("automountServiceAccountToken: false", None),
            ("maxTokens: 4096", None),
            ("secretKeys: {password: my-key}", None),
            ("remoteRef: {key: x, token: y}", None),
            ("image: {repository: r/my-token, tag: api-keys}", None),
            ("image: my-api-keys:1.2", None),
            ("note: 'password: at least eight letters'", None),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn configuration_is_no_credential() {
        for name in ["LLM_API_BASE", "LLM_EMBED_MODEL", "LOG_LEVEL", "llmApiBase"] {
            assert_eq!(one(&format!("{name}: https://h.example/v1")), None);
        }
        let with_password = "LLM_API_BASE: https://u:p@h.example/v1";
        assert_eq!(one(with_password), Some("a URL with a password"));
    }

    #[test]
    fn a_password_in_a_url_is_found_anywhere() {
        for (url, expected) in [
            ("https://u:p@h/d", true),
            ("postgresql+asyncpg://u:p%40@h", true),
            ("redis://:p@h", true),
            ("to postgres://h/d or postgres://u:p@h/d", true),
            ("https://u:p@${HOST}/d", true),
            ("https://h/d", false),
            ("https://h:8080/@scope/x", false),
            ("https://u@h/d", false),
            ("https://u:@h/d", false),
            ("https://u:${P}@h/d", false),
            ("https://u:<password>@h/d", false),
            ("mailto:a@h", false),
        ] {
            let expected = expected.then_some("a URL with a password");
            assert_eq!(one(&format!("x: ['{url}']")), expected, "{url}");
            assert_eq!(one(&format!("'{url}': x")), expected, "{url}");
            assert_eq!(one(&format!("aRef: {{x: '{url}'}}")), expected, "{url}");
        }
        assert_eq!(one("POSTGRES_URL: postgres://u:${P}@h/d"), None);
        assert_eq!(
            one("POSTGRES_URL: '${P:-postgres://u:p@h/d}'"),
            Some("POSTGRES_URL")
        );
        assert_eq!(one("POSTGRES_URL: postgres://h/d"), Some("POSTGRES_URL"));
    }

    #[test]
    fn a_text_of_lines_is_looked_at_line_by_line() {
        let text = "config: |\n  a: 1\n  export GITHUB_TOKEN=x\n\n  \"password\": \"x\",\n  \
                    u: https://u:p@h\n  token: ${T}\n  ok: true\n";
        let expected = [
            (3, "GITHUB_TOKEN"),
            (5, "a password"),
            (6, "a URL with a password"),
        ];
        assert_eq!(found(text), expected);
    }

    #[test]
    fn an_alias_is_told_where_the_value_stands_and_once() {
        let text = "x: &x hunter\na:\n  password: *x\nb: &b\n  token: y\nc: *b\nd: {<<: *b}\n";
        assert_eq!(found(text), [(1, "a password"), (5, "a token")]);
    }

    #[test]
    fn nothing_is_lost_where_a_file_breaks_off() {
        let text = "GITHUB_TOKEN: x\n---\nllm:\n  apiKey: x\n  b: [\n---\n  password: x\n\
                    env:\n  - POSTGRES_URL=x\n";
        let expected = [
            (1, "GITHUB_TOKEN"),
            (4, "LLM_API_KEY"),
            (7, "a password"),
            (9, "POSTGRES_URL"),
        ];
        assert_eq!(found(text), expected);
        // A line that is in the tree and in the rest is told once.
        assert_eq!(found("llm: {\n  apiKey: x, b: [\n"), [(2, "LLM_API_KEY")]);
        assert_eq!(found("a: {{\nGITHUB_TOKEN: x\n"), [(2, "GITHUB_TOKEN")]);
        assert_eq!(found("A=1\nGITHUB_TOKEN=x\n"), [(2, "GITHUB_TOKEN")]);
    }

    #[test]
    fn long_names_are_read_from_their_ends() {
        let text = format!(
            "{}: {{{}: {{GITHUB: {{TOKEN: x}}}}}}",
            "a".repeat(200),
            "b".repeat(300)
        );
        assert_eq!(one(&text), Some("GITHUB_TOKEN"));
    }
}
