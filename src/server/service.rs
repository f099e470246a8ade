// SPDX-License-Identifier: MIT OR Apache-2.0
//! What every operation of the running server shares.

use std::{io, sync::Arc};

use http::request::Parts;

use super::{
    auth::{self, Payload},
    config::Config,
    drain::Drain,
    error::ApiError,
    relay::Relay,
    store::{MemoryBounds, Store, StoreConfig, StoreError, Stream},
};
use crate::{ids::StreamRef, io::clock};

/// The server's state, shared by all connections.
#[derive(Debug)]
pub(crate) struct Service {
    /// What it was told.
    pub(crate) config: Config,
    /// The base URL that clients are given.
    pub(crate) url: String,
    /// The signal that ends it.
    pub(crate) drain: Drain,
    /// Streams and fragments.
    pub(crate) store: Store,
    /// Fragments on their way from producers to consumers and to the store.
    pub(crate) relay: Relay,
}

impl Service {
    /// Opens the data folder.
    pub(super) fn new(config: Config, url: String, drain: Drain) -> io::Result<Arc<Self>> {
        let memory = MemoryBounds {
            age: config.limits.memory_buffer_age,
            bytes: config.limits.memory_buffer_bytes as u64,
        };
        let layout = StoreConfig { memory, ..StoreConfig::default() };
        let opened = Store::open(&config.data_dir, layout, clock::wall());
        let store = opened.map_err(|error| {
            let kind = match error {
                StoreError::Locked(_) => io::ErrorKind::ResourceBusy,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error)
        })?;
        Ok(Arc::new(Self { config, url, drain, store, relay: Relay::default() }))
    }

    /// The stream that is meant.
    ///
    /// # Errors
    /// 404 when there is none.
    pub(crate) fn stream(&self, which: &StreamRef) -> Result<Stream, ApiError> {
        self.store.stream(which).ok_or_else(|| ApiError::not_found(which))
    }

    /// Verifies the request's signature, when this server asks for one.
    ///
    /// # Errors
    /// 403, see [`auth::verify`].
    pub(super) fn authorize(&self, head: &Parts, payload: Payload<'_>) -> Result<(), ApiError> {
        let Some(table) = &self.config.credentials else { return Ok(()) };
        let access_key = auth::verify(table, head, payload, clock::wall())?;
        tracing::debug!(access_key, "signature verified");
        Ok(())
    }
}
