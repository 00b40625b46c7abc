//! Finds the mistakes of a scenario that show before anything goes wrong: a program that panics, ends or never listens.

use std::time::Duration;

use crate::panics;
use crate::scenario::CLIENTS;
use crate::trace::recorder::{self, HostState};

/// Looks at the hosts when they have had `warm_up` for starting.
pub(crate) fn check(warm_up: Duration) {
    recorder::with(|recorder| {
        let panicked =
            panics::take().into_iter().map(|panic| format!("a host panicked while it started: {panic}"));
        let servers = recorder.hosts.all().iter().filter(|host| &*host.name != CLIENTS);
        let found = panicked.chain(servers.filter_map(|host| mistake_of(host, warm_up))).next();
        if let Some(detail) = found {
            let now = recorder.now();
            recorder.checks.reject_set_up(detail, now);
        }
    });
}

fn mistake_of(host: &HostState, warm_up: Duration) -> Option<String> {
    let (name, within) = (&host.name, warm_up.as_millis());
    if host.shared.has_left() {
        let expected = "expected its program to run until it is told to drain";
        return Some(format!("{name} ended while it started: {expected}"));
    }
    let expected = "expected its program to call HostContext::listen";
    (!host.shared.has_listened())
        .then(|| format!("{name} never listened on a port: {expected} within {within} ms"))
}
