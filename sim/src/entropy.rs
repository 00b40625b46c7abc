//! Clock and entropy of a simulation thread, taken away from the operating system.
//!
//! `HashMap` keys, `select!` order, uuids, `Instant` and `SystemTime` all end in four C functions.
//! This module exports functions of the same names, so the linker binds every caller in the program to
//! them. On a simulation thread they answer from thread-local state, so each seed is a world of its own
//! and many run side by side; on every other thread they pass straight through to the real ones.
//!
//! It is the only module with `unsafe`: it speaks the C interface and nothing else. It must not allocate,
//! lock or panic on the way through, because it runs before `main` and after thread-locals are gone.

#![expect(unsafe_code, reason = "C symbols can be replaced in no other way")]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

/// Seconds from 1970 to the moment at which every simulation starts: 2030-01-01T00:00:00Z.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_893_456_000);

/// `clock_gettime(CLOCK_MONOTONIC)` at the start of a simulation; not zero, so that code may subtract from it.
const MONOTONIC_START: Duration = Duration::from_secs(1_000_000);

// Constant initialisers without destructors: reading them never allocates and is valid at any time.
thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    static NOW: Cell<u64> = const { Cell::new(0) };
    static WALL_OFFSET: Cell<i64> = const { Cell::new(0) };
    static WALL_READS: Cell<u64> = const { Cell::new(0) };
    static THREADS_STARTED: Cell<u64> = const { Cell::new(0) };
}

/// While it lives, the current thread's clock and entropy are simulated.
#[derive(Debug)]
pub(crate) struct Simulated(());

/// Makes the current thread a simulation thread whose entropy follows from `seed`.
///
/// The thread must be fresh: the standard library draws its hash keys once per thread.
pub(crate) fn simulate(seed: u64) -> Simulated {
    RANDOM.set(seed);
    NOW.set(0);
    WALL_OFFSET.set(0);
    WALL_READS.set(0);
    THREADS_STARTED.set(0);
    SIMULATED.set(true);
    Simulated(())
}

impl Drop for Simulated {
    fn drop(&mut self) {
        SIMULATED.set(false);
    }
}

/// Whether the current thread is a simulation thread.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.get()
}

/// Moves the virtual clock to `now`, counted from the start of the simulation.
pub(crate) fn set_now(now: Duration) {
    NOW.set(nanos(now));
}

/// Sets how far the wall clock of the host about to run is off, in nanoseconds.
pub(crate) fn set_wall_offset(offset_nanos: i64) {
    WALL_OFFSET.set(offset_nanos);
}

/// How often the wall clock was read on this thread.
pub(crate) fn wall_reads() -> u64 {
    WALL_READS.get()
}

/// How many threads this simulation thread has started.
pub(crate) fn threads_started() -> u64 {
    THREADS_STARTED.get()
}

/// The next number of the thread's entropy (SplitMix64, Steele et al. 2014).
fn next_random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    RANDOM.set(state);
    mix(state)
}

/// The output function of SplitMix64: spreads `state` over all 64 bits.
pub(crate) fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn nanos(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000_000 + u64::from(duration.subsec_nanos())
}

/// Fills `length` bytes at `buffer` from the thread's entropy.
///
/// # Safety
/// `buffer` must be valid for `length` bytes.
unsafe fn fill(buffer: *mut c_void, length: usize) {
    let mut done = 0;
    while done < length {
        let bytes = next_random().to_ne_bytes();
        let count = bytes.len().min(length - done);
        // SAFETY: `done + count <= length`, and the caller vouches for `length` bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>().add(done), count) };
        done += count;
    }
}

/// Replaces `getrandom(2)`.
///
/// # Safety
/// As for the C function: `buffer` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    if SIMULATED.get() {
        // SAFETY: the caller vouches for the buffer.
        unsafe { fill(buffer, length) };
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // SAFETY: the same call, made to the kernel.
    let result = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    isize::try_from(result).unwrap_or(-1)
}

/// Replaces `getentropy(3)`.
///
/// # Safety
/// As for the C function: `buffer` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(buffer: *mut c_void, length: usize) -> c_int {
    // SAFETY: the caller vouches for the buffer.
    let written = unsafe { getrandom(buffer, length, 0) };
    if usize::try_from(written) == Ok(length) { 0 } else { -1 }
}

/// Replaces `clock_gettime(2)`. Clocks of CPU time stay real.
///
/// # Safety
/// As for the C function: `time` must be valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    if !SIMULATED.get() {
        // SAFETY: the same call, made to the real function.
        return unsafe { real_clock_gettime(clock, time) };
    }
    let nanos_now = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            WALL_READS.set(WALL_READS.get() + 1);
            (nanos(EPOCH) + NOW.get()).saturating_add_signed(WALL_OFFSET.get())
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => nanos(MONOTONIC_START) + NOW.get(),
        // SAFETY: the same call, made to the real function.
        _ => return unsafe { real_clock_gettime(clock, time) },
    };
    let value = libc::timespec {
        tv_sec: libc::time_t::try_from(nanos_now / 1_000_000_000).unwrap_or(libc::time_t::MAX),
        tv_nsec: c_long::try_from(nanos_now % 1_000_000_000).unwrap_or(0),
    };
    // SAFETY: the caller vouches for `time`.
    unsafe { time.write(value) };
    0
}

/// Replaces `pthread_create(3)` to count: a thread started by a simulation fails it, since the simulation could
/// neither schedule it nor repeat what it does. It is started all the same, because tokio's paused clock stands
/// still while work for a blocking thread is queued, and an error here would leave it in the queue for ever.
///
/// # Safety
/// As for the C function.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    type Function = unsafe extern "C" fn(
        *mut libc::pthread_t,
        *const libc::pthread_attr_t,
        extern "C" fn(*mut c_void) -> *mut c_void,
        *mut c_void,
    ) -> c_int;

    if SIMULATED.get() {
        THREADS_STARTED.set(THREADS_STARTED.get() + 1);
    }
    let real = next_symbol(&REAL, c"pthread_create");
    if real.is_null() {
        return libc::EAGAIN;
    }
    // SAFETY: the symbol is the C library's function of this type; the arguments are the caller's.
    unsafe { std::mem::transmute::<*mut c_void, Function>(real)(thread, attributes, start, argument) }
}

/// The C library's `clock_gettime`, which reads the vDSO; the plain system call until that is found.
///
/// # Safety
/// `time` must be valid for a write.
unsafe fn real_clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    static REAL: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    type Function = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

    let real = next_symbol(&REAL, c"clock_gettime");
    if real.is_null() {
        // SAFETY: the system call of the same meaning.
        let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
        return c_int::try_from(result).unwrap_or(-1);
    }
    // SAFETY: the symbol is the C library's function of this type; `time` is the caller's.
    unsafe { std::mem::transmute::<*mut c_void, Function>(real)(clock, time) }
}

/// Finds the definition of `name` that ours hides, once.
fn next_symbol(cache: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = cache.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    let name: *const c_char = name.as_ptr();
    // SAFETY: `name` is a C string; looking a symbol up has no other precondition.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name) };
    cache.store(found, Ordering::Relaxed);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, RandomState};

    #[expect(clippy::disallowed_methods, reason = "this runs outside of any simulation")]
    fn on_fresh_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::Builder::new().spawn(work).unwrap().join().unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "chance is what is tested")]
    fn hash_keys_follow_from_the_seed() {
        let draw = |seed| {
            on_fresh_thread(move || {
                let _simulated = simulate(seed);
                (RandomState::new().hash_one(1), uuid::Uuid::new_v4())
            })
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the clocks are what is tested")]
    fn clocks_stand_still_until_they_are_moved() {
        on_fresh_thread(|| {
            let _simulated = simulate(1);
            let start = std::time::Instant::now();
            assert_eq!(start.elapsed(), Duration::ZERO);
            set_now(Duration::from_secs(3));
            assert_eq!(start.elapsed(), Duration::from_secs(3));
            set_wall_offset(-1_000_000_000);
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            assert_eq!(wall.unwrap(), EPOCH + Duration::from_secs(2));
        });
    }

    #[test]
    fn a_thread_started_in_a_simulation_is_noticed() {
        on_fresh_thread(|| {
            let _simulated = simulate(1);
            on_fresh_thread(|| assert!(!is_simulated()));
            assert_eq!(threads_started(), 1);
        });
    }
}
