//! Which endpoint takes a call: the better of two that chance chooses, by what their calls take and how many they have.
//!
//! Two random choices spread load nearly as well as looking at all, and do not send everybody to the same one
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing"). Outliers are left out, and tried now and then.

use std::sync::Arc;

use tokio::time::Instant;

use super::chosen::Chosen;
use super::endpoint::{Endpoint, Look};
use super::line::Line;
use super::subchannel::Sender;
use crate::chance::chance;
use crate::trail::Trail;

/// Times that differ less than so many times are alike: they are guesses, and who has fewer calls, or waited longer, is
/// chosen.
const ALIKE: f64 = 2.0;

/// The endpoints in the order in which they are looked at: two by chance, then all others for where these are not there.
pub(super) fn order(count: usize) -> impl Iterator<Item = usize> {
    let among = |count: usize| (chance() * count as f64) as usize;
    // Of two endpoints both are looked at anyway, so that chance need not choose.
    let (first, step) = if count > 2 { (among(count), 1 + among(count - 1)) } else { (0, 1) };
    let second = (first + step) % count.max(1);
    let chosen = [first, second].into_iter().take(count);
    let others = (1..count).map(move |step| (first + step) % count).filter(move |other| *other != second);
    chosen.chain(others)
}

/// The choice of one call among endpoints that are connected.
pub(super) struct Choice<'a> {
    now: Instant,
    attempt: u32,
    trail: &'a Trail,
    best: Option<Offer>,
    /// The best of those that are ejected, for when there is nobody else.
    ejected: Option<Offer>,
    offers: u32,
    /// Whether one that is sound has no room now.
    is_full: bool,
}

/// How an endpoint looks to a call that goes by its key.
pub(super) enum Seen {
    /// It is there, or it is ejected and this call tries whether it is sound again.
    Sound(Chosen),
    Ejected(Chosen),
}

/// How a connected endpoint looks to that attempt of such a call.
pub(super) fn seen(endpoint: &Arc<Endpoint>, line: Arc<Line>, sender: Sender, attempt: u32) -> Seen {
    let at = Instant::now();
    let standing = endpoint.look(at).standing;
    let is_trial = standing.is_due && attempt == 0;
    let chosen = Chosen { endpoint: endpoint.clone(), line, place: None, sender, is_trial, at };
    if standing.is_ejected && !is_trial { Seen::Ejected(chosen) } else { Seen::Sound(chosen) }
}

struct Offer {
    chosen: Chosen,
    /// What a call takes there, in seconds; none where nothing is known.
    mean: Option<f64>,
    calls: usize,
    /// The number of the call that it got last.
    last: usize,
    /// Whether another attempt of the same call went there.
    was_there: bool,
    is_failing: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn new(attempt: u32, trail: &'a Trail) -> Self {
        Self { now: Instant::now(), attempt, trail, best: None, ejected: None, offers: 0, is_full: false }
    }

    /// Takes an endpoint into account that is connected; whether the choice is made.
    pub(super) fn offer(&mut self, endpoint: &Arc<Endpoint>, line: Arc<Line>, sender: Sender) -> bool {
        let Look { standing, calls, last } = endpoint.look(self.now);
        // Only a further attempt can have been at an endpoint before.
        let was_there = self.attempt > 0 && self.trail.was_at(self.attempt, endpoint.address());
        let is_trial = standing.is_due && self.attempt == 0;
        let endpoint = endpoint.clone();
        let chosen = Chosen { endpoint, line, place: None, sender, is_trial, at: self.now };
        let (mean, is_failing) = (standing.mean, standing.is_failing);
        let offer = Offer { chosen, mean, calls, last, was_there, is_failing };
        if is_trial {
            self.best = Some(offer);
            return true;
        }
        let place = if standing.is_ejected { &mut self.ejected } else { &mut self.best };
        // An endpoint that has just failed does not count as one of the two to choose from: it would leave only the other.
        self.offers += u32::from(!standing.is_ejected && !standing.pays);
        if place.as_ref().is_none_or(|best| offer.is_better_than(best)) {
            *place = Some(offer);
        }
        self.offers > 1 && self.best.as_ref().is_some_and(|best| !best.was_there && !best.is_failing)
    }

    /// Takes an endpoint into account whose connections have no room.
    pub(super) fn full(&mut self, endpoint: &Endpoint) {
        self.is_full |= !endpoint.is_ejected();
    }

    /// The best that was offered. Rather than to one that is ejected the call goes to a sound one that will have room. Where all fail
    /// call after call, those that are ejected are no worse than the others.
    pub(super) fn made(self) -> Option<Chosen> {
        let best = match (self.best, self.ejected) {
            (Some(best), Some(ejected)) if best.is_failing && ejected.is_better_than(&best) => Some(ejected),
            (None, Some(_)) if self.is_full => None,
            (best, ejected) => best.or(ejected),
        };
        best.map(|best| best.chosen)
    }
}

impl Offer {
    fn is_better_than(&self, other: &Self) -> bool {
        if self.was_there != other.was_there {
            return other.was_there;
        }
        // Who is new is taken to be as quick as the other: it is tried at once, and what it has not answered yet is what
        // keeps more from coming.
        let guess = self.mean.or(other.mean).unwrap_or(1.0);
        let (own, others) = (self.mean.unwrap_or(guess), other.mean.unwrap_or(guess));
        if own * ALIKE > others && others * ALIKE > own {
            return (self.calls, self.last) < (other.calls, other.last);
        }
        own * (self.calls + 1) as f64 <= others * (other.calls + 1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_looked_at_once() {
        for count in 0..6 {
            let mut order: Vec<_> = order(count).collect();
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
    }
}
