// SPDX-License-Identifier: MIT OR Apache-2.0
//! Does what the consumer asks for: opens GetMedia sessions, hands their bytes in, and the frames
//! on to the queue. One task per element on the shared runtime; dropping it closes everything.

use std::{future::Future, pin::Pin, sync::Arc};

use super::queue::{Closed, Queue};
use crate::{
    consumer::{Config, Consumer, Input, Output},
    ids::StreamRef,
    io::{MediaResponse, Service, clock},
    wire::{ServiceError, control::ApiName, get_media::StartSelector},
};

type Opening = Pin<Box<dyn Future<Output = Result<MediaResponse, ServiceError>> + Send>>;

/// The running GetMedia session.
enum Session {
    None,
    Opening(Opening),
    Reading(Box<MediaResponse>),
}

/// Runs until the consumer is done or the queue is closed.
pub(super) async fn run(service: Service, stream: StreamRef, config: Config, queue: Arc<Queue>) {
    let mut consumer = Consumer::new(config);
    let mut session = Session::None;
    let mut input = Input::Start;
    loop {
        consumer.handle(clock::monotonic(), input);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(output) = consumer.poll() {
            match output {
                Output::Close => session = Session::None,
                Output::Open { selector, fresh_endpoint } => {
                    if fresh_endpoint {
                        service.forget_data_endpoints();
                    }
                    let opening = open(service.clone(), stream.clone(), selector);
                    session = Session::Opening(Box::pin(opening));
                }
                output => {
                    bytes += payload(&output);
                    batch.push(output);
                }
            }
        }
        if !batch.is_empty() {
            match queue.push(batch, bytes).await {
                Ok(false) => {}
                Ok(true) => consumer.handle(clock::monotonic(), Input::Resumed),
                Err(Closed) => return,
            }
        }
        let Some(due) = consumer.next_timeout() else { return };
        let wait = due.saturating_since(clock::monotonic());
        input = tokio::time::timeout(wait, session.next()).await.unwrap_or(Input::Timeout);
    }
}

fn payload(output: &Output) -> usize {
    match output {
        Output::Frame(frame) => frame.data.len(),
        _ => 0,
    }
}

async fn open(
    service: Service,
    stream: StreamRef,
    selector: StartSelector,
) -> Result<MediaResponse, ServiceError> {
    let endpoint = service.data_endpoint(&stream, ApiName::GetMedia).await?;
    service.get_media(&endpoint, &stream, &selector).await
}

impl Session {
    /// What happens next. Safe to cancel.
    async fn next(&mut self) -> Input {
        let input = match self {
            Self::None => std::future::pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(response) => {
                    *self = Self::Reading(Box::new(response));
                    return Input::Opened;
                }
                Err(error) => Input::Failed(error),
            },
            Self::Reading(response) => match response.chunk().await {
                Ok(Some(bytes)) => return Input::Bytes(bytes),
                Ok(None) => Input::Ended,
                Err(error) => Input::Failed(error),
            },
        };
        *self = Self::None;
        input
    }
}
