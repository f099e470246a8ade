// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one tokio runtime of the process, shared by all elements.
//!
//! It starts when it is first asked for and lives as long as the process: elements are tasks on it,
//! not threads. Blocking threads are for name resolution and files; they end when idle.

use std::io;

use once_cell::sync::OnceCell;
use tokio::runtime::{Builder, Handle, Runtime};

const WORKERS: usize = 2;
const BLOCKING_THREADS: usize = 4;

static RUNTIME: OnceCell<Runtime> = OnceCell::new();

/// The runtime's handle; starts the runtime when this is the first call.
///
/// # Errors
/// When the system gives no more threads; the next call tries again.
pub fn handle() -> io::Result<&'static Handle> {
    let start = || {
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("kvs-io")
            .enable_all()
            .build()
    };
    RUNTIME.get_or_try_init(start).map(Runtime::handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_and_its_threads_are_named() {
        let (first, second) = (handle().unwrap(), handle().unwrap());
        assert_eq!(first.id(), second.id());
        assert_eq!(first.metrics().num_workers(), WORKERS);
        let task = first.spawn(async { std::thread::current().name().map(str::to_owned) });
        assert_eq!(first.block_on(task).unwrap().as_deref(), Some("kvs-io"));
    }
}
