//! What others own is theirs: owners and field managers.
