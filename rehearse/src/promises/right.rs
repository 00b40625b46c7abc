//! The codes that are right for each request, besides `OK`.

use sim::CallRecord;
use transport::Code;

use super::failure::Failure;
use super::requests::ByRequest;
use crate::setting::Setting;

/// What services may say of each request in the line of their work.
#[derive(Debug, Default)]
pub(super) struct Right(ByRequest<Vec<Code>>);

impl Right {
    /// A client makes a call.
    pub(super) fn note(&mut self, setting: &Setting, call: &CallRecord) {
        let Some(kind) = setting.kind(&call.request) else { return };
        // Who watches says until when: that moment may end the stream on any hop of its way.
        let until = (kind.is_watched && setting.says_timeouts).then_some(Code::DeadlineExceeded);
        let right = kind.expect.of(&call.request.argument).into_iter().chain(until);
        self.0.insert(call.request.id, right.collect());
    }

    /// Whether a call for `request` may fail like this.
    pub(super) fn is(&self, request: u32, failure: Failure) -> bool {
        let code = match failure {
            Failure::Late => Code::DeadlineExceeded,
            Failure::Said(code) => code,
            _ => return false,
        };
        self.0.get(request).is_some_and(|right| right.contains(&code))
    }
}
