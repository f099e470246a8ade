// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the store refuses or fails.

use std::{fmt, io, path::Path};

use super::number::Number;

/// Why the store refuses or fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The stored bytes are not those that were stored. They are not given out.
    #[error("fragment {number} is corrupt: {reason}; its bytes are not given out")]
    Corrupt {
        /// The fragment.
        number: Number,
        /// What gave it away.
        reason: String,
    },
    /// A stream of that name exists.
    #[error("a stream of this name exists")]
    Exists,
    /// The index failed.
    #[error("the index failed: {0}")]
    Index(String),
    /// A file or folder failed.
    #[error("{0}")]
    Io(String),
    /// Another server holds the data folder.
    #[error("the data folder {0} is in use by another server: stop it, or choose another folder")]
    Locked(String),
    /// Stream metadata cannot be written or read.
    #[error("stream metadata is broken: {0}")]
    Metadata(String),
    /// There is no such stream, or no longer.
    #[error("there is no such stream")]
    NoStream,
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// An error of an operation on a path: what was done, to what, and what the system said.
    pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io(format!("cannot {what} {}: {error}", path.display()))
    }

    pub(super) fn index(error: impl fmt::Display) -> Self {
        Self::Index(error.to_string())
    }
}
