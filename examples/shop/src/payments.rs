//! Takes money, through a bank.

use std::collections::BTreeSet;

use node::actix::{Actor, Context, Handler};
use node::tracing::info;
use node::{Call, Reply, Result, Serve};

use crate::api::payments::{Charge, Payments};
use crate::api::{ChargeRequest, ChargeResponse};
use crate::bank::Bank;
use crate::journal::{Journal, words_of_the_journal};

pub struct PaymentsActor {
    charged: BTreeSet<String>,
    journal: Journal,
    bank: Bank,
}

impl PaymentsActor {
    pub fn new(mut journal: Journal, bank: Bank) -> Self {
        let charged = journal.take_lines().into_iter().filter_map(|line| line.into_iter().nth(1)).collect();
        Self { charged, journal, bank }
    }

    /// The money is taken as soon as the journal says so.
    fn charge(&mut self, ChargeRequest { order, cents }: ChargeRequest) -> Result<ChargeResponse> {
        words_of_the_journal([&order])?;
        self.journal.keep()?;
        if self.charged.contains(&order) {
            info!(order, "charged before");
        } else {
            self.journal.write(format_args!("charged {order} {cents}"))?;
            info!(order, cents, "charged");
            self.charged.insert(order);
        }
        Ok(ChargeResponse {})
    }
}

impl Actor for PaymentsActor {
    type Context = Context<Self>;
}

impl Serve for PaymentsActor {
    type Contract = Payments;
}

impl Handler<Call<Charge>> for PaymentsActor {
    type Result = Reply<Charge>;

    fn handle(&mut self, call: Call<Charge>, actor: &mut Context<Self>) -> Self::Result {
        let bank = self.bank;
        call.answer_with_state(actor, async move |state, request| {
            bank.ask(request.cents).await?;
            state.with(|payments| payments.charge(request)).await?
        })
    }
}
