//! Servers that are broken, slow, busy or not to be trusted.
