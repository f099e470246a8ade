// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragment numbers: how they are made, compared and written.
//!
//! ```text
//! bits, most significant first, of a 157-bit value that prints as 47 decimal digits
//!   1  constant 1
//!  64  sequence: +1 per fragment of a stream
//!  20  zero
//!  44  server time in ms since the epoch
//!  28  random
//! ```
//!
//! The layout is what the real service's numbers show; it is documented nowhere, and clients must
//! not rely on it. Kept here as 20 bytes big-endian, so that byte order is number order.

use std::fmt;

use crate::{ids::FragmentNumber, time::Timestamp};

/// Bytes of a number.
pub(crate) const NUMBER_LEN: usize = 20;
/// How far the sequence jumps when a store is opened again: further than the few fragments that
/// were given a number and never became durable.
const REOPEN_JUMP: u64 = 1000;
/// A stream takes at most 5 fragments a second (KVS quota), so that a sequence that has moved on
/// by ten a second since the stream's creation is past everything given out before a restart.
const SEQUENCE_PER_SEC: u64 = 10;

/// A fragment number in binary. `Display` and [`Number::to_fragment_number`] give the digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number([u8; NUMBER_LEN]);

impl Number {
    /// Before every number that can be given out.
    pub const MIN: Self = Self([0; NUMBER_LEN]);
    /// After every number that can be given out.
    pub const MAX: Self = Self([0xFF; NUMBER_LEN]);

    /// From its parts; time and randomness are cut to their bits.
    pub fn from_parts(sequence: u64, server_ms: u64, random: u32) -> Self {
        let time = u128::from(server_ms & ((1 << 44) - 1));
        let low = (time << 28) | u128::from(random & 0xFFF_FFFF);
        // Bits 64 and up, then bits 0 to 63.
        let upper = (((1u128 << 64) | u128::from(sequence)) << 28) | (low >> 64);
        let mut bytes = [0; NUMBER_LEN];
        let (head, tail) = bytes.split_at_mut(12);
        head.copy_from_slice(upper.to_be_bytes().get(4..).unwrap_or(&[0; 12]));
        tail.copy_from_slice(&(low as u64).to_be_bytes());
        Self(bytes)
    }

    /// From the bytes of [`Self::as_bytes`].
    pub const fn from_bytes(bytes: [u8; NUMBER_LEN]) -> Self {
        Self(bytes)
    }

    /// 20 bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; NUMBER_LEN] {
        &self.0
    }

    /// From decimal digits; [`Self::MAX`] when they do not fit 160 bits, which no number of ours
    /// exceeds.
    pub fn parse(digits: &FragmentNumber) -> Self {
        let mut bytes = [0u8; NUMBER_LEN];
        for digit in digits.as_str().bytes() {
            let mut carry = u32::from(digit.wrapping_sub(b'0'));
            for byte in bytes.iter_mut().rev() {
                let value = u32::from(*byte) * 10 + carry;
                *byte = (value & 0xFF) as u8;
                carry = value >> 8;
            }
            if carry != 0 {
                return Self::MAX;
            }
        }
        Self(bytes)
    }

    /// As it travels on the wire: 47 digits for every number that was given out.
    pub fn to_fragment_number(self) -> FragmentNumber {
        let mut digits = Vec::with_capacity(49);
        let mut value = self.0;
        while value.iter().any(|&byte| byte != 0) {
            let mut rest = 0u32;
            for byte in &mut value {
                let current = (rest << 8) | u32::from(*byte);
                *byte = (current / 10) as u8;
                rest = current % 10;
            }
            digits.push(b'0' + rest as u8);
        }
        if digits.is_empty() {
            digits.push(b'0');
        }
        digits.reverse();
        let text = String::from_utf8_lossy(&digits);
        text.parse().expect("1 to 49 decimal digits are a fragment number")
    }

    /// The highest value below it, given out or not.
    pub fn before(mut self) -> Self {
        for byte in self.0.iter_mut().rev() {
            let (value, borrowed) = byte.overflowing_sub(1);
            *byte = value;
            if !borrowed {
                return self;
            }
        }
        Self::MIN
    }

    /// The sequence inside.
    pub fn sequence(&self) -> u64 {
        (self.upper() >> 28) as u64
    }

    /// Bits 64 and up.
    fn upper(&self) -> u128 {
        self.0.iter().take(12).fold(0, |v, &b| (v << 8) | u128::from(b))
    }

    /// Whether the constant bits are those of a number that this layout gives out.
    pub fn is_ours(&self) -> bool {
        self.upper() >> 92 == 1 && (self.upper() >> 8) & 0xF_FFFF == 0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_fragment_number().fmt(f)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Number({self})")
    }
}

/// Gives out a stream's numbers, each higher than all before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    last: u64,
}

impl Sequence {
    /// Of a stream that exists since `created` and whose highest stored number has `stored`.
    ///
    /// Numbers may have been given out and not stored, so the sequence jumps.
    pub(crate) fn reopened(stored: Option<u64>, created: Timestamp, now: Timestamp) -> Self {
        let age = now.saturating_since(created).as_secs();
        let past = stored.map_or(0, |stored| stored.saturating_add(REOPEN_JUMP));
        Self { last: past.max(age.saturating_mul(SEQUENCE_PER_SEC)) }
    }

    /// The next number.
    pub(crate) fn next(&mut self, server: Timestamp, random: u32) -> Number {
        self.last = self.last.saturating_add(1);
        Number::from_parts(self.last, server.as_millis(), random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_what_the_service_printed() {
        // protocol reference, B.7: a number from a real ack.
        let text = "91343852333181432392682062607743920442264000000";
        let number = Number::parse(&text.parse().unwrap());
        assert_eq!(number.to_string(), text);
        let first = Number::from_parts(1, 1_517_789_296_298, 77);
        assert_eq!(first.to_string().len(), 47);
        assert!(first.to_string().starts_with("9134385"));
    }

    #[test]
    fn foreign_numbers_have_a_place_too() {
        let number = |text: &str| Number::parse(&text.parse().unwrap());
        assert_eq!(number("0"), Number::MIN);
        assert_eq!(number(&"9".repeat(128)), Number::MAX);
        assert!(number("7") < Number::from_parts(0, 0, 0));
        assert!(!number("7").is_ours() && !number(&"9".repeat(60)).is_ours());
    }

    #[test]
    fn a_reopened_sequence_is_past_what_was_given_out() {
        let (created, now) = (Timestamp::from_millis(0), Timestamp::from_millis(60_000));
        let (created, now) = (created.unwrap(), now.unwrap());
        let mut sequence = Sequence::reopened(Some(5), created, now);
        assert_eq!(sequence.next(now, 0).sequence(), 1006);
        let mut sequence = Sequence::reopened(None, created, now);
        assert_eq!(sequence.next(now, 0).sequence(), 601);
        assert_eq!(Sequence::default().next(now, 0).sequence(), 1);
    }

    proptest! {
        #[test]
        fn orders_by_sequence_and_keeps_its_parts(
            a in (0u64..1 << 60, any::<u32>()),
            b in (0u64..1 << 60, any::<u32>()),
            ms in 0u64..1 << 44,
        ) {
            let (x, y) = (Number::from_parts(a.0, ms, a.1), Number::from_parts(b.0, ms / 2, b.1));
            prop_assert_eq!(x.sequence(), a.0);
            prop_assert!(x.is_ours());
            prop_assert_eq!(Number::parse(&x.to_fragment_number()), x);
            prop_assert_eq!(x.to_string().len(), 47);
            prop_assert!(x.before() < x && Number::MIN.before() == Number::MIN);
            if a.0 != b.0 {
                prop_assert_eq!(x < y, a.0 < b.0);
                prop_assert_eq!(x.to_fragment_number() < y.to_fragment_number(), a.0 < b.0);
            }
        }
    }
}
