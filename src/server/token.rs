// SPDX-License-Identifier: MIT OR Apache-2.0
//! `NextToken`: where the next page begins, as text that means nothing to a client.
//!
//! Lower-case hex of the position, which both token alphabets of the API allow.

use std::fmt::Write as _;

use serde::{Serialize, de::DeserializeOwned};

use super::error::ApiError;

/// Longer than any token given out.
const MAX_TOKEN: usize = 4096;

/// Writes a position.
pub(super) fn encode(position: &impl Serialize) -> Result<String, ApiError> {
    let json = serde_json::to_vec(position).map_err(ApiError::internal)?;
    Ok(json.iter().fold(String::with_capacity(2 * json.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

/// Reads a position that [`encode`] wrote.
pub(super) fn decode<T: DeserializeOwned>(token: &str) -> Result<T, ApiError> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes: Option<Vec<u8>> = token
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
            _ => None,
        })
        .collect();
    let parse = |json: Vec<u8>| serde_json::from_slice(&json).ok();
    (token.len() <= MAX_TOKEN).then_some(bytes).flatten().and_then(parse).ok_or_else(|| {
        ApiError::invalid_argument("NextToken is none that this operation has given out")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back_what_was_written(name in ".{0,64}", number: u64) {
            let token = encode(&(&name, number)).unwrap();
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric()));
            prop_assert_eq!(decode::<(String, u64)>(&token).unwrap(), (name, number));
        }

        #[test]
        fn refuses_anything_else(text in ".{0,64}") {
            prop_assert!(decode::<(String, u64)>(&text).is_err());
        }
    }
}
