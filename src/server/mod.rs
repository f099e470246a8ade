// SPDX-License-Identifier: MIT OR Apache-2.0
//! A KVS-compatible server: the peer of the elements, in-process for tests or as `kvs-server`.
//!
//! [`Server::start`] binds, opens the data folder and returns at once. The server lives on a
//! thread and a tokio runtime of its own, so that it can be started from a plain thread, from a
//! GStreamer test and from async code alike, and never competes with a client's runtime.
//! [`Running::shutdown`] drains it; dropping [`Running`] stops it where it stands.
//!
//! It shares formats with the elements and nothing else: a misunderstanding of the protocol must
//! not be shared by both sides.

mod archived;
mod auth;
mod body;
mod config;
mod control_plane;
mod descriptors;
mod drain;
mod error;
mod get_media;
mod http;
mod put_media;
mod relay;
mod routes;
mod service;
mod stall;
pub mod store;
#[cfg(test)]
mod testing;
mod token;
mod validate;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};

use tokio::{runtime, sync::oneshot};

pub use self::{
    auth::{CredentialsTable, ParseCredentialsError},
    config::{Config, Limits},
    descriptors::raise_descriptor_limit,
};
use self::{
    drain::{DrainSwitch, Phase},
    service::Service,
};

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server that serves. Dropping it stops the server at once, as a crash would, and waits until
/// its data folder is free again.
#[derive(Debug)]
pub struct Running {
    url: String,
    local_addr: SocketAddr,
    switch: DrainSwitch,
    ended: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds, opens the data folder, and serves from then on.
    ///
    /// # Errors
    /// The configuration is wrong (`InvalidInput`), the address cannot be bound, or the data
    /// folder cannot be opened or is in use by another server.
    pub fn start(config: Config) -> io::Result<Running> {
        config.validate()?;
        let listener = TcpListener::bind(config.listen).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", config.listen))
        })?;
        listener.set_nonblocking(true)?;
        let local_addr = listener.local_addr()?;
        let url = config.base_url(local_addr);
        let (switch, drain) = drain::channel();

        let mut builder = runtime::Builder::new_multi_thread();
        if let Some(threads) = config.worker_threads {
            builder.worker_threads(threads.max(1));
        }
        // Whatever can fail comes before the runtime, which must not be dropped in async code.
        let service = Service::new(config, url.clone(), drain)?;
        let runtime = builder.thread_name("kvs-server").enable_all().build()?;

        let (end, ended) = oneshot::channel();
        let thread =
            thread::Builder::new().name("kvs-server-main".to_owned()).spawn(move || {
                runtime.block_on(http::serve(listener, service));
                drop(runtime);
                let _ = end.send(());
            })?;
        Ok(Running { url, local_addr, switch, ended: Some(ended), thread: Some(thread) })
    }
}

impl Running {
    /// The base URL that clients are given: scheme, host and port, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The bound address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, lets open fragments end and be acknowledged, flushes the store, and
    /// resolves when all is done or the drain deadline has passed. Runs on any executor.
    pub async fn shutdown(mut self) {
        self.switch.advance(Phase::Draining);
        if let Some(ended) = self.ended.take() {
            let _ = ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.switch.advance(Phase::Stopping);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
