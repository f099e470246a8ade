// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one place that reads clocks; everything else takes the time as an argument.
#![expect(clippy::disallowed_methods, reason = "this is the module that they are allowed in")]

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use crate::time::{Monotonic, Timestamp};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now, on a clock that never goes back and starts when it is first read.
pub fn monotonic() -> Monotonic {
    Monotonic::from_nanos(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Now, in UTC. Before 1970 it is 1970.
pub fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_does_not_go_back() {
        let (first, second) = (monotonic(), monotonic());
        assert!(first <= second);
    }

    #[test]
    fn wall_is_in_this_century() {
        let text = wall().to_string();
        assert!(text.starts_with("20"), "{text}");
    }
}
