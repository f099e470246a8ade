// SPDX-License-Identifier: MIT OR Apache-2.0
//! The KVS wire: headers, acks, JSON shapes, tags, error ids, signatures. Values, never sockets.

pub mod service_error;

pub use service_error::{ServiceError, ServiceErrorKind};
