// SPDX-License-Identifier: MIT OR Apache-2.0
//! The edge: clocks, the shared runtime, credentials, and the client of the service.
//!
//! What is decided here is how to reach the service, never what to send or when.

pub mod clock;
pub mod credentials;
pub mod endpoint;
pub mod runtime;
pub mod service;

pub use credentials::Credentials;
pub use service::{MediaResponse, Service, ServiceConfig};
