// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client against servers that do one thing each, byte by byte.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use super::*;
use crate::{
    io::{credentials::StaticKeys, runtime},
    wire::put_media::TimecodeType,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Runs a test on the shared runtime, no longer than the deadline.
fn run(test: impl Future<Output = ()>) {
    runtime::handle().unwrap().block_on(async { timeout(DEADLINE, test).await.unwrap() });
}

/// A server that gives its connections, one after another, to `behave`.
async fn serve<F, R>(behave: F) -> String
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(behave(socket));
        }
    });
    url
}

/// Reads up to and with `end`, or to the end of the connection.
async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        match socket.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads one HTTP request with a Content-Length body, answers it, and leaves the connection open.
async fn answer(socket: &mut TcpStream, status: &str, headers: &str, body: &str) -> Option<String> {
    let head = read_until(socket, "\r\n\r\n").await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut content = vec![0; length.parse().ok()?];
    socket.read_exact(&mut content).await.ok()?;
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    socket.write_all(text.as_bytes()).await.ok()?;
    Some(head + &String::from_utf8_lossy(&content))
}

fn config(endpoint: &str) -> ServiceConfig {
    ServiceConfig {
        endpoint: Some(endpoint.to_owned()),
        region: Some("eu-west-1".to_owned()),
        credentials: Credentials::with_environment(|_| None),
        ..ServiceConfig::default()
    }
}

fn service(endpoint: &str) -> Service {
    Service::new(config(endpoint)).unwrap()
}

fn keys() -> StaticKeys {
    StaticKeys {
        access_key: Some("AKID".into()),
        secret_key: Some("SECRETSECRET".into()),
        session_token: Some("TOKENTOKEN".into()),
    }
}

fn stream() -> StreamRef {
    StreamRef::Name("cam".parse().unwrap())
}

fn head() -> PutMediaHead {
    PutMediaHead {
        stream: stream(),
        timecode_type: TimecodeType::Absolute,
        start: None,
        acks: true,
    }
}

/// A request body whose parts come from a channel; it ends when the sender is dropped.
struct Parts(mpsc::Receiver<Bytes>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

fn parts() -> (mpsc::Sender<Bytes>, Parts) {
    let (sender, receiver) = mpsc::channel(4);
    (sender, Parts(receiver))
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn acks_are_read_while_the_body_is_sent() {
    run(async {
        let (seen, mut requests) = mpsc::channel(1);
        let url = serve(move |mut socket| {
            let seen = seen.clone();
            async move {
                let head = read_until(&mut socket, "\r\n\r\n").await;
                seen.send(head).await.unwrap();
                socket.write_all(CHUNKED).await.unwrap();
                for ack in 1..=3 {
                    let part = read_until(&mut socket, "part\r\n").await;
                    assert!(part.starts_with("4\r\n"), "{part}");
                    socket.write_all(format!("5\r\nack{ack}\n\r\n").as_bytes()).await.unwrap();
                }
                assert_eq!(read_until(&mut socket, "0\r\n\r\n").await, "0\r\n\r\n");
                socket.write_all(b"0\r\n\r\n").await.unwrap();
            }
        })
        .await;
        let (sender, body) = parts();
        let mut response = service(&url).put_media(&url, &head(), body).await.unwrap();
        for ack in 1..=3 {
            sender.send(Bytes::from_static(b"part")).await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), format!("ack{ack}\n"));
        }
        drop(sender);
        assert_eq!(response.chunk().await, Ok(None));

        let request = requests.recv().await.unwrap();
        assert!(request.starts_with("POST /putMedia HTTP/1.1\r\n"), "{request}");
        for header in [
            "x-amzn-stream-name: cam",
            "x-amzn-fragment-timecode-type: ABSOLUTE",
            "x-amzn-fragment-acknowledgment-required: 1",
            "transfer-encoding: chunked",
            "user-agent: gst-plugin-kvs/",
        ] {
            assert!(request.contains(header), "{header} in {request}");
        }
    });
}

#[test]
fn an_early_refusal_is_read_although_the_body_goes_on() {
    run(async {
        let url = serve(|mut socket| async move {
            read_until(&mut socket, "\r\n\r\n").await;
            let body = "{\"Message\":\"not you, key SECRETSECRET\"}";
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: NotAuthorizedException:http://x\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
            while socket.read_u8().await.is_ok() {}
        })
        .await;
        let (sender, body) = parts();
        sender.send(Bytes::from(vec![7; 100_000])).await.unwrap();
        let service = service(&url);
        service.inner.credentials.set_static(keys());
        let error = service.put_media(&url, &head(), body).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::NotAuthorized);
        assert_eq!(error.code.as_deref(), Some("NotAuthorizedException"));
        let text = error.to_string();
        for part in ["PutMedia: 127.0.0.1:", "403: not you", "Check access-key", "clock"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("SECRETSECRET"), "{text}");
        sender.closed().await;
    });
}

#[test]
fn a_cut_response_is_an_error_and_stops_the_body() {
    run(async {
        let url = serve(|mut socket| async move {
            read_until(&mut socket, "part\r\n").await;
            socket.write_all(CHUNKED).await.unwrap();
            socket.write_all(b"4\r\nack\n\r\n").await.unwrap();
        })
        .await;
        let (sender, body) = parts();
        sender.send(Bytes::from_static(b"part")).await.unwrap();
        let mut response = service(&url).put_media(&url, &head(), body).await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "ack\n");
        let error = response.chunk().await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Cut);
        sender.closed().await;
    });
}

#[test]
fn a_connection_that_breaks_before_the_answer_leaves_it_unknown() {
    run(async {
        let url = serve(|mut socket| async move {
            read_until(&mut socket, "part\r\n").await;
        })
        .await;
        let (sender, body) = parts();
        sender.send(Bytes::from_static(b"part")).await.unwrap();
        let error = service(&url).put_media(&url, &head(), body).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Cut);
        assert!(error.message.contains("unknown"), "{error}");
        sender.closed().await;
    });
}

#[test]
fn a_response_that_is_over_stops_the_body() {
    run(async {
        let (seen, mut ends) = mpsc::channel(1);
        let url = serve(move |mut socket| {
            let seen = seen.clone();
            async move {
                read_until(&mut socket, "\r\n\r\n").await;
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nack\n")
                    .await
                    .unwrap();
                seen.send(read_until(&mut socket, "0\r\n\r\n").await).await.unwrap();
            }
        })
        .await;
        let (sender, body) = parts();
        let mut response = service(&url).put_media(&url, &head(), body).await.unwrap();
        assert_eq!(response.chunk().await.unwrap().unwrap(), "ack\n");
        assert_eq!(response.chunk().await, Ok(None));
        sender.closed().await;
        let rest = ends.recv().await.unwrap();
        assert!(!rest.ends_with("0\r\n\r\n"), "the body must not look whole: {rest}");
    });
}

#[test]
fn dropping_the_response_stops_the_body() {
    run(async {
        let url = serve(|mut socket| async move {
            read_until(&mut socket, "\r\n\r\n").await;
            socket.write_all(CHUNKED).await.unwrap();
            while socket.read_u8().await.is_ok() {}
        })
        .await;
        let (sender, body) = parts();
        drop(service(&url).put_media(&url, &head(), body).await.unwrap());
        sender.closed().await;
    });
}

#[test]
fn an_unreachable_service_is_named_with_the_property() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error =
            service(&format!("http://{address}")).describe_stream(&stream()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Unreachable);
        let text = error.to_string();
        for part in [
            "DescribeStream: cannot connect to",
            &address.to_string(),
            "refused",
            "property endpoint",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    });
}

#[test]
fn a_silent_service_is_given_up() {
    run(async {
        let url = serve(|mut socket| async move { while socket.read_u8().await.is_ok() {} }).await;
        let completion_timeout = Duration::from_millis(50);
        let service = Service::new(ServiceConfig { completion_timeout, ..config(&url) }).unwrap();
        let error = service.describe_stream(&stream()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Timeout);
        let (sender, body) = parts();
        let error = service.put_media(&url, &head(), body).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Timeout);
        assert!(error.message.contains("within 0.05 s"), "{error}");
        sender.closed().await;
    });
}

/// A control plane that answers everything with `body` and passes on what it was asked.
async fn control_plane(status: &'static str, body: String) -> (String, mpsc::Receiver<String>) {
    let (seen, requests) = mpsc::channel(16);
    let url = serve(move |mut socket| {
        let (seen, body) = (seen.clone(), body.clone());
        async move {
            while let Some(request) = answer(&mut socket, status, "", &body).await {
                seen.send(request).await.unwrap();
            }
        }
    })
    .await;
    (url, requests)
}

#[test]
fn requests_are_signed_when_there_are_keys() {
    run(async {
        let body = "{\"StreamInfo\":{\"StreamName\":\"cam\",\"DataRetentionInHours\":null}}";
        let (url, mut requests) = control_plane("200 OK", body.to_owned()).await;
        let service = service(&url);
        let info = service.describe_stream(&stream()).await.unwrap();
        assert_eq!(info.stream_name, Some("cam".parse().unwrap()));
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with("POST /describeStream HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"StreamName\":\"cam\"}"), "{request}");
        assert!(!request.contains("authorization:"), "{request}");

        service.inner.credentials.set_static(keys());
        service.describe_stream(&stream()).await.unwrap();
        let request = requests.recv().await.unwrap();
        let credential = "authorization: AWS4-HMAC-SHA256 Credential=AKID/";
        for part in [
            credential,
            "/eu-west-1/kinesisvideo/aws4_request",
            "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token",
            "x-amz-security-token: TOKENTOKEN",
        ] {
            assert!(request.contains(part), "{part} in {request}");
        }
    });
}

#[test]
fn without_keys_nothing_is_sent_to_another_machine() {
    run(async {
        let service = service("https://kvs.example.com");
        let error = service.describe_stream(&stream()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Credentials);
        assert!(error.message.contains("AWS_ACCESS_KEY_ID"), "{error}");
        service.inner.credentials.set_static(StaticKeys { secret_key: None, ..keys() });
        let error = service.describe_stream(&stream()).await.unwrap_err();
        assert_eq!(error.kind, ServiceErrorKind::Credentials);
        assert!(error.message.contains("secret-key is not"), "{error}");
    });
}

#[test]
fn a_data_endpoint_is_asked_for_once_until_it_is_forgotten() {
    run(async {
        let body = "{\"DataEndpoint\":\"http://127.0.0.1:9/\"}";
        let (url, mut requests) = control_plane("200 OK", body.to_owned()).await;
        let service = service(&url);
        for _ in 0..2 {
            let endpoint = service.data_endpoint(&stream(), ApiName::PutMedia).await.unwrap();
            assert_eq!(endpoint, "http://127.0.0.1:9");
        }
        service.data_endpoint(&stream(), ApiName::GetMedia).await.unwrap();
        service.forget_data_endpoints();
        service.data_endpoint(&stream(), ApiName::PutMedia).await.unwrap();
        let mut asked = Vec::new();
        while let Ok(request) = requests.try_recv() {
            asked.push(if request.contains("PUT_MEDIA") { "put" } else { "get" });
        }
        assert_eq!(asked, ["put", "get", "put"]);
    });
}

#[test]
fn answers_of_no_service_are_told_from_failures_of_the_service() {
    for (status, body, kind, code) in [
        ("404 Not Found", "{\"Message\":\"no\"}", ServiceErrorKind::NotFound, None),
        (
            "400 Bad",
            "{\"__type\":\"x#ResourceInUseException\"}",
            ServiceErrorKind::InUse,
            Some("ResourceInUseException"),
        ),
        (
            "400 Bad",
            "{\"code\":\"ClientLimitExceededException\"}",
            ServiceErrorKind::Throttled,
            Some("ClientLimitExceededException"),
        ),
        ("400 Bad", "{\"message\":\"bad\"}", ServiceErrorKind::Invalid, None),
        ("429 Slow", "", ServiceErrorKind::Throttled, None),
        ("403 No", "<AccessDeniedException/>", ServiceErrorKind::NotAuthorized, None),
        ("503 Oh", "<html>", ServiceErrorKind::Server, None),
        ("504 Oh", "", ServiceErrorKind::Timeout, None),
        ("302 Found", "", ServiceErrorKind::Protocol, None),
        ("200 OK", "<html>", ServiceErrorKind::Protocol, None),
        ("200 OK", "{\"DataEndpoint\":\"nowhere\"}", ServiceErrorKind::Protocol, None),
    ] {
        run(async {
            let (url, _requests) = control_plane(status, body.to_owned()).await;
            let result = service(&url).data_endpoint(&stream(), ApiName::PutMedia).await;
            let error = result.unwrap_err();
            assert_eq!(error.kind, kind, "{status} {body}: {error}");
            assert_eq!(error.code.as_deref(), code, "{error}");
        });
    }
}

#[test]
fn an_operation_without_output_may_answer_with_nothing() {
    run(async {
        let (url, _requests) = control_plane("200 OK", String::new()).await;
        let tags = [("a".to_owned(), "b".to_owned())].into();
        service(&url).tag_stream(&TagStreamInput { stream: stream(), tags }).await.unwrap();
    });
}

#[test]
fn elements_with_the_same_settings_share_their_clients() {
    let (a, b) = (service("http://127.0.0.1:1"), service("http://127.0.0.1:2"));
    assert!(Arc::ptr_eq(&a.inner.clients, &b.inner.clients));
    let c = service("https://kvs.example.com");
    assert!(!Arc::ptr_eq(&a.inner.clients, &c.inner.clients));
}

#[test]
fn bad_settings_are_refused_before_anything_is_sent() {
    for config in
        [ServiceConfig { user_agent: "a\nb".into(), ..config("http://a") }, config("here")]
    {
        assert_eq!(Service::new(config).unwrap_err().kind, ServiceErrorKind::Invalid);
    }
}
