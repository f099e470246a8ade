// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every way in which the clients of this API sign, and every way in which it can be wrong.

use std::time::UNIX_EPOCH;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::Request;
use proptest::prelude::*;

use super::*;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: Timestamp = Timestamp::from_nanos(1_795_424_400_000_000_000);
const BODY: &[u8] = br#"{"StreamName":"cam"}"#;

fn table() -> CredentialsTable {
    format!("{KEY} {SECRET}").parse().unwrap()
}

/// A request as a client sends it, signed by AWS's signer over what the client signs.
struct Signed<'a> {
    path: &'a str,
    /// As it is signed.
    signed_host: &'a str,
    /// As it arrives.
    sent_host: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: SignableBody<'a>,
    checksum_header: bool,
    token: Option<&'a str>,
    at: Timestamp,
}

impl<'a> Signed<'a> {
    fn json() -> Self {
        Self {
            path: "/describeStream",
            signed_host: "127.0.0.1:8080",
            sent_host: "127.0.0.1:8080",
            headers: &[("content-type", "application/json")],
            body: SignableBody::Bytes(BODY),
            checksum_header: false,
            token: None,
            at: NOW,
        }
    }

    fn put_media() -> Self {
        Self {
            path: "/putMedia",
            headers: &[
                ("connection", "keep-alive"),
                ("transfer-encoding", "chunked"),
                ("user-agent", "AWS-SDK-KVS-CPP-CLIENT/3.4  GCC/12"),
                ("x-amzn-stream-name", "cam"),
            ],
            body: SignableBody::Bytes(b""),
            ..Self::json()
        }
    }

    fn parts(&self) -> Parts {
        let credentials = Credentials::new(KEY, SECRET, self.token.map(str::to_owned), None, "t");
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        if self.checksum_header {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-west-2")
            .name(SERVICE)
            .time(UNIX_EPOCH + Duration::from_nanos(self.at.as_nanos()))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("http://{}{}", self.signed_host, self.path);
        let to_sign =
            SignableRequest::new("POST", &url, self.headers.iter().copied(), self.body.clone())
                .unwrap();
        let (instructions, _) = sign(to_sign, &params).unwrap().into_parts();
        let mut request = Request::post(self.path).header("host", self.sent_host);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        request.into_parts().0
    }
}

fn check(parts: &Parts, payload: Payload<'_>) -> Result<(), &'static str> {
    match verify(&table(), parts, payload, NOW) {
        Ok(key) => {
            assert_eq!(key, KEY);
            Ok(())
        }
        Err(error) => {
            assert_eq!(error.status, 403);
            Err(error.code)
        }
    }
}

#[test]
fn accepts_json_calls_of_every_client() {
    assert_eq!(check(&Signed::json().parts(), Payload::Whole(BODY)), Ok(()));
    let with_hash = Signed { checksum_header: true, ..Signed::json() };
    assert_eq!(check(&with_hash.parts(), Payload::Whole(BODY)), Ok(()));
    let unsigned_payload =
        Signed { checksum_header: true, body: SignableBody::UnsignedPayload, ..Signed::json() };
    assert_eq!(check(&unsigned_payload.parts(), Payload::Whole(BODY)), Ok(()));
}

#[test]
fn accepts_put_media_of_every_client() {
    let c_producer =
        Signed { sent_host: "127.0.0.1", signed_host: "127.0.0.1", ..Signed::put_media() };
    assert_eq!(check(&c_producer.parts(), Payload::Streaming), Ok(()));
    // Signed without the port, sent with it: what a proxy or an HTTP library makes of it.
    let port_added = Signed { signed_host: "127.0.0.1", ..Signed::put_media() };
    assert_eq!(check(&port_added.parts(), Payload::Streaming), Ok(()));

    let java_producer = Signed { body: SignableBody::UnsignedPayload, ..Signed::put_media() };
    assert_eq!(check(&java_producer.parts(), Payload::Streaming), Ok(()));

    let literal = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let java_sdk = Signed {
        body: SignableBody::Precomputed(literal.to_owned()),
        checksum_header: true,
        ..Signed::put_media()
    };
    assert_eq!(check(&java_sdk.parts(), Payload::Streaming), Ok(()));
}

#[test]
fn reads_absolute_form_targets() {
    let mut parts = Signed::json().parts();
    parts.uri = "http://127.0.0.1:8080/describeStream".parse().unwrap();
    assert_eq!(check(&parts, Payload::Whole(BODY)), Ok(()));
    let mut parts = Signed { sent_host: "127.0.0.1", ..Signed::json() }.parts();
    parts.uri = "http://127.0.0.1:8080/describeStream".parse().unwrap();
    assert_eq!(check(&parts, Payload::Whole(BODY)), Ok(()));
}

#[test]
fn the_session_token_may_be_signed_or_not() {
    let signed = Signed { token: Some("token"), ..Signed::json() };
    assert_eq!(check(&signed.parts(), Payload::Whole(BODY)), Ok(()));
    let mut unsigned = Signed::put_media().parts();
    unsigned.headers.insert("x-amz-security-token", "token".parse().unwrap());
    assert_eq!(check(&unsigned, Payload::Streaming), Ok(()));
}

#[test]
fn refuses_what_was_not_signed() {
    let altered_body = check(&Signed::json().parts(), Payload::Whole(b"{}"));
    assert_eq!(altered_body, Err("InvalidSignatureException"));
    // The signature over an empty body is no licence to send another.
    let empty = Signed { body: SignableBody::Bytes(b""), ..Signed::json() };
    assert_eq!(check(&empty.parts(), Payload::Whole(BODY)), Err("InvalidSignatureException"));

    let mut other_path = Signed::json().parts();
    other_path.uri = "/deleteStream".parse().unwrap();
    assert_eq!(check(&other_path, Payload::Whole(BODY)), Err("InvalidSignatureException"));

    let mut other_host = Signed::json().parts();
    other_host.headers.insert("host", "elsewhere".parse().unwrap());
    assert_eq!(check(&other_host, Payload::Whole(BODY)), Err("InvalidSignatureException"));

    let mut header_gone = Signed::put_media().parts();
    header_gone.headers.remove("x-amzn-stream-name");
    assert_eq!(check(&header_gone, Payload::Streaming), Err("InvalidSignatureException"));
}

#[test]
fn refuses_strangers_and_the_unsigned() {
    let parts = Request::post("/describeStream").body(()).unwrap().into_parts().0;
    let missing = check(&parts, Payload::Whole(BODY));
    assert_eq!(missing, Err("MissingAuthenticationTokenException"));

    let mut garbled = Signed::json().parts();
    garbled.headers.insert("authorization", "Bearer x".parse().unwrap());
    assert_eq!(check(&garbled, Payload::Whole(BODY)), Err("IncompleteSignatureException"));

    let strangers: CredentialsTable = "OTHER secret".parse().unwrap();
    let error = verify(&strangers, &Signed::json().parts(), Payload::Whole(BODY), NOW).unwrap_err();
    assert_eq!(error.code, "UnrecognizedClientException");
    let wrong_secret: CredentialsTable = format!("{KEY} other").parse().unwrap();
    let error =
        verify(&wrong_secret, &Signed::json().parts(), Payload::Whole(BODY), NOW).unwrap_err();
    assert_eq!(error.code, "InvalidSignatureException");
}

#[test]
fn refuses_what_was_signed_at_another_time() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    for (at, expect) in [
        (NOW.saturating_sub(minutes(4)), None),
        (NOW.checked_add(minutes(4)).unwrap(), None),
        (NOW.saturating_sub(minutes(6)), Some("Signature expired")),
        (NOW.checked_add(minutes(6)).unwrap(), Some("Signature not yet current")),
    ] {
        let parts = Signed { at, ..Signed::json() }.parts();
        let table = table();
        let result = verify(&table, &parts, Payload::Whole(BODY), NOW);
        match expect {
            None => assert!(result.is_ok(), "{at}"),
            Some(text) => {
                let error = result.unwrap_err();
                assert_eq!(error.code, "InvalidSignatureException");
                assert!(error.message.starts_with(text), "{error}");
            }
        }
    }
}

proptest! {
    /// Whatever arrives, it is refused and nothing panics.
    #[test]
    fn nothing_unsigned_is_let_in(
        scheme in prop_oneof![Just("AWS4-HMAC-SHA256 "), Just("")],
        scope in "[ -~]{0,60}",
        headers in "[a-z;:-]{0,40}",
        signature in "[0-9a-f]{0,70}",
        date in prop_oneof!["[ -~]{0,20}", Just("20261123T090000Z".to_owned())],
        host in "[ -~]{0,20}",
        path in "/[a-zA-Z0-9?&=%./-]{0,30}",
        streaming: bool,
    ) {
        let authorization =
            format!("{scheme}Credential={KEY}/{scope},SignedHeaders={headers},Signature={signature}");
        let built = Request::post(path)
            .header("authorization", authorization)
            .header("x-amz-date", date)
            .header("host", host)
            .body(());
        prop_assume!(built.is_ok());
        let (parts, ()) = built.unwrap().into_parts();
        let payload = if streaming { Payload::Streaming } else { Payload::Whole(BODY) };
        prop_assert!(check(&parts, payload).is_err());
    }
}
