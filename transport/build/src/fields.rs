//! The fields of requests that can be the key of a call.

use std::collections::BTreeMap;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MethodDescriptor};

/// The name and the number of each such field, by the full name of its rpc.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, Vec<(String, u32)>>);

impl Fields {
    pub(crate) fn read(pool: &DescriptorPool) -> Self {
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        Self(methods.map(|method| (method.full_name().to_owned(), of_request(&method))).collect())
    }

    pub(crate) fn of(&self, method: &str) -> &[(String, u32)] {
        self.0.get(method).map_or(&[], Vec::as_slice)
    }
}

/// A call has one request, and what is a key has one value: a text, bytes, a number, or one of a few names.
fn of_request(method: &MethodDescriptor) -> Vec<(String, u32)> {
    if method.is_client_streaming() {
        return Vec::new();
    }
    let is_key = |field: &FieldDescriptor| {
        let is_many = field.is_list() || field.is_map();
        !is_many && !matches!(field.kind(), Kind::Message(_) | Kind::Float | Kind::Double)
    };
    let request = method.input();
    request.fields().filter(is_key).map(|field| (field.name().to_owned(), field.number())).collect()
}
