//! The endpoint that takes a call, and the connection to it that carries it.

use std::future::pending;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::endpoint::Endpoint;
use super::line::{Line, Pick, Place, Turn};
use super::subchannel::{Connecting, Sender};
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
    /// `endpoint`, when a connection to it is made, or has room.
    pub(super) async fn in_time(endpoint: Arc<Endpoint>) -> Result<Self> {
        let mut turn = None;
        let (line, place, sender) = loop {
            match endpoint.pick() {
                Pick::Ready(line, sender) => break (line, None, sender),
                Pick::Down(status) => return Err(status),
                Pick::Wait(line, connecting) => {
                    let sender = connecting.await?;
                    // More may have waited for it than it carries.
                    if line.has_room() {
                        break (line, None, sender);
                    }
                }
                Pick::Full { making, until } => {
                    turn.get_or_insert_with(|| endpoint.turn());
                    if let Some((place, sender)) = room(&endpoint, &mut turn, making, until).await {
                        break (place.line().clone(), Some(place), sender);
                    }
                }
            }
        };
        Ok(Self { endpoint, line, place, sender, is_trial: false, at: Instant::now() })
    }
}

/// A place on a connection, when who waits has its turn; none when it is to look again what there is: another connection may have been
/// made, or may be made now. One that cannot be made fails nobody, since there will be room on others.
async fn room(
    endpoint: &Endpoint,
    turn: &mut Option<Turn>,
    making: Option<Connecting>,
    until: Option<Instant>,
) -> Option<(Place, Sender)> {
    let made = async {
        let Some(making) = making else { return pending().await };
        if making.await.is_ok() {
            // Its room is for those who have waited longest.
            endpoint.give_turns();
        }
    };
    let passed = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    let place = async {
        match turn.as_mut() {
            Some(waiting) => waiting.await,
            None => pending().await,
        }
    };
    let place = tokio::select! {
        biased;
        place = place => Some(place),
        () = made => None,
        () = passed => None,
        () = endpoint.changed() => None,
    };
    let place = place.or_else(|| turn.as_mut()?.given())?;
    *turn = None;
    let sender = place.sender()?;
    Some((place, sender))
}
