//! The tracing spans that are open in a simulation: which request a log line belongs to.

/// Ids up to this one stand for hosts: turmoil opens a span for each host and tick, which must cost nothing.
pub(crate) const HOST_SPANS: u64 = 64;

/// Open spans, numbered in the order they were opened so that ids are the same in every run.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    open: Vec<Option<Span>>,
    free: Vec<usize>,
    entered: Vec<u64>,
}

/// One span.
#[derive(Debug)]
struct Span {
    metadata: &'static tracing::Metadata<'static>,
    request_id: Option<String>,
    handles: usize,
}

impl Spans {
    /// Opens a span; without an id of its own it belongs to its parent's request.
    pub(crate) fn open(
        &mut self,
        metadata: &'static tracing::Metadata<'static>,
        request_id: Option<String>,
        parent: Option<u64>,
    ) -> u64 {
        let inherited = || self.request_id_of(parent?).map(str::to_owned);
        let request_id = request_id.or_else(inherited);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        self.open[slot] = Some(Span { metadata, request_id, handles: 1 });
        slot as u64 + HOST_SPANS + 1
    }

    /// The request id was learnt after the span was opened.
    pub(crate) fn set_request_id(&mut self, id: u64, request_id: String) {
        if let Some(span) = self.span_mut(id) {
            span.request_id = Some(request_id);
        }
    }

    /// The request that a span belongs to.
    pub(crate) fn request_id_of(&self, id: u64) -> Option<&str> {
        self.open.get(slot_of(id)?)?.as_ref()?.request_id.as_deref()
    }

    pub(crate) fn enter(&mut self, id: u64) {
        self.entered.push(id);
    }

    pub(crate) fn exit(&mut self, id: u64) {
        if let Some(place) = self.entered.iter().rposition(|entered| *entered == id) {
            self.entered.remove(place);
        }
    }

    /// The innermost span that is entered.
    pub(crate) fn current(&self) -> Option<u64> {
        self.entered.last().copied()
    }

    /// The innermost span with its description.
    pub(crate) fn current_metadata(&self) -> Option<(u64, &'static tracing::Metadata<'static>)> {
        let id = self.current()?;
        Some((id, self.open.get(slot_of(id)?)?.as_ref()?.metadata))
    }

    pub(crate) fn add_handle(&mut self, id: u64) {
        if let Some(span) = self.span_mut(id) {
            span.handles += 1;
        }
    }

    /// Whether the last handle is gone, and the span with it.
    pub(crate) fn drop_handle(&mut self, id: u64) -> bool {
        let Some(span) = self.span_mut(id) else {
            return false;
        };
        span.handles -= 1;
        let is_last = span.handles == 0;
        if is_last && let Some(slot) = slot_of(id) {
            self.open[slot] = None;
            self.free.push(slot);
        }
        is_last
    }

    fn span_mut(&mut self, id: u64) -> Option<&mut Span> {
        self.open.get_mut(slot_of(id)?)?.as_mut()
    }
}

fn slot_of(id: u64) -> Option<usize> {
    usize::try_from(id.checked_sub(HOST_SPANS + 1)?).ok()
}
