// SPDX-License-Identifier: MIT OR Apache-2.0
//! The constraints that the API puts on single members. Source: the service's API model.

use std::collections::BTreeMap;

use super::error::ApiError;

/// Tags that a stream may carry, and that one request may name.
pub(super) const MAX_TAGS: usize = 50;
/// Ten years: the longest retention (KVS developer guide, "Limits").
pub(super) const MAX_RETENTION_HOURS: u32 = 87_600;

type Checked = Result<(), ApiError>;

/// 1 to 128 of `[a-zA-Z0-9_.-]`.
pub(super) fn device_name(text: &str) -> Checked {
    let fits = chars(text, 1..=128, |c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    check(fits, "DeviceName", "1 to 128 characters of a-z A-Z 0-9 _ . -")
}

/// 1 to 128: `type/subtype`, several separated by commas.
pub(super) fn media_type(text: &str) -> Checked {
    let half = |t: &str| chars(t, 1..=128, |c| c.is_ascii_alphanumeric() || "_-.+".contains(c));
    let fits = text.len() <= 128
        && text.split(',').all(|one| one.split_once('/').is_some_and(|(a, b)| half(a) && half(b)));
    check(fits, "MediaType", "type/subtype, several separated by commas, 128 characters at most")
}

/// 1 to 2048 characters of any kind.
pub(super) fn kms_key_id(text: &str) -> Checked {
    let fits = chars(text, 1..=2048, |c| c != '\n');
    check(fits, "KmsKeyId", "1 to 2048 characters on one line")
}

/// 0 to 87 600.
pub(super) fn retention_hours(hours: u32) -> Checked {
    check(hours <= MAX_RETENTION_HOURS, "DataRetentionInHours", "0 to 87600")
}

/// 1 to 64 of `[a-zA-Z0-9]`.
pub(super) fn version(text: &str) -> Checked {
    let fits = chars(text, 1..=64, |c| c.is_ascii_alphanumeric());
    check(fits, "CurrentVersion", "1 to 64 characters of a-z A-Z 0-9")
}

/// 1 to 256 of `[a-zA-Z0-9_.-]`: the beginning of a stream name.
pub(super) fn comparison_value(text: &str) -> Checked {
    let fits = chars(text, 1..=256, |c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    check(fits, "ComparisonValue", "1 to 256 characters of a-z A-Z 0-9 _ . -")
}

/// A whole number of `min` to `max`.
pub(super) fn range(member: &str, value: u64, min: u64, max: u64) -> Checked {
    check((min..=max).contains(&value), member, &format!("{min} to {max}"))
}

/// 1 to 50 pairs of a tag key and a tag value.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> Checked {
    range("the number of Tags", tags.len() as u64, 1, MAX_TAGS as u64)?;
    tags.iter().try_for_each(|(key, value)| {
        tag_key(key)?;
        let fits = chars(value, 0..=256, is_tag_char);
        check(fits, "a tag value", "0 to 256 letters, digits, blanks and _ . : / = + - @")
    })
}

/// 1 to 128 letters, separators, digits and `_.:/=+-@`.
pub(super) fn tag_key(key: &str) -> Checked {
    let fits = chars(key, 1..=128, is_tag_char);
    check(fits, "a tag key", "1 to 128 letters, digits, blanks and _ . : / = + - @")
}

fn is_tag_char(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

fn chars(
    text: &str,
    length: std::ops::RangeInclusive<usize>,
    allowed: impl Fn(char) -> bool,
) -> bool {
    length.contains(&text.chars().count()) && text.chars().all(allowed)
}

fn check(fits: bool, member: &str, rule: &str) -> Checked {
    if fits { Ok(()) } else { Err(ApiError::invalid_argument(format!("{member} must be {rule}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_alphabets() {
        let long = |n| "x".repeat(n);
        assert!(device_name("cam.1_a-B").is_ok() && device_name(&long(128)).is_ok());
        assert!(device_name("").is_err() && device_name("a b").is_err());
        assert!(device_name(&long(129)).is_err());
        assert!(version("a1").is_ok() && version("").is_err() && version("a-b").is_err());
        assert!(kms_key_id("alias/x").is_ok() && kms_key_id("").is_err());
        assert!(kms_key_id(&long(2049)).is_err());
        assert!(retention_hours(87_600).is_ok() && retention_hours(87_601).is_err());
    }

    #[test]
    fn media_types() {
        for good in ["video/h264", "video/h264,audio/aac", "a.b+c/d_e-f"] {
            assert!(media_type(good).is_ok(), "{good}");
        }
        for bad in ["", "video", "video/", "video/h264,", "video/h264, audio/aac", "a/b/c"] {
            assert!(media_type(bad).is_err(), "{bad}");
        }
        assert!(media_type(&format!("video/{}", "x".repeat(123))).is_err());
    }

    #[test]
    fn tags_take_letters_of_any_language() {
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert!(tags(&map("K\u{e4}se @home", "a:b/c=d+e-f_g.h \u{4e2d}")).is_ok());
        assert!(tags(&map("k", "")).is_ok());
        assert!(tags(&map("", "v")).is_err());
        assert!(tags(&map("k\n", "v")).is_err());
        assert!(tags(&map("k", "<v>")).is_err());
        assert!(tags(&map(&"k".repeat(129), "v")).is_err());
        assert!(tags(&map("k", &"v".repeat(257))).is_err());
        assert!(tags(&BTreeMap::new()).is_err());
        let many = |n: usize| (0..n).map(|i| (i.to_string(), String::new())).collect();
        assert!(tags(&many(50)).is_ok() && tags(&many(51)).is_err());
    }
}
