//! The bank, which is not ours.

use std::time::Duration;

use node::{Result, Status};

/// A bank that takes its time, and declines what is too much.
#[derive(Debug, Clone, Copy)]
pub struct Bank {
    delay: Duration,
}

const LIMIT_CENTS: i64 = 100_000;

impl Bank {
    pub fn new(delay: Duration) -> Self {
        Self { delay }
    }

    pub async fn ask(&self, cents: i64) -> Result<()> {
        tokio::time::sleep(self.delay).await;
        if cents > LIMIT_CENTS { Err(Status::failed_precondition("the bank declines")) } else { Ok(()) }
    }
}
