//! The endpoint that takes a call, and the connection to it that carries it.

use std::future::pending;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::endpoint::Endpoint;
use super::line::{Line, Pick, Place, Turn};
use super::subchannel::Sender;
use crate::status::Result;

/// What the choice fell on.
pub(super) struct Chosen {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) line: Arc<Line>,
    /// Its place there, if it has waited for one.
    pub(super) place: Option<Place>,
    pub(super) sender: Sender,
    /// Whether the call tries an endpoint that is ejected.
    pub(super) is_trial: bool,
    /// When it was made.
    pub(super) at: Instant,
}

impl Chosen {
    /// `endpoint`, when a connection to it is made, or has room. Those who wait for room keep their turns while another
    /// connection is tried.
    pub(super) async fn in_time(endpoint: Arc<Endpoint>) -> Result<Self> {
        let (mut turn, mut failed) = (None, None);
        let (line, place, sender) = loop {
            let room = match (endpoint.pick(), failed.take()) {
                (Pick::Ready(line, sender), _) => break (line, None, sender),
                (Pick::Wait(line, connecting), None) => tokio::select! {
                    biased;
                    room = room(&mut turn) => room,
                    made = connecting => match made {
                        Ok(sender) if line.has_room() => break (line, None, sender),
                        // More have waited for it than it carries.
                        Ok(_) => None,
                        // Where others carry calls, there will be room on them.
                        Err(status) => {
                            failed = Some(status);
                            None
                        }
                    },
                },
                (Pick::Wait(..) | Pick::Down(_), Some(status)) | (Pick::Down(status), None) => {
                    return Err(status);
                }
                (Pick::Full(until), _) => {
                    turn.get_or_insert_with(|| endpoint.turn());
                    tokio::select! {
                        biased;
                        room = room(&mut turn) => room,
                        () = passed(until) => None,
                    }
                }
            };
            if let Some((place, sender)) = room {
                break (place.line().clone(), Some(place), sender);
            }
        };
        Ok(Self { endpoint, line, place, sender, is_trial: false, at: Instant::now() })
    }
}

/// A place on a connection, when there is one for who waits; none if that connection is lost by then.
async fn room(turn: &mut Option<Turn>) -> Option<(Place, Sender)> {
    let Some(waiting) = turn else { return pending().await };
    let place = waiting.await;
    *turn = None;
    let sender = place.sender()?;
    Some((place, sender))
}

/// Waits until then, if it comes.
async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}
