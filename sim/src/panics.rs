//! Notices panics on simulation threads, also those in tasks that nobody awaits.
//!
//! Without `tokio_unstable`, turmoil does not notice a panic in a spawned task. A hook does.

use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::entropy;
use crate::trace::recorder;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    static IS_PLANNED: Cell<bool> = const { Cell::new(false) };
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Counts panics on simulation threads from now on; elsewhere they are reported as before.
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_CAUGHT.get() {
                note(panic);
            } else if !entropy::is_simulated() {
                report(panic);
            } else if !IS_PLANNED.replace(false) {
                note(panic);
            }
        }));
    });
}

/// Panics on behalf of [`CallFault::Panic`](crate::CallFault::Panic): any other panic fails the rehearsal, this one does
/// not.
#[expect(clippy::panic, reason = "a panic is what was asked for")]
pub fn planned_panic() -> ! {
    IS_PLANNED.set(true);
    panic!("a fault of the plan makes this handler panic")
}

/// What `work` makes: code of the user's that no host runs, such as what makes an app, or judges.
///
/// # Errors
/// When it panics; the error is what was said, and where in the code.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    watch();
    IS_CAUGHT.set(true);
    let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    IS_CAUGHT.set(false);
    made.map_err(|_| last().unwrap_or_default())
}

/// The last panic, which then is told here and not as a host's.
fn last() -> Option<String> {
    PANICS.with(|panics| panics.try_borrow_mut().ok()?.pop())
}

/// The panics of this thread since the last time: on which host, what was said, and where in the code.
pub(crate) fn take() -> Vec<String> {
    PANICS.with(|panics| {
        panics.try_borrow_mut().map(|mut panics| std::mem::take(&mut *panics)).unwrap_or_default()
    })
}

fn note(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a panic without a message");
    let location = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
    let host = recorder::current_host().map(|host| format!("{host}: ")).unwrap_or_default();
    let line = format!("{host}{message}{}", location.unwrap_or_default());
    PANICS.with(|panics| {
        if let Ok(mut panics) = panics.try_borrow_mut() {
            panics.push(line);
        }
    });
}
