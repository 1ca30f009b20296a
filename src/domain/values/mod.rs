//! Secret values and their sources: tokens, the tokens file, dotenv files, inputs. It parses and
//! formats text only and must not open a file.

pub mod defects;
pub mod dotenv;
pub mod inputs;
pub mod secret_value;
pub mod token;
pub mod tokens_file;
