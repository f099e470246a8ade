// SPDX-License-Identifier: MIT OR Apache-2.0
//! How single values travel inside the service's JSON: ids as strings, times as epoch seconds.
//!
//! Functions for serde's `with`. A `null` is the same as an absent member.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

use crate::{
    ids::{StreamArn, StreamName, StreamRef},
    time::Timestamp,
};

/// An identifier as a JSON string.
pub mod text {
    use super::*;

    /// Writes the identifier's text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: fmt::Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    /// Parses the identifier.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn deserialize<'de, T, D>(d: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// An optional identifier as a JSON string.
pub mod optional_text {
    use super::*;

    /// Writes the identifier's text or `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: fmt::Display, S: Serializer>(
        value: &Option<T>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => s.collect_str(value),
            None => s.serialize_none(),
        }
    }

    /// Parses the identifier, if there is one.
    ///
    /// # Errors
    /// When the text is not one.
    pub fn deserialize<'de, T, D>(d: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

/// A list of identifiers as JSON strings.
pub mod texts {
    use super::*;

    /// Writes the texts.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: fmt::Display, S: Serializer>(
        values: &[T],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let mut seq = s.serialize_seq(Some(values.len()))?;
        for value in values {
            seq.serialize_element(&format_args!("{value}"))?;
        }
        seq.end()
    }

    /// Parses the identifiers.
    ///
    /// # Errors
    /// When one of the texts is none.
    pub fn deserialize<'de, T, D>(d: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(d)?;
        texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
    }
}

/// A time as a number of seconds since the Unix epoch. Integers, fractions and exponents are read;
/// milliseconds are written.
pub mod epoch_seconds {
    use super::*;

    /// Writes seconds with milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(value.as_secs_f64())
    }

    /// Reads seconds.
    ///
    /// # Errors
    /// When the number is negative or too large for a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let secs = f64::deserialize(d)?;
        Timestamp::from_secs_f64(secs)
            .ok_or_else(|| de::Error::custom(format_args!("{secs} is no time in epoch seconds")))
    }
}

/// An optional time as a number of seconds since the Unix epoch.
pub mod optional_epoch_seconds {
    use super::*;

    /// Writes seconds with milliseconds, or `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        value.map(Timestamp::as_secs_f64).serialize(s)
    }

    /// Reads seconds, if there are any.
    ///
    /// # Errors
    /// When the number is negative or too large for a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        #[derive(Deserialize)]
        struct Seconds(#[serde(with = "epoch_seconds")] Timestamp);
        Ok(Option::<Seconds>::deserialize(d)?.map(|secs| secs.0))
    }
}

/// The members `StreamName` and `StreamARN` of which a request carries exactly one; for
/// `#[serde(flatten, with = ..)]`.
pub mod stream_ref {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Members {
        #[serde(
            rename = "StreamName",
            default,
            skip_serializing_if = "Option::is_none",
            with = "optional_text"
        )]
        name: Option<StreamName>,
        #[serde(
            rename = "StreamARN",
            default,
            skip_serializing_if = "Option::is_none",
            with = "optional_text"
        )]
        arn: Option<StreamArn>,
    }

    /// Writes the one member.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &StreamRef, s: S) -> Result<S::Ok, S::Error> {
        let members = match value {
            StreamRef::Arn(arn) => Members { name: None, arn: Some(arn.clone()) },
            StreamRef::Name(name) => Members { name: Some(name.clone()), arn: None },
        };
        members.serialize(s)
    }

    /// Reads the one member.
    ///
    /// # Errors
    /// When there is none, or both, or the text is no name or ARN.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<StreamRef, D::Error> {
        let Members { name, arn } = Members::deserialize(d)?;
        match (name, arn) {
            (Some(name), None) => Ok(StreamRef::Name(name)),
            (None, Some(arn)) => Ok(StreamRef::Arn(arn)),
            _ => Err(de::Error::custom("give exactly one of StreamName and StreamARN")),
        }
    }
}
