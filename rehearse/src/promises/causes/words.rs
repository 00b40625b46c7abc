//! What is known of a hop whose failure nothing explains, in words.

use sim::CLIENTS;
use transport::Code;

use super::{Causes, Leg};
use crate::promises::attempts::Attempt;
use crate::promises::failure::Failure;
use crate::promises::faults::Fault;
use crate::promises::table::Side;

impl Causes {
    /// What lay on this hop until it ended, how full the callee was, and which connections there were.
    pub(in crate::promises) fn in_words(&self, leg: Leg<'_>, failure: Failure) -> String {
        let faults = self.faults_in_words(leg, failure);
        match failure {
            Failure::Said(Code::ResourceExhausted) => format!("{}; {faults}", self.rooms_in_words(leg)),
            Failure::Late | Failure::Lost | Failure::NotSent => {
                format!("{faults}{}", self.connections_in_words(leg))
            }
            _ => faults,
        }
    }

    fn faults_in_words(&self, leg: Leg<'_>, failure: Failure) -> String {
        let faults = self.on(leg).filter(|(fault, _)| fault.from <= leg.span.1);
        let faults: Vec<_> =
            faults.map(|(fault, side)| self.fault_in_words(fault, side, failure, leg)).collect();
        match faults.is_empty() {
            true => "there was no fault on its way".to_owned(),
            false => {
                format!("the faults on its way, none of which does that at that time: {}", faults.join(", "))
            }
        }
    }

    fn fault_in_words(&self, fault: &Fault, side: Side, failure: Failure, leg: Leg<'_>) -> String {
        if failure != Failure::Late || !self.was_found(fault, side, failure, leg) {
            return fault.to_string();
        }
        let within = self.setting.found_dead().as_millis();
        format!("{fault} (a connection over which nothing comes is given up after {within} ms, by a PING)")
    }

    fn rooms_in_words(&self, leg: Leg<'_>) -> String {
        let hosts: Vec<_> = self.setting.graph.targets(leg.caller, leg.callee).collect();
        let is_sheddable = self.sheddable.contains(&leg.request);
        match self.rooms.in_words(leg.callee, leg.path, &hosts, (leg.span.0, is_sheddable)) {
            full if full.is_empty() => format!("{} handled no call", leg.callee),
            full => full,
        }
    }

    /// How the caller last connected to each host of the callee.
    fn connections_in_words(&self, leg: Leg<'_>) -> String {
        if leg.caller == CLIENTS {
            return String::new();
        }
        let words = self.setting.graph.targets(leg.caller, leg.callee).map(|host| {
            if host == leg.caller {
                return format!("; to {host} it goes over memory, without a connection");
            }
            let last = self.attempts.between(leg.caller, host).max_by_key(|attempt| attempt.begun);
            match last {
                None => format!("; {} has never connected to {host}", leg.caller),
                Some(Attempt { begun, ended, .. }) => {
                    let ended = ended.map_or(", which is still there".to_owned(), |ended| {
                        format!(", which ended at {} ms", ended.as_millis())
                    });
                    format!("; {} connected to {host} last at {} ms{ended}", leg.caller, begun.as_millis())
                }
            }
        });
        words.collect()
    }
}
