// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which region, and which URL of the control plane: pure functions of property and environment.
//!
//! | what | taken from, the first that is set |
//! | --- | --- |
//! | region | property, AWS_REGION, AWS_DEFAULT_REGION, us-west-2 |
//! | endpoint | property, CONTROL_PLANE_URI, AWS_ENDPOINT_URL_KINESIS_VIDEO, AWS_ENDPOINT_URL, the region's |
//!
//! Data endpoints come from GetDataEndpoint and from nowhere else.

use std::{fmt, net::IpAddr};

use http::Uri;

const DEFAULT_REGION: &str = "us-west-2";
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const ENDPOINT_VARIABLES: [&str; 3] =
    ["CONTROL_PLANE_URI", "AWS_ENDPOINT_URL_KINESIS_VIDEO", "AWS_ENDPOINT_URL"];

/// Region prefixes with a domain of their own; all others are in `amazonaws.com`. Source: botocore
/// endpoint rules of kinesisvideo.
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
];

/// The control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme and host, perhaps a path, without a slash at the end.
    pub url: String,
    /// Who said so.
    pub origin: Origin,
}

/// Who said where a service is; errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The answer of GetDataEndpoint.
    DataEndpoint,
    /// The property `endpoint`.
    Property,
    /// The region.
    Region,
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataEndpoint => f.write_str("the answer of GetDataEndpoint"),
            Self::Property => f.write_str("the property endpoint"),
            Self::Region => f.write_str("the region (property aws-region, AWS_REGION)"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// A setting that names no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL that requests can go to.
    #[error("{origin} is \"{url}\": write a URL such as https://host or http://127.0.0.1:8080")]
    Url {
        /// Who said so.
        origin: Origin,
        /// What it says.
        url: String,
    },
    /// Not the name of a region.
    #[error("region \"{0}\" is none: write a name such as eu-west-1")]
    Region(String),
}

/// The region. `environment` looks up a variable.
pub fn region(property: Option<&str>, environment: impl Fn(&str) -> Option<String>) -> String {
    set(property.map(str::to_owned))
        .or_else(|| REGION_VARIABLES.iter().find_map(|name| set(environment(name))))
        .unwrap_or_else(|| DEFAULT_REGION.to_owned())
}

/// The control plane. `environment` looks up a variable.
///
/// # Errors
/// [`EndpointError`] when the first setting that is there is no URL. It is not passed over.
pub fn resolve(
    property: Option<&str>,
    region: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Endpoint, EndpointError> {
    let variable =
        |name: &&'static str| set(environment(name)).map(|url| (url, Origin::Variable(name)));
    let found = set(property.map(str::to_owned))
        .map(|url| (url, Origin::Property))
        .or_else(|| ENDPOINT_VARIABLES.iter().find_map(variable));
    match found {
        Some((url, origin)) => check(&url, origin),
        None => regional(region),
    }
}

fn set(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn regional(region: &str) -> Result<Endpoint, EndpointError> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.len() > 32 || !region.bytes().all(valid) || !region.contains('-') {
        return Err(EndpointError::Region(region.chars().take(64).collect()));
    }
    let domain = DOMAINS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix))
        .map_or("amazonaws.com", |(_, domain)| domain);
    let url = format!("https://kinesisvideo.{region}.{domain}");
    Ok(Endpoint { url, origin: Origin::Region })
}

/// Checks that requests can go to `url`.
///
/// # Errors
/// [`EndpointError::Url`] when it is no http or https URL, or carries more than host and path.
pub fn check(url: &str, origin: Origin) -> Result<Endpoint, EndpointError> {
    let error = || EndpointError::Url { origin, url: without_user(url) };
    let uri: Uri = url.parse().map_err(|_| error())?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    if !scheme || !authority || !host || uri.query().is_some() {
        return Err(error());
    }
    Ok(Endpoint { url: url.trim_end_matches('/').to_owned(), origin })
}

/// A URL for an error text: whoever writes user and password into it does not find them in a log.
fn without_user(url: &str) -> String {
    let shown = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (scheme, host) = (url.get(..scheme + 3), url.get(at..));
            format!("{}...{}", scheme.unwrap_or_default(), host.unwrap_or_default())
        }
        _ => url.to_owned(),
    };
    shown.chars().take(128).collect()
}

/// Whether the URL's host is this machine: `localhost` or a loopback address.
pub fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn region_precedence() {
        let both = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-2")];
        assert_eq!(region(Some("ap-south-1"), lookup(&both)), "ap-south-1");
        assert_eq!(region(None, lookup(&both)), "eu-west-1");
        assert_eq!(region(Some(""), lookup(&[("AWS_REGION", ""), both[1]])), "eu-west-2");
        assert_eq!(region(None, lookup(&[])), "us-west-2");
    }

    #[test]
    fn endpoint_precedence() {
        let mut settings: Vec<(&'static str, &str)> = vec![
            ("CONTROL_PLANE_URI", "http://a:1/"),
            ("AWS_ENDPOINT_URL_KINESIS_VIDEO", "http://b:2"),
            ("AWS_ENDPOINT_URL", "http://c:3"),
        ];
        let found = |property, settings: &[(&str, &str)]| {
            let endpoint = resolve(property, "eu-west-1", lookup(settings)).unwrap();
            (endpoint.url, endpoint.origin)
        };
        let expect = |url: &str, origin| (url.to_owned(), origin);
        assert_eq!(found(Some("https://p"), &settings), expect("https://p", Origin::Property));
        for url in ["http://a:1", "http://b:2", "http://c:3"] {
            assert_eq!(found(None, &settings), expect(url, Origin::Variable(settings[0].0)));
            settings.remove(0);
        }
        let regional = "https://kinesisvideo.eu-west-1.amazonaws.com";
        assert_eq!(found(None, &settings), expect(regional, Origin::Region));
    }

    #[test]
    fn every_partition_has_its_domain() {
        for (region, url) in [
            ("us-east-1", "https://kinesisvideo.us-east-1.amazonaws.com"),
            ("us-gov-west-1", "https://kinesisvideo.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://kinesisvideo.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://kinesisvideo.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "https://kinesisvideo.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "https://kinesisvideo.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", "https://kinesisvideo.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-east-1", "https://kinesisvideo.us-isof-east-1.csp.hci.ic.gov"),
        ] {
            assert_eq!(resolve(None, region, lookup(&[])).unwrap().url, url);
        }
    }

    #[test]
    fn refuses_what_is_no_url_and_says_who_said_it() {
        for url in ["127.0.0.1:8080", "ftp://a", "http://", "http://a/?x=1", "http://a b"] {
            let error = resolve(Some(url), "eu-west-1", lookup(&[])).unwrap_err().to_string();
            assert!(error.contains("the property endpoint is"), "{error}");
        }
        let error = resolve(None, "r-1", lookup(&[("AWS_ENDPOINT_URL", "x")])).unwrap_err();
        assert!(error.to_string().contains("variable AWS_ENDPOINT_URL is \"x\""), "{error}");
        let error = resolve(Some("http://me:secret@host"), "r-1", lookup(&[])).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        for region in ["us west", "US-EAST-1", "here", "evil.com/x-1"] {
            assert!(resolve(None, region, lookup(&[])).is_err(), "{region}");
        }
    }

    #[test]
    fn knows_this_machine() {
        for url in
            ["http://127.0.0.1:8080", "http://[::1]:1", "https://localhost", "http://127.9.9.9"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1", "https://localhost.example.com", "x", "http://[::2]"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
