//! How many calls each service is at, by its handlers' own word, and by that of calls which are still being read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sim::{CallRecord, Event, Invariant, Wants};

use super::names::NO_MORE_THAN_ADMITTED;
use super::shed::{is_heard, share};
use crate::facts::{CallMade, HandlerBegun, HandlerEnded, NodeStarted, RequestAwaited, RequestCame};
use crate::setting::Setting;

/// The calls that have a permit of each service, on the worker or in the node that has its limit: they are being read, or
/// handled.
#[derive(Debug)]
pub(super) struct Rooms {
    setting: Arc<Setting>,
    rooms: Vec<Room>,
    /// The rpcs with streams, as far as they were called.
    streams: Vec<&'static str>,
}

/// What is admitted apart from others: the calls of a service on a worker of a host, or its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Door {
    host: Arc<str>,
    service: &'static str,
    /// `None` where all workers share it.
    worker: Option<u16>,
    is_streaming: bool,
}

#[derive(Debug)]
struct Room {
    door: Door,
    most: usize,
    running: usize,
    /// The calls that had permits at some time in this very moment: those that ran, or began.
    busy: (Duration, usize),
    /// When there was last no permit left; `Duration::MAX` while there is none.
    full: Option<Duration>,
    /// The same of those for calls that can be done without.
    full_for_sheddable: Option<Duration>,
    /// How many ran from when on.
    steps: Vec<(Duration, usize)>,
}

impl Rooms {
    /// What it must be told of, besides the others.
    pub(super) fn wants(others: Wants) -> Wants {
        let handled = others.fact::<HandlerBegun>().fact::<HandlerEnded>();
        handled.fact::<RequestAwaited>().fact::<RequestCame>().fact::<CallMade>().fact::<NodeStarted>()
    }

    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let kinds = setting.kinds.iter().filter(|kind| kind.is_streaming);
        let streams = kinds.map(|kind| kind.path).collect();
        Self { setting: Arc::clone(setting), rooms: Vec::new(), streams }
    }

    /// Takes note of `event`; how many run now behind a door and how many may, if a call is taken on or a handler begins
    /// there.
    pub(super) fn note(&mut self, event: &Event) -> Option<Crowd> {
        if let Some(HandlerBegun { service, path, worker, is_streaming, .. }) = event.told() {
            if *is_streaming {
                self.note_streaming(path);
            }
            let room = self.room(event, service, *is_streaming, *worker);
            room.step(event.at, 1);
            let Room { running, most, .. } = *room;
            return Some(Crowd { service, running, most });
        }
        if let Some(HandlerEnded { service, worker, is_streaming, .. }) = event.told() {
            self.room(event, service, *is_streaming, *worker).step(event.at, -1);
        } else if let Some(RequestAwaited { service, path, worker, is_streaming }) = event.told() {
            if *is_streaming {
                self.note_streaming(path);
            }
            let room = self.room(event, service, *is_streaming, *worker);
            room.step(event.at, 1);
            let Room { running, most, .. } = *room;
            return Some(Crowd { service, running, most });
        } else if let Some(RequestCame { service, worker, is_streaming, .. }) = event.told() {
            self.room(event, service, *is_streaming, *worker).step(event.at, -1);
        } else if let Some(made) = event.told::<CallMade>().filter(|made| made.is_streaming) {
            self.note_streaming(made.path);
        } else if event.told::<NodeStarted>().is_some() {
            let here = self.rooms.iter_mut().filter(|room| room.door.host == event.host);
            here.for_each(|room| room.empty(event.at));
        }
        None
    }

    fn note_streaming(&mut self, path: &'static str) {
        if !self.streams.contains(&path) {
            self.streams.push(path);
        }
    }

    fn room(&mut self, event: &Event, service: &'static str, is_streaming: bool, worker: u16) -> &mut Room {
        let worker = (!self.setting.in_node.contains(&service)).then_some(worker);
        let is_here = |door: &Door| {
            door.service == service
                && door.worker == worker
                && door.is_streaming == is_streaming
                && door.host == event.host
        };
        if let Some(known) = self.rooms.iter().position(|room| is_here(&room.door)) {
            return &mut self.rooms[known];
        }
        let limits = self.setting.limits;
        let most = if is_streaming { limits.streams } else { limits.calls };
        let door = Door { host: Arc::clone(&event.host), service, worker, is_streaming };
        let (busy, steps) = ((event.at, 0), vec![(event.at, 0)]);
        let (full, full_for_sheddable) = (None, None);
        self.rooms.push(Room { door, most, running: 0, busy, full, full_for_sheddable, steps });
        self.rooms.last_mut().expect("one was just added")
    }

    /// How many calls of `service` ran at most on each of `hosts` since then, and how many may where one is taken on, in words.
    pub(super) fn in_words(
        &self,
        service: &str,
        path: &str,
        hosts: &[&str],
        (since, is_sheddable): (Duration, bool),
    ) -> String {
        let since = since.saturating_sub(self.setting.tick);
        let words = self.behind(service, path, hosts).map(|room| {
            let Room { door, most, .. } = room;
            let (ran, what) = (room.peak(since), if door.is_streaming { "streams" } else { "calls" });
            let may_be = match is_sheddable {
                true => format!("{} of {most} may be for one that can be done without", share(*most)),
                false => format!("{most} may be"),
            };
            format!(
                "{ran} {what} at once were handled by {service} on {} since then, and {may_be}",
                door.host
            )
        });
        words.collect::<Vec<_>>().join("; ")
    }

    /// Whether `service` had no permit left for calls of `path` on one of `hosts` at some time since then, or none for
    /// those that are sheddable.
    pub(super) fn was_full(
        &self,
        service: &str,
        path: &str,
        hosts: &[&str],
        (since, is_sheddable): (Duration, bool),
    ) -> bool {
        let since = since.saturating_sub(self.setting.tick);
        let mut here = self.behind(service, path, hosts);
        here.any(|room| {
            let full = if is_sheddable { room.full_for_sheddable } else { room.full };
            full.is_some_and(|full| full >= since)
        })
    }

    /// The rooms on `hosts` where calls of `path` are handled.
    fn behind(&self, service: &str, path: &str, hosts: &[&str]) -> impl Iterator<Item = &Room> {
        let is_streaming = self.streams.contains(&path);
        self.rooms.iter().filter(move |Room { door, .. }| {
            door.service == service && door.is_streaming == is_streaming && hosts.contains(&&*door.host)
        })
    }
}

/// How full a service is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    service: &'static str,
    running: usize,
    most: usize,
}

impl Room {
    /// The most that ran at once since then.
    fn peak(&self, since: Duration) -> usize {
        let later = self.steps.iter().rev();
        let last_before = self.steps.iter().rev().find(|(at, _)| *at <= since);
        later
            .take_while(|(at, _)| *at > since)
            .chain(last_before)
            .map(|(_, running)| *running)
            .max()
            .unwrap_or(0)
    }

    fn step(&mut self, at: Duration, by: isize) {
        if self.busy.0 != at {
            self.busy = (at, self.running);
        }
        self.running = self.running.saturating_add_signed(by);
        self.busy.1 += usize::from(by > 0);
        self.steps.push((at, self.running));
        self.look(at);
    }

    /// The host starts anew.
    fn empty(&mut self, at: Duration) {
        self.running = 0;
        self.busy = (at, 0);
        self.steps.push((at, 0));
        self.look(at);
    }

    fn look(&mut self, now: Duration) {
        let (running, busy) = (self.running, self.busy.1);
        let levels = [(self.most, &mut self.full), (share(self.most), &mut self.full_for_sheddable)];
        for (most, full) in levels {
            if running >= most {
                *full = Some(Duration::MAX);
            } else if *full == Some(Duration::MAX) || busy >= most {
                *full = Some(now);
            }
        }
    }
}

/// A service takes on no more calls at once than it says, and fewer of those that can be done without.
#[derive(Debug)]
pub(super) struct NoMoreThanAdmitted {
    rooms: Rooms,
    /// The requests whose calls can be done without.
    sheddable: BTreeSet<u32>,
    /// Those whose calls were taken on already, and are still read.
    awaited: BTreeSet<(u32, &'static str)>,
    met: u64,
}

impl NoMoreThanAdmitted {
    pub(super) fn new(setting: &Arc<Setting>) -> Self {
        let (sheddable, awaited) = (BTreeSet::new(), BTreeSet::new());
        Self { rooms: Rooms::new(setting), sheddable, awaited, met: 0 }
    }
}

impl NoMoreThanAdmitted {
    /// How many calls there may be when this one was taken on, of `most`. One that can be done without was let in when it
    /// came: when its handler begins there may be more.
    fn most_for(&mut self, event: &Event, most: usize) -> usize {
        let Some(number) = event.request.filter(|number| self.sheddable.contains(number)) else {
            return most;
        };
        let is_new = match (event.told::<RequestAwaited>(), event.told::<HandlerBegun>()) {
            (Some(awaited), _) => self.awaited.insert((number, awaited.path)),
            (None, Some(begun)) => !self.awaited.remove(&(number, begun.path)),
            (None, None) => false,
        };
        if is_new { share(most) } else { most }
    }
}

impl Invariant for NoMoreThanAdmitted {
    fn name(&self) -> &str {
        NO_MORE_THAN_ADMITTED
    }

    fn wants(&self) -> Wants {
        Rooms::wants(Wants::nothing())
    }

    fn call_started(&mut self, call: &CallRecord) -> Result<(), String> {
        if is_heard(&call.request) {
            self.sheddable.insert(call.request.id);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        // What a host says that is being taken down has no host.
        if event.host.is_empty() {
            return Ok(());
        }
        let Some(Crowd { service, running, most }) = self.rooms.note(event) else { return Ok(()) };
        self.met += 1;
        let most = self.most_for(event, most);
        if running <= most {
            return Ok(());
        }
        Err(format!("{service} runs {running} handlers at once on {}; expected {most} at most", event.host))
    }

    fn met(&self) -> u64 {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_full_from_its_last_permit_on_until_one_is_given_back() {
        let ms = Duration::from_millis;
        let door = Door { host: "a".into(), service: "b", worker: Some(0), is_streaming: false };
        let (full, full_for_sheddable, steps) = (None, None, Vec::new());
        let mut room = Room { door, most: 2, running: 0, busy: (ms(0), 0), full, full_for_sheddable, steps };
        room.step(ms(1), 1);
        assert_eq!(room.full, None);
        room.step(ms(2), 1);
        assert_eq!(room.full, Some(Duration::MAX));
        room.step(ms(5), -1);
        assert_eq!(room.full, Some(ms(5)));
    }

    #[test]
    fn calls_that_come_and_go_in_one_moment_fill_a_room() {
        let door = Door { host: "a".into(), service: "b", worker: None, is_streaming: false };
        let busy = (Duration::ZERO, 0);
        let (full, full_for_sheddable, steps) = (None, None, Vec::new());
        let mut room = Room { door, most: 2, running: 0, busy, full, full_for_sheddable, steps };
        let now = Duration::from_millis(3);
        [1, -1, 1, -1].into_iter().for_each(|by| room.step(now, by));
        assert_eq!((room.running, room.full), (0, Some(now)));
    }
}
