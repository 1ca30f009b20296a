//! Output formats: text, JSON, YAML, shell commands. Pure; `domain` decides.

pub mod checks;
pub mod external_secrets;
pub mod json;
pub mod man_page;
pub mod migration;
mod plain_values;
pub mod rbac;
pub mod report;
pub mod rotation;
pub mod rotation_document;
pub mod script;
pub mod store;
pub mod sync;
pub mod text;
pub mod tokens;
pub mod yaml;
