//! The endpoint that takes a call, and the connection to it that carries it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

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

/// How long a further connection is left alone that was lost as soon as it was made, as one that could not be made.
const REST: Duration = Duration::from_secs(1);

impl Chosen {
    /// `endpoint`, when a connection to it is made, or has room.
    pub(super) async fn in_time(endpoint: Arc<Endpoint>) -> Result<Self> {
        let (mut turn, mut is_lost) = (None, false);
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
                    let turn = turn.get_or_insert_with(|| endpoint.turn());
                    let (making, until) = match is_lost {
                        true => (None, Some(Instant::now() + REST)),
                        false => (making, until),
                    };
                    let (place, lost) = room(&endpoint, turn, making, until).await;
                    is_lost = lost;
                    if let Some(place) = place {
                        if let Some(sender) = place.sender() {
                            break (place.line().clone(), Some(place), sender);
                        }
                        (*turn, is_lost) = (endpoint.turn(), true);
                    }
                }
            }
        };
        Ok(Self { endpoint, line, place, sender, is_trial: false, at: Instant::now() })
    }
}

/// A place on a connection, when who waits has its turn; none when it is to look again what there is: another connection may have been
/// made, or may be made now. One that cannot be made fails nobody, since there will be room on others. Also whether one was lost as
/// soon as it was made.
async fn room(
    endpoint: &Endpoint,
    turn: &mut Turn,
    making: Option<(Arc<Line>, Connecting)>,
    until: Option<Instant>,
) -> (Option<Place>, bool) {
    let made = async {
        let Some((line, making)) = making else { return pending().await };
        let is_made = making.await.is_ok();
        let is_there = line.is_there();
        if is_there {
            // Its room is for those who have waited longest.
            endpoint.give_turns();
        }
        is_made && !is_there
    };
    let passed = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    let is_lost = tokio::select! {
        biased;
        place = &mut *turn => return (Some(place), false),
        is_lost = made => is_lost,
        () = passed => false,
        () = endpoint.changed() => false,
    };
    (turn.given(), is_lost)
}
