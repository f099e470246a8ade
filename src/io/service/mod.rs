// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client of the service: one method per operation, each a single try.
//!
//! Retrying, and what to do about a failure, is the caller's. Every call ends within the completion
//! timeout, except for the bodies of media, which last as long as both sides want. Requests are
//! signed whenever there are keys; without keys they go unsigned to this machine, and nowhere else.
//!
//! The futures must run on a tokio runtime: [`runtime::handle`](crate::io::runtime::handle).

mod clients;
mod failure;
mod media;

use std::{
    collections::HashMap,
    env,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body::Body;
use reqwest::Url;

pub use self::media::MediaResponse;
use self::{clients::Clients, failure::Call};
use crate::{
    ids::{FragmentNumber, StreamRef},
    io::{
        clock,
        credentials::Credentials,
        endpoint::{self, Endpoint, Origin},
    },
    time::Monotonic,
    wire::{
        ServiceError, ServiceErrorKind,
        control::{
            ApiName, CreateStreamInput, CreateStreamOutput, DescribeStreamInput,
            GET_MEDIA_FOR_FRAGMENT_LIST_PATH, GET_MEDIA_PATH, GetDataEndpointInput,
            GetMediaForFragmentListInput, GetMediaInput, ListFragmentsInput, ListFragmentsOutput,
            Operation, PUT_MEDIA_PATH, StreamInfo, TagStreamInput,
        },
        get_media::StartSelector,
        put_media::PutMediaHead,
        sigv4::{SignedBody, sign_request},
    },
};

/// How long a data endpoint is used before it is asked for again; AWS's C producer does the same.
const DATA_ENDPOINT_LIFE: Duration = Duration::from_secs(40 * 60);

/// How to reach the service.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// URL of the control plane; else environment, else region: see [`endpoint`].
    pub endpoint: Option<String>,
    /// Region to sign for; else environment.
    pub region: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// `user-agent` of every request.
    pub user_agent: String,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long a call may take, or a media operation up to its response's head.
    pub completion_timeout: Duration,
}

impl Default for ServiceConfig {
    /// The timeouts are those of AWS's C producer.
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            credentials: Credentials::default(),
            user_agent: concat!("gst-plugin-kvs/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            completion_timeout: Duration::from_secs(10),
        }
    }
}

/// The client. A clone is the same client.
#[derive(Clone, Debug)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    region: String,
    credentials: Credentials,
    user_agent: HeaderValue,
    completion_timeout: Duration,
    clients: Arc<Clients>,
    data_endpoints: Mutex<HashMap<(StreamRef, ApiName), (String, Monotonic)>>,
}

impl Service {
    /// Settles endpoint and region. Touches no network.
    ///
    /// # Errors
    /// [`ServiceErrorKind::Invalid`] when the endpoint, the region or the user agent is none.
    pub fn new(config: ServiceConfig) -> Result<Self, ServiceError> {
        let invalid = |message: String| ServiceError {
            operation: "configuration",
            kind: ServiceErrorKind::Invalid,
            code: None,
            message,
        };
        let environment = |name: &str| env::var(name).ok();
        let region = endpoint::region(config.region.as_deref(), environment);
        let endpoint = endpoint::resolve(config.endpoint.as_deref(), &region, environment)
            .map_err(|error| invalid(error.to_string()))?;
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|_| invalid("user-agent has characters that no header can have".to_owned()))?;
        let direct = endpoint::is_loopback(&endpoint.url);
        let clients = clients::shared(config.connect_timeout, direct)
            .map_err(|error| invalid(format!("no HTTP client: {}", failure::cause(&error))))?;
        Ok(Self {
            inner: Arc::new(Inner {
                endpoint,
                region,
                credentials: config.credentials,
                user_agent,
                completion_timeout: config.completion_timeout,
                clients,
                data_endpoints: Mutex::default(),
            }),
        })
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        &self.inner.region
    }

    /// The control plane's URL.
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint.url
    }

    /// DescribeStream.
    ///
    /// # Errors
    /// [`ServiceErrorKind::NotFound`] when there is no such stream.
    pub async fn describe_stream(&self, stream: &StreamRef) -> Result<StreamInfo, ServiceError> {
        let input = DescribeStreamInput { stream: stream.clone() };
        Ok(self.call(&self.inner.endpoint, &input).await?.stream_info)
    }

    /// CreateStream.
    ///
    /// # Errors
    /// [`ServiceErrorKind::InUse`] when there is one of this name.
    pub async fn create_stream(
        &self,
        input: &CreateStreamInput,
    ) -> Result<CreateStreamOutput, ServiceError> {
        self.call(&self.inner.endpoint, input).await
    }

    /// TagStream.
    ///
    /// # Errors
    /// [`ServiceErrorKind::Invalid`] when the service takes no such tags.
    pub async fn tag_stream(&self, input: &TagStreamInput) -> Result<(), ServiceError> {
        self.call(&self.inner.endpoint, input).await.map(|_| ())
    }

    /// Where to send an operation on a stream. The answer is kept: after a failure of that
    /// operation call [`Self::forget_data_endpoints`].
    ///
    /// # Errors
    /// [`ServiceErrorKind::NotFound`] when there is no such stream.
    pub async fn data_endpoint(
        &self,
        stream: &StreamRef,
        api_name: ApiName,
    ) -> Result<String, ServiceError> {
        let key = (stream.clone(), api_name);
        let asked = clock::monotonic();
        if let Some((url, since)) = self.data_endpoints().get(&key)
            && asked.saturating_since(*since) < DATA_ENDPOINT_LIFE
        {
            return Ok(url.clone());
        }
        let input = GetDataEndpointInput { stream: stream.clone(), api_name };
        let answer = self.call(&self.inner.endpoint, &input).await?.data_endpoint;
        let url = endpoint::check(&answer, Origin::DataEndpoint).map_err(|error| ServiceError {
            operation: GetDataEndpointInput::NAME,
            kind: ServiceErrorKind::Protocol,
            code: None,
            message: error.to_string(),
        })?;
        self.data_endpoints().insert(key, (url.url.clone(), asked));
        Ok(url.url)
    }

    /// Asks again for every data endpoint that is needed from now on.
    pub fn forget_data_endpoints(&self) {
        self.data_endpoints().clear();
    }

    fn data_endpoints(&self) -> MutexGuard<'_, HashMap<(StreamRef, ApiName), (String, Monotonic)>> {
        self.inner.data_endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// PutMedia: sends `body` and gives the response as soon as its head is there, while the body
    /// is still on its way.
    ///
    /// **Read the response all the time, to its end.** When the response ends, fails or is dropped,
    /// the body is dropped and the connection closed; a body that has not ended by then was not
    /// taken as a whole.
    ///
    /// # Errors
    /// The service's answer when it is not 200; [`ServiceErrorKind::Cut`] when the connection broke
    /// before there was one, which leaves unknown what the service thought of the request.
    pub async fn put_media<B>(
        &self,
        endpoint: &str,
        head: &PutMediaHead,
        body: B,
    ) -> Result<MediaResponse, ServiceError>
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let endpoint = data(endpoint);
        let (mut call, mut headers) = self.prepare("PutMedia", &endpoint, PUT_MEDIA_PATH)?;
        headers.extend(head.to_headers());
        self.sign(&mut call, &mut headers, SignedBody::Stream)?;
        let (body, stop) = media::stoppable(body);
        let request = self.inner.clients.upload.post(call.url.clone()).headers(headers).body(body);
        let response = call.send(request).await?;
        Ok(MediaResponse::new(response, call, Some(stop)))
    }

    /// GetMedia: gives the response as soon as its head is there.
    ///
    /// # Errors
    /// The service's answer when it is not 200.
    pub async fn get_media(
        &self,
        endpoint: &str,
        stream: &StreamRef,
        start: &StartSelector,
    ) -> Result<MediaResponse, ServiceError> {
        let input = GetMediaInput { stream: stream.clone(), start_selector: start.clone() };
        self.download("GetMedia", endpoint, GET_MEDIA_PATH, &input).await
    }

    /// ListFragments: one page.
    ///
    /// # Errors
    /// [`ServiceErrorKind::NotFound`] when there is no such stream.
    pub async fn list_fragments(
        &self,
        endpoint: &str,
        input: &ListFragmentsInput,
    ) -> Result<ListFragmentsOutput, ServiceError> {
        self.call(&data(endpoint), input).await
    }

    /// GetMediaForFragmentList: gives the response as soon as its head is there.
    ///
    /// # Errors
    /// The service's answer when it is not 200.
    pub async fn get_media_for_fragment_list(
        &self,
        endpoint: &str,
        stream: &StreamRef,
        fragments: Vec<FragmentNumber>,
    ) -> Result<MediaResponse, ServiceError> {
        let input = GetMediaForFragmentListInput { stream: stream.clone(), fragments };
        let path = GET_MEDIA_FOR_FRAGMENT_LIST_PATH;
        self.download("GetMediaForFragmentList", endpoint, path, &input).await
    }

    /// Any operation that answers with JSON, at an endpoint.
    async fn call<I: Operation>(
        &self,
        endpoint: &Endpoint,
        input: &I,
    ) -> Result<I::Output, ServiceError> {
        let (call, response) = self.post_json(I::NAME, endpoint, I::PATH, input).await?;
        let body = call.read_body(response).await?;
        let body = if body.is_empty() { b"{}".as_slice() } else { &body };
        serde_json::from_slice(body).map_err(|error| call.protocol(&error))
    }

    async fn download<I: serde::Serialize>(
        &self,
        operation: &'static str,
        endpoint: &str,
        path: &str,
        input: &I,
    ) -> Result<MediaResponse, ServiceError> {
        let (call, response) = self.post_json(operation, &data(endpoint), path, input).await?;
        Ok(MediaResponse::new(response, call, None))
    }

    async fn post_json<I: serde::Serialize>(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        path: &str,
        input: &I,
    ) -> Result<(Call, reqwest::Response), ServiceError> {
        let (mut call, mut headers) = self.prepare(operation, endpoint, path)?;
        let body = serde_json::to_vec(input).map_err(|error| call.protocol(&error))?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.sign(&mut call, &mut headers, SignedBody::Bytes(&body))?;
        let request = self.inner.clients.calls.post(call.url.clone()).headers(headers).body(body);
        let response = call.send(request).await?;
        Ok((call, response))
    }

    fn prepare(
        &self,
        operation: &'static str,
        endpoint: &Endpoint,
        path: &str,
    ) -> Result<(Call, HeaderMap), ServiceError> {
        let text = format!("{}{path}", endpoint.url);
        let url = Url::parse(&text).map_err(|error| ServiceError {
            operation,
            kind: ServiceErrorKind::Invalid,
            code: None,
            message: format!("{} gives no URL: {error}", endpoint.origin),
        })?;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::USER_AGENT, self.inner.user_agent.clone());
        let origin = endpoint.origin;
        let timeout = self.inner.completion_timeout;
        Ok((Call { operation, url, origin, timeout, keys: None }, headers))
    }

    fn sign(
        &self,
        call: &mut Call,
        headers: &mut HeaderMap,
        body: SignedBody<'_>,
    ) -> Result<(), ServiceError> {
        let keys = self.inner.credentials.keys().map_err(|error| call.credentials(&error))?;
        let Some(keys) = keys else {
            if endpoint::is_loopback(call.url.as_str()) {
                return Ok(());
            }
            return Err(call.credentials(
                &"there are no credentials: set access-key and secret-key, or the environment \
                  variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        };
        let uri: Uri = call.url.as_str().parse().map_err(|error| call.protocol(&error))?;
        let time = clock::wall();
        sign_request(&Method::POST, &uri, headers, body, &keys, &self.inner.region, time)
            .map_err(|error| call.credentials(&error))?;
        call.keys = Some(keys);
        Ok(())
    }
}

fn data(url: &str) -> Endpoint {
    Endpoint { url: url.trim_end_matches('/').to_owned(), origin: Origin::DataEndpoint }
}

#[cfg(test)]
mod tests;
