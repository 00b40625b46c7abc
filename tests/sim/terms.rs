//! What a script asks for, and what comes of it: what services that do as it says and promises about them both know.

use probe_contract::{Played, Script};
use transport::Code;

/// The details of every status that is asked for.
pub(crate) const DETAILS: &[u8] = b"\x08\x05details";
/// The same, as a client reads it: base64 without padding.
pub(crate) const DETAILS_ON_THE_WIRE: &str = "CAVkZXRhaWxz";

/// Where a status says after how many milliseconds its call may be made again (gRFC A6).
pub(crate) const AGAIN: &str = "grpc-retry-pushback-ms";

/// Entries of this name come back with the answer.
pub(crate) const ECHOED: &str = "x-trial";

/// The padding that a script asks for is put in by who sends it.
pub(crate) fn padded(script: &mut Script) {
    script.padding = "x".repeat(script.request_bytes as usize);
}

/// The script, with a panic in place of a failure: what is expected is what a node says of one.
pub(crate) fn panicking(script: Script) -> Script {
    let (code, message) = (Code::Internal as u32, "the handler panicked".to_owned());
    Script { panics: true, code, message, again_ms: 0, ..script }
}

/// The script, as a service sends it to the next one on the way.
pub(crate) fn one_hop_on(script: Script) -> Script {
    Script { hops: script.hops.saturating_sub(1), further: true, ..script }
}

/// What is answered to a script that does not fail.
pub(crate) fn answer_to(script: &Script) -> Played {
    let padding = "y".repeat(script.answer_bytes as usize);
    Played { text: script.text.to_uppercase(), padding, ..Played::default() }
}
