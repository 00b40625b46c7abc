//! The fields of an event, one after the other, cut to what is told of each.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use transport::cut::{Head, told};

/// How a line has its fields.
pub(super) trait Form {
    /// Takes a field, be it the message, in the order of the code, with its index among those of its place in the code.
    /// No text is longer than what is told.
    fn put(&mut self, index: usize, name: &'static str, value: Value<'_>);
}

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    /// What only knows how to display itself, displayed.
    Displayed(&'a str),
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

/// Visits the fields of an event for a form.
pub(super) struct Fields<'a, F> {
    pub(super) form: F,
    pub(super) head: &'a mut Head,
}

impl<F: Form> Visit for Fields<'_, F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.form.put(field.index(), field.name(), Value::Text(&told(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.form.put(field.index(), field.name(), Value::Unsigned(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.form.put(field.index(), field.name(), Value::Signed(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.form.put(field.index(), field.name(), Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.form.put(field.index(), field.name(), Value::Bool(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.head.clear();
        // A value that cannot be displayed is cut short; the line is written all the same.
        write!(self.head, "{value:?}").ok();
        self.form.put(field.index(), field.name(), Value::Displayed(self.head.told()));
    }
}
