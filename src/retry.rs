// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long to wait before the next try: exponential back-off with full jitter.
//!
//! Pure: the randomness comes from a seed, the waiting is the caller's.

use std::time::Duration;

/// The first delay is drawn from zero to this.
const BASE: Duration = Duration::from_millis(200);
/// No delay is drawn from more than this.
const CAP: Duration = Duration::from_secs(20);

/// Delays between tries. Every delay is uniform between zero and a bound that doubles with each
/// failure, up to a cap ("full jitter"), so that many clients that failed together spread out.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    random: fastrand::Rng,
}

impl Backoff {
    /// Starts without failures.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, random: fastrand::Rng::with_seed(seed) }
    }

    /// Counts one more failure and says how long to wait before the next try.
    pub fn fail(&mut self) -> Duration {
        let bound = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(self.random.f64())
    }

    /// Something worked: the next failure is the first again.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_doubles_up_to_the_cap_and_starts_over() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            for bound_ms in [200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000] {
                let delay = backoff.fail();
                assert!(delay <= Duration::from_millis(bound_ms), "seed {seed}: {delay:?}");
            }
            backoff.succeed();
            assert!(backoff.fail() <= BASE, "seed {seed}");
        }
    }

    #[test]
    fn delays_are_spread() {
        let longest = (0..200).map(|seed| Backoff::new(seed).fail()).max().unwrap();
        let shortest = (0..200).map(|seed| Backoff::new(seed).fail()).min().unwrap();
        assert!(longest > BASE.mul_f64(0.9) && shortest < BASE.mul_f64(0.1));
    }
}
