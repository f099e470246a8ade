// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signed requests: what is let in, and which error the rest gets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use gstkvs::{
    io::clock,
    server::{Config, Server},
};

use crate::client::{Answer, Fixture, Raw};

fn fixture() -> Fixture {
    Fixture::with(|config| config.credentials = Some("AKID secret".parse().unwrap()))
}

/// Posts `{}` to ListStreams with a signature by AWS's signer.
fn list_streams(fixture: &Fixture, key: &str, secret: &str) -> Answer {
    let identity = Credentials::new(key, secret, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-west-2")
        .name("kinesisvideo")
        .time(UNIX_EPOCH + Duration::from_nanos(clock::wall().as_nanos()))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let url = format!("{}/listStreams", fixture.server.url());
    let body = SignableBody::Bytes(b"{}");
    let request = SignableRequest::new("POST", &url, std::iter::empty(), body).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let signature: String =
        instructions.headers().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut raw = Raw::connect(fixture.addr());
    raw.send(&format!(
        "POST /listStreams HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n{signature}\r\n{{}}",
        fixture.addr()
    ));
    raw.answer()
}

#[test]
fn known_keys_are_let_in_and_others_are_not() {
    let fixture = fixture();
    assert_eq!(list_streams(&fixture, "AKID", "secret").status, 200);
    for (key, secret, code) in [
        ("AKID", "guess", "InvalidSignatureException"),
        ("OTHER", "secret", "UnrecognizedClientException"),
    ] {
        let answer = list_streams(&fixture, key, secret);
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("x-amzn-errortype"), Some(code));
        assert!(answer.header("x-amzn-requestid").is_some());
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
}

#[test]
fn unsigned_requests_are_refused_where_keys_are_known() {
    let fixture = fixture();
    let refused = (403, "MissingAuthenticationTokenException".to_owned());
    for path in ["/listStreams", "/getMedia", "/deleteStream", "/getMediaForFragmentList"] {
        assert_eq!(fixture.err(path, serde_json::json!({})), refused, "{path}");
    }
    let mut raw = crate::client::put_media(fixture.addr(), "cam", "");
    assert_eq!(raw.answer().header("x-amzn-errortype"), Some(refused.1.as_str()));
}

#[test]
fn strangers_are_not_served_unsigned() {
    let dir = tempfile::tempdir().unwrap();
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut config = Config::new(dir.path());
    config.listen = everywhere;
    let error = Server::start(config.clone()).unwrap_err();
    assert!(error.to_string().contains("--credentials"), "{error}");
    config.allow_unsigned = true;
    assert!(Server::start(config).is_ok());
    let mut config = Config::new(dir.path());
    config.listen = everywhere;
    config.credentials = Some("AKID secret".parse().unwrap());
    assert!(Server::start(config).is_ok());
}
