//! The codes that are right for each request, besides `OK`.

use std::collections::BTreeMap;

use sim::CallRecord;
use transport::Code;

use super::failure::Failure;
use crate::setting::Setting;

/// What services may say of each request in the line of their work.
#[derive(Debug, Default)]
pub(super) struct Right(BTreeMap<u32, Vec<Code>>);

impl Right {
    /// A client makes a call.
    pub(super) fn note(&mut self, setting: &Setting, call: &CallRecord) {
        let right = setting.kind(&call.request).map(|kind| kind.expect.of(&call.request.argument));
        self.0.extend(right.map(|right| (call.request.id, right)));
    }

    /// Whether a call for `request` may fail like this.
    pub(super) fn is(&self, request: u32, failure: Failure) -> bool {
        let code = match failure {
            Failure::Late => Code::DeadlineExceeded,
            Failure::Said(code) => code,
            _ => return false,
        };
        self.0.get(&request).is_some_and(|right| right.contains(&code))
    }
}
