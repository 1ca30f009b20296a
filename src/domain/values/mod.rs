//! Secret values and where they come from: tokens, the tokens file, dotenv files, inputs.

pub mod dotenv;
pub mod inputs;
pub mod secret_value;
pub mod token;
pub mod tokens_file;
