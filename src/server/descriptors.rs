// SPDX-License-Identifier: MIT OR Apache-2.0
//! File descriptors: connections must not take those that the store needs for its files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Left to the store, the listener and the runtime.
const RESERVED: u64 = 256;

/// Raises the process's limit of open files as far as the system allows. For programs: a library
/// has no business doing so to its host.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// How many of `wanted` connections fit the limit of open files.
pub(super) fn connections(wanted: usize) -> usize {
    let fit = fitting(wanted, getrlimit(Resource::Nofile).current);
    if fit < wanted {
        tracing::warn!(
            wanted,
            served = fit,
            "the limit of open files allows fewer connections: raise it with ulimit -n"
        );
    }
    fit
}

/// `None` is no limit.
fn fitting(wanted: usize, limit: Option<u64>) -> usize {
    let free = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED).max(1));
    wanted.min(usize::try_from(free).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_limit_and_there_is_always_one() {
        assert_eq!(fitting(4096, None), 4096);
        assert_eq!(fitting(4096, Some(20_000)), 4096);
        assert_eq!(fitting(4096, Some(1024)), 768);
        assert_eq!(fitting(4096, Some(100)), 1);
    }
}
