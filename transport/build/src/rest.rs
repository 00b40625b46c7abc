//! Reads the `google.api.http` options, and refuses what the REST edge would not do.

use std::collections::{BTreeMap, BTreeSet};

use protox::prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor};

use crate::error::Error;

const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The paths at which every node tells how it is.
const OF_THE_NODE: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// One way to reach an rpc over REST.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) verb: String,
    pub(crate) path: String,
    /// Whether the request's body is the message, as JSON.
    pub(crate) body: bool,
    /// The JSON name of the one field that is the answer, where not all of it is.
    pub(crate) response_field: Option<String>,
}

/// The routes of every rpc, by its full name.
#[derive(Debug, Default)]
pub(crate) struct Routes(BTreeMap<String, Vec<Route>>);

impl Routes {
    pub(crate) fn read(pool: &DescriptorPool) -> Result<Self, Error> {
        let mut routes = Self::default();
        let Some(option) = pool.get_extension_by_name("google.api.http") else {
            return Ok(routes);
        };
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let options = method.options();
            if !options.has_extension(&option) {
                continue;
            }
            let rule = options.get_extension(&option);
            let rule = rule.as_message().expect("google.api.http is a message");
            let found = read_rule(&method, rule)
                .map_err(|reason| Error::Route { method: method.full_name().to_owned(), reason })?;
            routes.0.insert(method.full_name().to_owned(), found);
        }
        routes.refuse_clashes()?;
        Ok(routes)
    }

    pub(crate) fn of(&self, method: &str) -> &[Route] {
        self.0.get(method).map_or(&[], Vec::as_slice)
    }

    fn refuse_clashes(&self) -> Result<(), Error> {
        let mut claimed = BTreeMap::new();
        for (method, routes) in &self.0 {
            for route in routes {
                if let Some(first) = claimed.insert((&route.verb, shape(&route.path)), method) {
                    return Err(Error::Claimed {
                        verb: route.verb.to_uppercase(),
                        path: route.path.clone(),
                        first: first.clone(),
                        second: method.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn read_rule(method: &MethodDescriptor, rule: &DynamicMessage) -> Result<Vec<Route>, String> {
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err("a streaming rpc has no REST route".to_owned());
    }
    let (verb, path) = VERBS
        .iter()
        .map(|verb| (*verb, text(rule, verb)))
        .find(|(_, path)| !path.is_empty())
        .ok_or("expected one of get, put, post, delete, patch")?;
    check_path(method, &path)?;
    let body = match text(rule, "body").as_str() {
        "" => false,
        "*" if verb == "get" => {
            return Err("get has no body: expected no body, or post, put, patch".to_owned());
        }
        "*" => true,
        other => return Err(format!("body: \"{other}\": expected \"*\" or none")),
    };
    let mut routes = vec![Route {
        verb: verb.to_owned(),
        path,
        body,
        response_field: response_field(method, &text(rule, "response_body"))?,
    }];
    let more = rule.get_field_by_name("additional_bindings");
    for more in more.iter().filter_map(|list| list.as_list()).flatten() {
        let more = more.as_message().expect("additional_bindings are messages");
        routes.extend(read_rule(method, more)?);
    }
    Ok(routes)
}

fn text(rule: &DynamicMessage, field: &str) -> String {
    rule.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What two paths have in common that match the same requests.
fn shape(path: &str) -> String {
    path.split('/')
        .map(|segment| if segment.starts_with('{') { "{}" } else { segment })
        .collect::<Vec<_>>()
        .join("/")
}

/// A path is literal segments and `{field}` segments; each field is one of the request's own.
fn check_path(method: &MethodDescriptor, path: &str) -> Result<(), String> {
    let wrong = |reason: String| Err(format!("path \"{path}\": {reason}"));
    if !path.starts_with('/') {
        return wrong("expected it to start with /".to_owned());
    }
    if OF_THE_NODE.contains(&path) {
        return wrong("this is the node's own: expected another".to_owned());
    }
    let mut seen = BTreeSet::new();
    for segment in path[1..].split('/') {
        let Some(field) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            if segment.contains(['{', '}', '*', ':', '?', '#']) {
                return wrong("expected literal or {field} segments".to_owned());
            }
            continue;
        };
        if !seen.insert(field) {
            return wrong(format!("the field {field} is there twice: expected it once"));
        }
        check_path_field(&method.input(), field).or_else(wrong)?;
    }
    Ok(())
}

/// A segment is one value, which a text tells.
fn check_path_field(request: &MessageDescriptor, name: &str) -> Result<(), String> {
    let Some(field) = request.get_field_by_name(name) else {
        return Err(format!("{} has no field {name}", request.full_name()));
    };
    let expected = "expected a field with one scalar value";
    match field.kind() {
        _ if field.is_map() => Err(format!("{} is a map: {expected}", field.full_name())),
        _ if field.is_list() => Err(format!("{} is repeated: {expected}", field.full_name())),
        Kind::Message(_) => Err(format!("{} is a message: {expected}", field.full_name())),
        _ => Ok(()),
    }
}

fn response_field(method: &MethodDescriptor, name: &str) -> Result<Option<String>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    method.output().get_field_by_name(name).map_or_else(
        || Err(format!("response_body: {} has no field {name}", method.output().full_name())),
        |field| Ok(Some(field.json_name().to_owned())),
    )
}
