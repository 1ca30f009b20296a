//! Tokens: adopted, repaired, refused, preferred, recovered.
