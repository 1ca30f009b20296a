//! The output of `tokens show`, which prints values on purpose.

use crate::domain::values::token::{PerToken, Token};
use std::collections::BTreeMap;

/// `export KEY='...'` lines, for `eval`. A token never contains a quote.
pub fn export(tokens: &PerToken<Token>) -> String {
    tokens
        .iter()
        .map(|(name, token)| format!("export {name}='{}'\n", token.value().expose()))
        .collect()
}

/// `KEY="..."` lines.
pub fn dotenv(tokens: &PerToken<Token>) -> String {
    tokens
        .iter()
        .map(|(name, token)| format!("{name}=\"{}\"\n", token.value().expose()))
        .collect()
}

pub fn json(tokens: &PerToken<Token>) -> String {
    let by_name: BTreeMap<_, _> = tokens
        .iter()
        .map(|(name, token)| (name.as_str(), token.value().expose()))
        .collect();
    format!("{}\n", serde_json::json!(by_name))
}
