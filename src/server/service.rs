// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every operation of the running server shares.

use std::{io, sync::Arc};

use super::{config::Config, drain::Drain};

/// The server's state, shared by all connections.
#[derive(Debug)]
pub(crate) struct Service {
    /// What it was told.
    pub(crate) config: Config,
    /// The base URL that clients are given.
    pub(crate) url: String,
    /// The signal that ends it.
    pub(crate) drain: Drain,
}

impl Service {
    pub(super) fn new(config: Config, url: String, drain: Drain) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { config, url, drain }))
    }
}
