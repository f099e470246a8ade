// SPDX-License-Identifier: MIT OR Apache-2.0
//! The KVS wire: headers, acks, JSON shapes, tags, error ids, signatures. Values, never sockets.

pub mod ack;
pub mod control;
pub mod error_id;
pub mod get_media;
pub mod json;
pub mod put_media;
pub mod service_error;
pub mod sigv4;

pub use service_error::{ServiceError, ServiceErrorKind};
