//! What is said: diff, JSON documents, warnings, exit codes.
