// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections: accept, serve HTTP/1.1, drain, end.
//!
//! The accept loop is ours rather than a framework's because of what this API needs from it:
//! `TCP_NODELAY` (one acknowledgement is one write), limits on heads, idling and connections,
//! answers that begin before the request body is read, and requests that are read on after an
//! early answer.

use std::{convert::Infallible, io, net::TcpListener, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::Instrument;

use super::{
    body::{ReplyBody, RequestBody},
    descriptors,
    drain::{Drain, Phase},
    routes,
    service::Service,
    stall::StallGuard,
};
use crate::io::clock;

/// How long to wait after the system refused a connection, for example for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often stored fragments are held against their retention.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);

/// Serves until the drain is over or the server is stopped.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>) {
    let mut drain = service.drain.clone();
    let stopping = {
        let mut drain = drain.clone();
        async move { drain.reached(Phase::Stopping).await }
    };
    let run = async {
        let mut connections = JoinSet::new();
        tokio::select! {
            result = accept_all(listener, &service, &mut connections) => {
                if let Err(error) = result {
                    tracing::error!(%error, "cannot accept connections");
                }
            }
            () = expire_now_and_then(&service) => {}
            () = drain.requested() => {}
        }
        let open = connections.len();
        tracing::info!(connections = open, "draining");
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(service.config.limits.drain_deadline, all).await.is_err() {
            tracing::warn!("drain deadline passed with connections still open");
        }
        service.store.close().await;
    };
    tokio::select! {
        () = run => {}
        () = stopping => {}
    }
}

async fn accept_all(
    listener: TcpListener,
    service: &Arc<Service>,
    connections: &mut JoinSet<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let most = descriptors::connections(service.config.limits.max_connections);
    let slots = Arc::new(Semaphore::new(most));
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        match listener.accept().await {
            Ok((stream, peer)) => {
                tracing::debug!(%peer, "accepted");
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let service = Arc::clone(service);
                let serving = async move {
                    serve_connection(stream, service).await;
                    drop(slot);
                };
                connections.spawn(serving.instrument(tracing::info_span!("connection", %peer)));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Lets go of fragments whose retention has passed.
async fn expire_now_and_then(service: &Service) {
    loop {
        sleep(EXPIRY_INTERVAL).await;
        if let Err(error) = service.store.expire(clock::wall()).await {
            tracing::error!(%error, "fragments past their retention cannot be removed");
        }
    }
}

async fn serve_connection<S>(stream: S, service: Arc<Service>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let limits = &service.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Who has sent its last byte may still wait for acknowledgements.
        .half_close(true)
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.max_header_bytes);
    let mut drain: Drain = service.drain.clone();
    let answer = service_fn(|request: Request<Incoming>| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(call(&service, request).await) }
    });
    let socket = TokioIo::new(StallGuard::new(stream, limits.write_timeout));
    let connection = builder.serve_connection(socket, answer);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = drain.requested() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

async fn call(service: &Arc<Service>, request: Request<Incoming>) -> Response<ReplyBody> {
    let (head, incoming) = request.into_parts();
    let expects_continue = head
        .headers
        .get(http::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    routes::answer(service, head, RequestBody::new(incoming, expects_continue)).await
}

#[cfg(test)]
mod tests;
