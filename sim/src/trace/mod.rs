//! The trace of a rehearsal: everything that happened, in order, as one number and, if wanted, as a list.
//!
//! The number is computed as things happen. Two runs of one plan must give the same number; when they do not,
//! both are run again with the list kept, and [`difference::first_difference`] names where they part.

pub(crate) mod difference;
pub(crate) mod event;
pub(crate) mod fingerprint;
mod packet;
pub(crate) mod questions;
pub(crate) mod recorder;
pub(crate) mod subscriber;
pub(crate) mod value;
