//! Reads the `google.api.http` options, and refuses what the REST edge would not do.

use std::collections::BTreeMap;

use protox::prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use crate::error::Error;

const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

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
                if let Some(first) = claimed.insert((&route.verb, &route.path), method) {
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

/// A path is literal segments and `{field}` segments; each field is one of the request's own.
fn check_path(method: &MethodDescriptor, path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("path \"{path}\": expected it to start with /"));
    }
    for segment in path[1..].split('/') {
        let field = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match field {
            Some(field) if method.input().get_field_by_name(field).is_some() => {}
            Some(field) => {
                return Err(format!("path \"{path}\": {} has no field {field}", method.input().full_name()));
            }
            None if segment.contains(['{', '}', '*', ':']) => {
                return Err(format!("path \"{path}\": expected literal or {{field}} segments"));
            }
            None => {}
        }
    }
    Ok(())
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
