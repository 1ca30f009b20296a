//! Inputs: they never overwrite a live value unless named.
