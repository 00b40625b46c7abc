//! How many files, and so connections, the process may have open at a time.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the most that the machine allows. The one that shells and containers begin with, mostly 1,024, is kept
/// small for programs that wait by `select`, which a node does not; with it, as many idle clients would shut out all others.
pub(crate) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where this is not allowed, it stays as it is.
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
}
