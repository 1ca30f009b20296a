//! A Helm values file: YAML as a tree that knows the line of each text.
//!
//! The texts can be credentials: they stay in [`SecretValue`], and a [`Fault`] holds a place and
//! no text. What a broken file holds is not lost: it is there as far as it was understood, and the
//! rest as lines.

use super::values::secret_value::SecretValue;
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;
use std::fmt;

/// How deep lists and mappings may be nested.
const DEEPEST: usize = 100;
/// How much may be copied for anchors and aliases, in bytes.
const MOST_COPIED: usize = 4 * 1024 * 1024;
/// What a node takes beside its text, in bytes.
const NODE: usize = 64;

/// What is in a values file.
#[derive(Debug, Default)]
pub struct Values {
    /// The roots of the documents that are whole.
    pub documents: Vec<Node>,
    /// The root of the document that breaks off at the fault.
    pub broken: Option<Node>,
    /// The lines that were not understood, to the end.
    pub rest: Option<Scalar>,
    /// What is wrong with the file.
    pub fault: Option<Fault>,
}

/// A part of a document. Aliases and merge keys are resolved.
#[derive(Clone, Debug)]
pub enum Node {
    /// A text, a number, a truth value, nothing.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A mapping. Where it has a key twice, the last one counts; so what is merged comes first.
#[derive(Clone, Debug, Default)]
pub struct Map(pub Vec<(Node, Node)>);

/// A text at its place.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its first line in the file, from 1.
    pub line: usize,
    /// What it says.
    pub text: SecretValue,
    /// How it is written.
    pub form: Form,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Without quotes: it may be a truth value, or nothing.
    Plain,
    /// In quotes, or folded.
    Quoted,
    /// Line by line, as it stands in the file.
    Lines,
}

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What is wrong at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is no YAML.
    Syntax,
    /// A document is something else than a mapping.
    NoMapping,
    /// Lists and mappings are nested too deep.
    TooDeep,
    /// Aliases stand for too much, or for what they are in.
    Aliases,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "this is no YAML",
            Self::NoMapping => "a values file is a mapping, and this is none",
            Self::TooDeep => "this is nested too deep",
            Self::Aliases => "this alias stands for too much, or for what it is in",
        })
    }
}

impl Values {
    /// Reads a text of YAML.
    pub fn parse(text: &SecretValue) -> Self {
        let mut builder = Builder::default();
        // Comments would count against a limit of the parser.
        let options = granit_parser::options! { emit_comments: false };
        let mut end = Marker::default();
        for event in Parser::new_from_str_with_options(text.expose(), options) {
            let taken = match event {
                Ok((event, span)) => {
                    let from = end;
                    end = span.end;
                    builder
                        .take(event, span)
                        .map_err(|kind| (kind, span.start, from))
                }
                Err(error) => Err((FaultKind::Syntax, *error.marker(), end)),
            };
            if let Err((kind, at, understood)) = taken {
                let broken = (Fault::at(at, kind), understood.line().max(1));
                return builder.finish(text, Some(broken));
            }
        }
        builder.finish(text, None)
    }

    /// The roots, also of what breaks off.
    pub fn roots(&self) -> impl Iterator<Item = &Node> {
        self.documents.iter().chain(&self.broken)
    }
}

impl Fault {
    fn at(place: Marker, kind: FaultKind) -> Self {
        Self {
            line: place.line().max(1),
            column: place.col() + 1,
            kind,
        }
    }
}

impl Node {
    /// The text, where it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The nodes in it.
    fn children(&self) -> Vec<&Self> {
        match self {
            Self::Scalar(_) => Vec::new(),
            Self::List(items) => items.iter().collect(),
            Self::Map(map) => map.0.iter().flat_map(|(key, value)| [key, value]).collect(),
        }
    }

    /// What a copy of it takes, in bytes.
    fn weight(&self) -> usize {
        let text = self.scalar().map_or(0, |scalar| scalar.text.expose().len());
        let children = self.children().into_iter();
        NODE + text + children.map(Self::weight).sum::<usize>()
    }

    /// How deep the lists and mappings in it are nested.
    fn depth(&self) -> usize {
        let deepest = self.children().into_iter().map(Self::depth).max();
        deepest.map_or(0, |deepest| deepest + 1)
    }
}

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let entries = self.0.iter().rev();
        let is_it = |node: &Node| node.scalar().is_some_and(|scalar| scalar.is(key));
        entries
            .into_iter()
            .find(|(node, _)| is_it(node))
            .map(|(_, value)| value)
    }

    /// The text of a key, unless it is blank or not set.
    pub fn text(&self, key: &str) -> Option<&Scalar> {
        let scalar = self.get(key)?.scalar()?;
        (!scalar.is_blank()).then_some(scalar)
    }

    /// Brings the entries of merge keys in, before its own.
    fn merged(self) -> Self {
        let is_merge = |key: &Node| {
            let key = key.scalar();
            key.is_some_and(|key| key.form == Form::Plain && key.is("<<"))
        };
        let (merges, own): (Vec<_>, Vec<_>) =
            self.0.into_iter().partition(|(key, _)| is_merge(key));
        let mut all = Vec::new();
        for (key, value) in merges {
            match value {
                Node::Map(map) => all.extend(map.0),
                // The first of several counts most.
                Node::List(items) => {
                    for item in items.into_iter().rev() {
                        match item {
                            Node::Map(map) => all.extend(map.0),
                            other => all.push((key.clone(), other)),
                        }
                    }
                }
                other => all.push((key, other)),
            }
        }
        all.extend(own);
        Self(all)
    }
}

impl Scalar {
    /// Tells whether it says this.
    pub fn is(&self, text: &str) -> bool {
        self.text.expose() == text
    }

    /// Its text in the form in which names are compared.
    pub fn canonical(&self) -> String {
        canonical(self.text.expose())
    }

    /// Tells whether there is nothing in it.
    pub fn is_blank(&self) -> bool {
        let text = self.text.expose().trim();
        text.is_empty() || self.is_plain(&["~", "null"])
    }

    /// Tells whether Helm takes it for true: all but blank, false and 0 are.
    pub fn is_true(&self) -> bool {
        !self.is_blank() && !self.is_plain(&["false", "no", "off", "n", "0"])
    }

    /// Tells whether it stands there without quotes and is one of these words.
    pub fn is_plain(&self, words: &[&str]) -> bool {
        let text = self.text.expose();
        self.form == Form::Plain && words.iter().any(|word| text.eq_ignore_ascii_case(word))
    }

    /// Its lines with their numbers, as far as those are known.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.expose().lines().enumerate();
        lines.map(|(index, text)| match self.form {
            Form::Lines => (self.line + index, text),
            Form::Plain | Form::Quoted => (self.line, text),
        })
    }
}

/// Makes the tree.
#[derive(Default)]
struct Builder {
    values: Values,
    /// The lists and mappings that are not yet closed, with their anchors.
    open: Vec<(usize, Open)>,
    /// What has an anchor, by its number.
    anchors: BTreeMap<usize, Node>,
    /// How much was copied so far.
    copied: usize,
}

/// A list or mapping that is not yet closed.
enum Open {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>, Option<Node>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), FaultKind> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let scalar = scalar(&text, style, span.start.line());
                if !scalar.is_blank() {
                    self.expect_no_root(span.start);
                }
                self.add(anchor, Node::Scalar(scalar))
            }
            Event::Alias(anchor) => self.copy(anchor),
            Event::SequenceStart(_, anchor, _) => {
                self.expect_no_root(span.start);
                self.open(anchor, Open::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => self.open(anchor, Open::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes a document that is no mapping.
    fn expect_no_root(&mut self, at: Marker) {
        if self.open.is_empty() {
            let fault = || Fault::at(at, FaultKind::NoMapping);
            self.values.fault.get_or_insert_with(fault);
        }
    }

    fn copy(&mut self, anchor: usize) -> Result<(), FaultKind> {
        let node = self.anchors.get(&anchor).ok_or(FaultKind::Aliases)?;
        if self.open.len() + node.depth() > DEEPEST {
            return Err(FaultKind::TooDeep);
        }
        let node = node.clone();
        self.copied += node.weight();
        self.add(0, node)
    }

    fn open(&mut self, anchor: usize, what: Open) -> Result<(), FaultKind> {
        self.open.push((anchor, what));
        match self.open.len() > DEEPEST {
            true => Err(FaultKind::TooDeep),
            false => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), FaultKind> {
        match self.open.pop() {
            Some((anchor, what)) => self.add(anchor, what.close()),
            None => Ok(()),
        }
    }

    /// Puts a node where it belongs: into what is open, or among the documents.
    fn add(&mut self, anchor: usize, node: Node) -> Result<(), FaultKind> {
        if anchor != 0 {
            self.copied += node.weight();
            self.anchors.insert(anchor, node.clone());
        }
        if self.copied > MOST_COPIED {
            return Err(FaultKind::Aliases);
        }
        match self.open.last_mut() {
            Some((_, Open::List(items))) => items.push(node),
            Some((_, Open::Map(entries, key))) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
            None => self.values.documents.push(node),
        }
        Ok(())
    }

    /// Ends; where the file breaks off, with the fault and the line that was the last understood.
    fn finish(mut self, text: &SecretValue, broken: Option<(Fault, usize)>) -> Values {
        let mut inner = None;
        while let Some((_, mut what)) = self.open.pop() {
            what.extend(inner);
            inner = Some(what.close());
        }
        let odd = self.values.fault;
        let not_understood = [odd.map(|fault| fault.line), broken.map(|(_, line)| line)];
        let first = not_understood.into_iter().flatten().min();
        Values {
            broken: inner,
            rest: first.map(|line| lines_from(text, line)),
            fault: odd.or(broken.map(|(fault, _)| fault)),
            ..self.values
        }
    }
}

impl Open {
    fn close(self) -> Node {
        match self {
            Self::List(items) => Node::List(items),
            Self::Map(mut entries, key) => {
                // The value of the last key is missing where the file breaks off.
                entries.extend(key.map(|key| (key, Node::List(Vec::new()))));
                Node::Map(Map(entries).merged())
            }
        }
    }

    fn extend(&mut self, node: Option<Node>) {
        match (self, node) {
            (Self::List(items), node) => items.extend(node),
            (Self::Map(entries, key), Some(node)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
            (Self::Map(..), None) => {}
        }
    }
}

/// A name without what charts spell in different ways: `POSTGRES_URL` and `postgresUrl` are the
/// same.
pub fn canonical(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

fn scalar(text: &str, style: ScalarStyle, line: usize) -> Scalar {
    let (form, line) = match style {
        ScalarStyle::Plain => (Form::Plain, line),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Folded => {
            (Form::Quoted, line)
        }
        // The parser names the first line that is not empty.
        ScalarStyle::Literal => {
            let empty = text.bytes().take_while(|byte| *byte == b'\n').count();
            (Form::Lines, line.saturating_sub(empty).max(1))
        }
    };
    Scalar {
        line,
        text: SecretValue::from(text),
        form,
    }
}

fn lines_from(text: &SecretValue, line: usize) -> Scalar {
    let lines = text.expose().split_inclusive('\n').skip(line - 1);
    Scalar {
        line,
        text: SecretValue::from(lines.collect::<String>()),
        form: Form::Lines,
    }
}
