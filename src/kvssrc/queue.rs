// SPDX-License-Identifier: MIT OR Apache-2.0
//! Batches from the driver, a task on the shared runtime, to the streaming thread.
//!
//! One lock and at most one wake-up per batch, not per frame. **The law: one driver pushes, one
//! streaming thread pops.** The driver waits while [`MAX_BYTES`] are queued, so that back-pressure
//! from downstream reaches the service; a batch that is larger goes in alone.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::consumer::Output;

/// Payload that may be queued: a second at 32 Mbit/s.
const MAX_BYTES: usize = 4 << 20;

/// The queue. See the module.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something changed for the streaming thread, or about it.
    changed: Condvar,
    /// There is room again.
    room: Notify,
    /// `state` says to hold still or to stop; spares the lock for every frame.
    hold: AtomicBool,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// The driver waits for room.
    full: bool,
    paused: bool,
    ending: Ending,
    /// The streaming thread is at work on a batch.
    busy: bool,
}

struct Batch {
    outputs: Vec<Output>,
    bytes: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    None,
    /// End of stream after what is queued.
    Finish,
    /// Stop now.
    Close,
}

/// What the streaming thread does next.
pub(super) enum Popped {
    /// Take these.
    Batch(Vec<Output>),
    /// Stop.
    Closed,
    /// End the stream.
    Finished,
}

/// The queue is closed: stop.
pub(super) struct Closed;

impl Queue {
    /// A queue that holds the streaming thread until [`Self::set_paused`] says otherwise.
    pub(super) fn new(paused: bool) -> Self {
        let queue = Self::default();
        queue.set_paused(paused);
        queue
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch that holds `bytes` of payload, and says whether that had to wait for room.
    pub(super) async fn push(&self, outputs: Vec<Output>, bytes: usize) -> Result<bool, Closed> {
        let mut waited = false;
        let mut batch = Some(Batch { outputs, bytes });
        while let Some(rest) = self.try_push(&mut batch) {
            rest?;
            waited = true;
            self.room.notified().await;
        }
        Ok(waited)
    }

    /// `None` when the batch was taken, `Some(Ok)` when there is no room.
    fn try_push(&self, batch: &mut Option<Batch>) -> Option<Result<(), Closed>> {
        let mut state = self.lock();
        if state.ending != Ending::None {
            return Some(Err(Closed));
        }
        let bytes = batch.as_ref().map_or(0, |batch| batch.bytes);
        if state.bytes > 0 && state.bytes + bytes > MAX_BYTES {
            state.full = true;
            return Some(Ok(()));
        }
        state.bytes += bytes;
        state.batches.extend(batch.take());
        let wake = !state.busy;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
        None
    }

    /// Waits for the next thing to do. What the last call gave is taken as done.
    pub(super) fn pop(&self) -> Popped {
        let mut state = self.lock();
        if std::mem::take(&mut state.busy) {
            self.changed.notify_all();
        }
        loop {
            match state.ending {
                Ending::Close => return Popped::Closed,
                Ending::Finish if state.batches.is_empty() => return Popped::Finished,
                Ending::None | Ending::Finish => {}
            }
            if !state.paused
                && let Some(batch) = state.batches.pop_front()
            {
                state.bytes -= batch.bytes;
                state.busy = true;
                if state.full && state.bytes <= MAX_BYTES / 2 {
                    state.full = false;
                    self.room.notify_one();
                }
                return Popped::Batch(batch.outputs);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Between two frames: waits while paused, and says whether to go on.
    pub(super) fn proceed(&self) -> bool {
        if !self.hold.load(Ordering::Acquire) {
            return true;
        }
        let mut state = self.lock();
        while state.paused && state.ending == Ending::None {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.ending != Ending::Close
    }

    /// Holds the streaming thread before its next frame, or lets it go on.
    pub(super) fn set_paused(&self, paused: bool) {
        self.change(|state| state.paused = paused);
    }

    /// Ends the stream after what is queued.
    pub(super) fn finish(&self) {
        self.change(|state| {
            if state.ending == Ending::None {
                state.ending = Ending::Finish;
            }
        });
    }

    /// Stops both sides; what is queued is dropped.
    pub(super) fn close(&self) {
        self.change(|state| {
            state.ending = Ending::Close;
            state.batches.clear();
            state.bytes = 0;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let hold = state.paused || state.ending == Ending::Close;
        self.hold.store(hold, Ordering::Release);
        drop(state);
        self.changed.notify_all();
        self.room.notify_one();
    }

    /// Waits until the streaming thread is not at work; false when that took too long.
    pub(super) fn wait_idle(&self, longest: Duration) -> bool {
        let state = self.lock();
        let busy = |state: &mut State| state.busy;
        let waited = self.changed.wait_timeout_while(state, longest, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::consumer::EndCause;

    fn batch() -> Vec<Output> {
        vec![Output::End(EndCause::Silence)]
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn the_driver_waits_for_room() {
        let queue = Arc::new(Queue::new(false));
        let taker = Arc::clone(&queue);
        runtime().block_on(async {
            assert!(matches!(queue.push(batch(), MAX_BYTES + 1).await, Ok(false)));
            let thread = std::thread::spawn(move || matches!(taker.pop(), Popped::Batch(_)));
            assert!(queue.push(batch(), 1).await.is_ok());
            assert!(thread.join().unwrap());
            assert!(matches!(queue.push(batch(), MAX_BYTES - 1).await, Ok(false)));
        });
    }

    #[test]
    fn closing_frees_a_waiting_driver_and_a_waiting_thread() {
        let queue = Arc::new(Queue::new(false));
        runtime().block_on(async {
            assert!(matches!(queue.push(batch(), MAX_BYTES).await, Ok(false)));
            let driver = queue.push(batch(), 1);
            tokio::pin!(driver);
            let first = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(driver.as_mut().poll(cx).is_pending())
            });
            assert!(first.await, "it waits");
            queue.close();
            assert!(driver.await.is_err());
        });
        assert!(matches!(queue.pop(), Popped::Closed));
        assert!(!queue.proceed());
    }

    #[test]
    fn finishing_comes_after_what_is_queued() {
        let queue = Queue::new(false);
        runtime().block_on(async {
            assert!(queue.push(batch(), 5).await.is_ok());
        });
        queue.finish();
        assert!(queue.proceed());
        assert!(matches!(queue.pop(), Popped::Batch(_)));
        assert!(!queue.wait_idle(Duration::ZERO), "a batch is being worked on");
        assert!(matches!(queue.pop(), Popped::Finished));
        assert!(queue.wait_idle(Duration::ZERO));
    }

    #[test]
    fn a_paused_queue_holds_its_batches() {
        let queue = Arc::new(Queue::new(true));
        runtime().block_on(async {
            assert!(queue.push(batch(), 5).await.is_ok());
        });
        let taker = Arc::clone(&queue);
        let thread =
            std::thread::spawn(move || taker.proceed() && matches!(taker.pop(), Popped::Batch(_)));
        queue.set_paused(false);
        assert!(thread.join().unwrap());
    }
}
