//! What the bash script, or kubectl by hand, left behind.
