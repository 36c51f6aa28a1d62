//! Being asked to stop by the system, as a cluster does before a job's time is up: `SIGTERM` or `SIGUSR2`.
//!
//! What runs takes a snapshot as soon as it can and stops there, nothing else is started, and the program ends with
//! [`EXIT_CODE`]. Run again, it goes on from the snapshots. A second signal changes nothing; `SIGINT` ends a program at
//! once, as everywhere.

use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a program that stopped because it was asked to: "try again later" in the system's `sysexits.h`.
pub const EXIT_CODE: u8 = 75;

static ASKED: AtomicBool = AtomicBool::new(false);
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Takes the two signals for a question from now on. Does nothing on a system without them.
pub fn listen() {
    #[cfg(unix)]
    {
        extern "C" fn note(_: libc::c_int) {
            ASKED.store(true, Ordering::Relaxed);
        }
        for signal in [libc::SIGTERM, libc::SIGUSR2] {
            // SAFETY: the handler only stores to an atomic, which is allowed in one; a zeroed `sigaction` is a valid
            // one without a mask, and all pointers are to locals that outlive the calls.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
                action.sa_flags = libc::SA_RESTART;
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
    }
}

/// Whether the program was asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Notes that the program ends for that reason and no other.
pub(crate) fn stopped() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// Whether it does.
pub(crate) fn has_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}
