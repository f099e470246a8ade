// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one signal that ends a server: first a drain, then the end.

use tokio::sync::watch;

/// How far the server is on its way out. Only ever moves forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    #[default]
    Running,
    /// No new connections; long answers come to an end at the next fragment boundary.
    Draining,
    /// Everything stops where it stands.
    Stopping,
}

/// The side that gives the signal.
#[derive(Debug)]
pub(crate) struct DrainSwitch(watch::Sender<Phase>);

/// The side that waits for it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Drain(watch::Receiver<Phase>);

/// A switch and what listens to it.
pub(crate) fn channel() -> (DrainSwitch, Drain) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (DrainSwitch(sender), Drain(receiver))
}

impl DrainSwitch {
    /// Moves on to `phase`; moving back has no effect.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }
}

impl Drain {
    /// Whether the server is on its way out.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow() >= Phase::Draining
    }

    /// Resolves when the server has begun to drain. Cancel-safe.
    pub(crate) async fn requested(&mut self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when `phase` is reached, or the switch is gone. Cancel-safe.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }
}
