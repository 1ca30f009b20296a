//! Secrets and namespaces in a form that cannot be worked with.
