// SPDX-License-Identifier: MIT OR Apache-2.0
//! HTTP clients, shared by all elements of the process that want the same of them: each holds the
//! system's root certificates.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use reqwest::{Client, ClientBuilder, redirect};

/// How long an idle connection for calls is kept.
const IDLE: Duration = Duration::from_secs(20);

/// What the clients of one kind of element are made of.
#[derive(Debug)]
pub(super) struct Clients {
    /// For all but PutMedia.
    pub(super) calls: Client,
    /// For PutMedia: no connection is used twice, because a service that answers early leaves one
    /// behind that is not reusable. There is no `timeout` and no `read_timeout`, which would end a
    /// session that is alive.
    pub(super) upload: Client,
}

/// The settings that a client cannot change later.
type Key = (Duration, bool);

static SHARED: Mutex<Vec<(Key, Weak<Clients>)>> = Mutex::new(Vec::new());

/// The clients for these settings. `direct` goes past the proxy that the environment names.
pub(super) fn shared(
    connect_timeout: Duration,
    direct: bool,
) -> Result<Arc<Clients>, reqwest::Error> {
    let key = (connect_timeout, direct);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|(_, clients)| clients.strong_count() > 0);
    let found = shared.iter().find(|(other, _)| *other == key);
    if let Some(clients) = found.and_then(|(_, clients)| clients.upgrade()) {
        return Ok(clients);
    }
    let builder = || {
        let builder = ClientBuilder::new()
            .connect_timeout(connect_timeout)
            .http1_only()
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true);
        if direct { builder.no_proxy() } else { builder }
    };
    let clients = Arc::new(Clients {
        calls: builder().pool_idle_timeout(IDLE).build()?,
        upload: builder().pool_max_idle_per_host(0).build()?,
    });
    shared.push((key, Arc::downgrade(&clients)));
    Ok(clients)
}
