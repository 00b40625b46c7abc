//! A REST route as a contract states it, by the `google.api.http` option: plain data.

/// One way to reach an rpc over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method, in capitals.
    pub verb: &'static str,
    /// The path; a segment `{field}` is a field of the request.
    pub path: &'static str,
    /// Whether the body of the request is the message, as JSON. Without one, the fields that are not in the path
    /// are in the query.
    pub body: bool,
    /// The one field that is the answer, by its JSON name; all of them if none.
    pub response_field: Option<&'static str>,
}

impl Route {
    /// The names of the fields in the path, in their order.
    pub fn path_fields(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}
