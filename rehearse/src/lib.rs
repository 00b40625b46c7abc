//! Rehearses nodes in a simulated world: hosts made from the same app as in production, typed clients and loads,
//! promises about calls.
