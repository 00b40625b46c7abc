//! What tests run on.

/// Runs a test on a worker-like thread: one runtime, local tasks.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    run_on(tokio::runtime::Builder::new_current_thread().enable_all(), test)
}

/// The same in a time of its own, which passes at once when there is nothing to do but to wait for it. What is
/// tested must not wait for anything else, such as a socket.
pub(crate) fn run_in_no_time<T>(test: impl Future<Output = T>) -> T {
    run_on(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true), test)
}

fn run_on<T>(runtime: &mut tokio::runtime::Builder, test: impl Future<Output = T>) -> T {
    let runtime = runtime.build().expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}
