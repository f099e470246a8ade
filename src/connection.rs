// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the service is and who asks: the properties that kvssink and kvssrc share.
//!
//! | property | type, unit | default | settable |
//! | --- | --- | --- | --- |
//! | `endpoint` | string, URL of the control plane | environment, then region | NULL, READY |
//! | `aws-region` | string | environment, then us-west-2 | NULL, READY |
//! | `access-key`, `secret-key`, `session-token` | string, write-only | environment | always |
//! | `user-agent` | string | `gst-plugin-kvs/<version>` | NULL, READY |
//! | `connection-timeout` | uint, s | 5 | NULL, READY |
//! | `completion-timeout` | uint, s | 10 | NULL, READY |
//!
//! Reading a secret gives AWS's placeholder string, whether the secret is set or not. Keys that are
//! set while the element runs are used by the next request: [`Connection`] and the
//! [`Service`]s made from it share them.

use std::{sync::Arc, time::Duration};

use gst::{glib, prelude::*};
use once_cell::sync::OnceCell;

use crate::{
    io::{Credentials, Service, ServiceConfig, credentials::StaticKeys},
    wire::ServiceError,
};

/// What is used when the property is not set.
const DEFAULT_USER_AGENT: &str = concat!("gst-plugin-kvs/", env!("CARGO_PKG_VERSION"));
/// AWS's element: 5 s to connect, 10 s for a whole control call.
const DEFAULT_CONNECTION_TIMEOUT_S: u32 = 5;
const DEFAULT_COMPLETION_TIMEOUT_S: u32 = 10;

/// The properties' values.
#[derive(Clone)]
pub(crate) struct Connection {
    endpoint: Option<String>,
    region: Option<String>,
    keys: StaticKeys,
    /// Shared with every service: takes `keys` over at once.
    credentials: Credentials,
    user_agent: String,
    connection_timeout_s: u32,
    completion_timeout_s: u32,
    /// Made of the values above, and kept while they are: it holds the root certificates.
    service: Arc<OnceCell<Service>>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            keys: StaticKeys::default(),
            credentials: Credentials::default(),
            user_agent: DEFAULT_USER_AGENT.to_owned(),
            connection_timeout_s: DEFAULT_CONNECTION_TIMEOUT_S,
            completion_timeout_s: DEFAULT_COMPLETION_TIMEOUT_S,
            service: Arc::default(),
        }
    }
}

/// The properties, in the order of gst-inspect. New ones with each call: GLib installs a spec in one
/// class only, and both elements may live in one process.
pub(crate) fn param_specs() -> Vec<glib::ParamSpec> {
    vec![
        secret("access-key", "AWS access key id; reading gives a placeholder"),
        text("aws-region", "AWS region; default: AWS_REGION, AWS_DEFAULT_REGION, us-west-2"),
        seconds(
            "completion-timeout",
            "Longest time a control-plane request may take, in seconds",
            DEFAULT_COMPLETION_TIMEOUT_S,
        ),
        seconds(
            "connection-timeout",
            "Longest time to establish a connection, in seconds",
            DEFAULT_CONNECTION_TIMEOUT_S,
        ),
        text(
            "endpoint",
            "URL of the control plane; default: CONTROL_PLANE_URI, \
                 AWS_ENDPOINT_URL_KINESIS_VIDEO, AWS_ENDPOINT_URL, the region's",
        ),
        secret("secret-key", "AWS secret access key; reading gives a placeholder"),
        secret("session-token", "AWS session token; reading gives a placeholder"),
        glib::ParamSpecString::builder("user-agent")
            .nick("User agent")
            .blurb("User-Agent header of every request")
            .default_value(DEFAULT_USER_AGENT)
            .mutable_ready()
            .build(),
    ]
}

fn text(name: &'static str, blurb: &'static str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name).nick(name).blurb(blurb).mutable_ready().build()
}

fn secret(name: &'static str, blurb: &'static str) -> glib::ParamSpec {
    let default = placeholder(name);
    glib::ParamSpecString::builder(name)
        .nick(name)
        .blurb(blurb)
        .default_value(default)
        .mutable_playing()
        .build()
}

fn seconds(name: &'static str, blurb: &'static str, default: u32) -> glib::ParamSpec {
    glib::ParamSpecUInt::builder(name)
        .nick(name)
        .blurb(blurb)
        .minimum(1)
        .maximum(3600)
        .default_value(default)
        .mutable_ready()
        .build()
}

/// What reading a secret gives; `None` for properties that are no secret.
fn placeholder(name: &str) -> Option<&'static str> {
    match name {
        "access-key" => Some("access_key"),
        "secret-key" => Some("secret_key"),
        "session-token" => Some("session_token"),
        _ => None,
    }
}

/// A string property's value; the empty string means "not set".
fn non_empty(value: &glib::Value) -> Option<String> {
    value.get::<Option<String>>().ok().flatten().filter(|text| !text.is_empty())
}

/// As [`non_empty`]; a placeholder that was read and is written back is "not set" too.
fn key(name: &str, value: &glib::Value) -> Option<String> {
    non_empty(value).filter(|text| placeholder(name) != Some(text.as_str()))
}

impl Connection {
    /// Takes over a property's new value; false when the property is none of these.
    pub(crate) fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        match name {
            "access-key" => self.keys.access_key = key(name, value),
            "aws-region" => self.region = non_empty(value),
            "completion-timeout" => {
                self.completion_timeout_s = value.get().unwrap_or(DEFAULT_COMPLETION_TIMEOUT_S);
            }
            "connection-timeout" => {
                self.connection_timeout_s = value.get().unwrap_or(DEFAULT_CONNECTION_TIMEOUT_S);
            }
            "endpoint" => self.endpoint = non_empty(value),
            "secret-key" => self.keys.secret_key = key(name, value),
            "session-token" => self.keys.session_token = key(name, value),
            "user-agent" => {
                self.user_agent = non_empty(value).unwrap_or_else(|| DEFAULT_USER_AGENT.to_owned());
            }
            _ => return false,
        }
        if Self::is_live(name) {
            self.credentials.set_static(self.keys.clone());
        } else {
            self.service = Arc::default();
        }
        true
    }

    /// A property's value; `None` when the property is none of these.
    pub(crate) fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "aws-region" => self.region.to_value(),
            "completion-timeout" => self.completion_timeout_s.to_value(),
            "connection-timeout" => self.connection_timeout_s.to_value(),
            "endpoint" => self.endpoint.to_value(),
            "user-agent" => self.user_agent.to_value(),
            _ => placeholder(name)?.to_value(),
        })
    }

    /// The service these properties name. No network is used.
    ///
    /// # Errors
    /// When the endpoint, the region or the user agent is none.
    pub(crate) fn service(&self) -> Result<Service, ServiceError> {
        let make = || {
            Service::new(ServiceConfig {
                endpoint: self.endpoint.clone(),
                region: self.region.clone(),
                credentials: self.credentials.clone(),
                user_agent: self.user_agent.clone(),
                connect_timeout: Duration::from_secs(self.connection_timeout_s.into()),
                completion_timeout: Duration::from_secs(self.completion_timeout_s.into()),
            })
        };
        self.service.get_or_try_init(make).cloned()
    }

    /// Whether a property may change while the element is in PAUSED or PLAYING.
    pub(crate) fn is_live(name: &str) -> bool {
        placeholder(name).is_some()
    }
}
