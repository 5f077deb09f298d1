use std::{io, time::Duration};

use hob_model::{BackendLease, EndReason};

use super::{
    Failure, Lane,
    answer::{self, After, Head, Method},
    caller::Interrupt,
    framing::{Framing, Malformed, Passed},
    interrupted,
    wire::Wire,
};
use crate::{buffers::Buffer, call::Call, forward};

/// Room for the rest of an answer that is more than one buffer, in bytes.
const STREAM_BYTES: usize = 64 << 10;

/// An answer that came whole.
pub(super) struct Relayed {
    /// What the caller has yet to get of it.
    pub(super) last: Buffer,
    pub(super) after: After,
    /// Whether the connection to the replica may be kept, and for how long if it said so.
    pub(super) kept: Option<Option<Duration>>,
}

/// An answer on its way from a replica to the caller.
pub(super) struct Relay<'a> {
    call: &'a Call,
    lease: &'a BackendLease,
    wire: &'a mut Wire,
    method: Method,
    /// Whether the replica has said anything yet.
    answers: bool,
    /// From the replica.
    inbound: Buffer,
    /// For the caller.
    outbound: Buffer,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        call: &'a Call,
        lease: &'a BackendLease,
        wire: &'a mut Wire,
        method: Method,
    ) -> Self {
        let buffers = &call.client.worker().buffers;
        Self {
            inbound: buffers.take(),
            outbound: buffers.take(),
            answers: false,
            call,
            lease,
            wire,
            method,
        }
    }

    /// Waits for the answer and passes it on, all but its last bytes: the replica is free before
    /// the caller has read them.
    pub(super) async fn run(mut self, lane: &mut Lane<'_>) -> Result<Relayed, Failure> {
        let (head, after) = self.head(lane).await?;
        let Head {
            code,
            length,
            mut framing,
            kept,
        } = head;
        self.call.route.head(code);
        if matches!(framing, Framing::Length(0)) {
            self.wire.doubt();
        }
        let whole = match &framing {
            Framing::Length(whole) => *whole,
            _ => 0,
        };
        let limit = self.call.route.output_limit;
        let declared = framing.is_over(limit);
        let mut read = self.inbound.len() - length;
        let first = framing.pass(&self.inbound[length..], &mut self.outbound);
        let mut passed = first.map_err(|Malformed| forward::garbled(self.call))?;
        // Before the caller has seen a byte of it.
        if declared || framing.is_over(limit) {
            return Err(forward::too_much(self.call, self.lease).into());
        }
        loop {
            self.call.sent.set(framing.passed(whole));
            if let Passed::End(used) = passed {
                return Ok(Relayed {
                    last: self.outbound,
                    after,
                    // Bytes beyond the end belong to nothing: such a connection is done with.
                    kept: kept.filter(|_| used == read),
                });
            }
            // From the first byte that the caller has, an answer can only be cut.
            let written = lane.caller.write(&self.outbound, self.call.deadline).await;
            // A caller who does not read is no fault of the replica's.
            written.map_err(|_| Failure::Cut)?;
            self.outbound.clear();
            self.inbound.clear();
            self.inbound.reserve(STREAM_BYTES);
            let more = self.read(lane).await;
            let more = more.map_err(|interrupt| self.cut(&interrupt))?;
            read = self.inbound.len();
            let next = match more {
                Ok(1..) => framing.pass(&self.inbound, &mut self.outbound),
                Ok(0) if framing.close(&mut self.outbound) => Ok(Passed::End(0)),
                Ok(0) | Err(_) => Err(Malformed),
            };
            passed = next.map_err(|Malformed| {
                self.call.route.cut(forward::broken_off(self.lease));
                Failure::Cut
            })?;
            if framing.is_over(limit) {
                return Err(self.condemn(EndReason::Output));
            }
        }
    }

    /// Reads until the head is here and has been written to the caller's buffer.
    async fn head(&mut self, lane: &mut Lane<'_>) -> Result<(Head, After), Failure> {
        loop {
            match self.read(lane).await {
                Ok(Ok(1..)) => self.answers = true,
                Ok(Err(error)) if self.is_reset(&error) => return Err(Failure::Reset),
                Ok(_) => return Err(Failure::Unanswered),
                Err(interrupt) => return Err(interrupted(self.call, self.lease, &interrupt)),
            }
            loop {
                let context = lane.context(self.call, self.method);
                match answer::pass(&self.inbound, &context, &mut self.outbound) {
                    Ok(answer::Look::Head(head)) => return Ok((head, context.after)),
                    Ok(answer::Look::Interim(bytes)) => {
                        self.inbound.drain(..bytes);
                    }
                    Ok(answer::Look::Partial)
                        if self.inbound.len() < lane.client.worker().config.head_bytes =>
                    {
                        break;
                    }
                    _ => return Err(forward::garbled(self.call).into()),
                }
            }
        }
    }

    fn is_reset(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::ConnectionReset && !self.answers && self.wire.is_unproven()
    }

    /// Appends what comes from the replica; 0 bytes are its end.
    async fn read(&mut self, lane: &mut Lane<'_>) -> Result<io::Result<usize>, Interrupt> {
        let Self { wire, inbound, .. } = self;
        let deadline = self.call.deadline;
        lane.caller
            .wait(deadline, |cx| wire.poll_read(cx, inbound))
            .await
    }

    /// What an interrupt means once the answer has begun.
    fn cut(&self, interrupt: &Interrupt) -> Failure {
        match interrupt {
            Interrupt::Overdue => self.condemn(EndReason::Timeout),
            Interrupt::HungUp => Failure::Cut,
        }
    }

    /// Reports the replica, so that its work is killed; the caller sees the cut.
    fn condemn(&self, why: EndReason) -> Failure {
        let Call { client, route, .. } = self.call;
        route.cut(why);
        forward::condemn(client, route, self.lease, why);
        Failure::Cut
    }
}
