// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `Authorization` header, taken apart.
//!
//! ```text
//! AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request,
//!                  SignedHeaders=<name>;<name>..., Signature=<64 hex digits>
//! ```

/// Its parts. `signed_headers` is in the client's order, which is the canonical one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization<'a> {
    pub(super) access_key: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) signed_headers: Vec<&'a str>,
    pub(super) signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub(super) fn parse(header: &'a str) -> Result<Self, &'static str> {
        let rest = header
            .trim()
            .strip_prefix("AWS4-HMAC-SHA256")
            .ok_or("Authorization must begin with AWS4-HMAC-SHA256")?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            match part.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => {}
            }
        }
        let credential =
            credential.ok_or("Authorization header requires 'Credential' parameter.")?;
        let signed_headers =
            signed_headers.ok_or("Authorization header requires 'SignedHeaders' parameter.")?;
        let signature = signature.ok_or("Authorization header requires 'Signature' parameter.")?;

        let mut scope = credential.rsplitn(5, '/');
        let terminator = scope.next();
        let (service, region, date) = (scope.next(), scope.next(), scope.next());
        match (scope.next(), date, region, service, terminator) {
            (Some(access_key), Some(date), Some(region), Some(service), Some("aws4_request"))
                if !access_key.is_empty() && date.len() == 8 =>
            {
                let signed_headers = signed_headers.split(';').collect();
                Ok(Self { access_key, date, region, service, signed_headers, signature })
            }
            _ => Err("Credential must be <key>/<YYYYMMDD>/<region>/kinesisvideo/aws4_request"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_header_apart() {
        let parsed = Authorization::parse(
            "AWS4-HMAC-SHA256 Credential=AK/ID/20261123/us-west-2/kinesisvideo/aws4_request, \
             SignedHeaders=host;x-amz-date,Signature=ab",
        )
        .unwrap();
        assert_eq!(parsed.access_key, "AK/ID");
        assert_eq!((parsed.date, parsed.region), ("20261123", "us-west-2"));
        assert_eq!(parsed.signed_headers, ["host", "x-amz-date"]);
        assert_eq!(parsed.signature, "ab");
    }

    #[test]
    fn says_what_is_missing() {
        for (header, complaint) in [
            ("Basic dTpw", "AWS4-HMAC-SHA256"),
            ("AWS4-HMAC-SHA256 SignedHeaders=a,Signature=b", "Credential"),
            ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,Signature=b", "SignedHeaders"),
            ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders=host", "Signature"),
            (
                "AWS4-HMAC-SHA256 Credential=a/20260101/c/d/aws3,SignedHeaders=h,Signature=b",
                "aws4_request",
            ),
        ] {
            let error = Authorization::parse(header).unwrap_err();
            assert!(error.contains(complaint), "{header}: {error}");
        }
    }
}
