//! Writes the module of each service: its methods, its contract, its client.

use std::fmt::Write as _;

use prost_build::{Method, Service, ServiceGenerator};
use prost_types::method_options::IdempotencyLevel;

use crate::fields::Fields;
use crate::names;
use crate::rest::{Route, Routes};

pub(crate) struct Services {
    routes: Routes,
    fields: Fields,
    transport: String,
}

impl Services {
    /// Generated code names what it needs below the path `transport`.
    pub(crate) fn new(routes: Routes, fields: Fields, transport: &str) -> Self {
        Self { routes, fields, transport: transport.to_owned() }
    }
}

impl ServiceGenerator for Services {
    fn generate(&mut self, service: Service, buf: &mut String) {
        service.comments.append_with_indent(0, buf);
        let mut module = String::new();
        write_module(&service, self, &mut module).expect("writing to a string does not fail");
        buf.push_str(&module.replace("::transport::", &format!("{}::", self.transport)));
    }
}

fn write_module(service: &Service, known: &Services, buf: &mut String) -> std::fmt::Result {
    // Raw, since a service may be called as a keyword of Rust.
    writeln!(buf, "pub mod r#{} {{", names::module(&service.name))?;
    for method in &service.methods {
        let full = format!("{}.{}", full_name(service), method.proto_name);
        write_method(service, method, known.routes.of(&full), buf)?;
    }
    write_contract(service, known, buf)?;
    write_client(service, buf)?;
    writeln!(buf, "}}")
}

fn write_method(service: &Service, method: &Method, routes: &[Route], buf: &mut String) -> std::fmt::Result {
    let (path, idempotency) = (path(service, method), idempotency(method));
    method.comments.append_with_indent(1, buf);
    writeln!(
        buf,
        "    #[doc = \"The rpc `{path}`.\"]
    #[derive(Debug, Clone, Copy)]
    pub struct {name};
    impl ::transport::Method for {name} {{
        type Request = {request};
        type Response = {response};
        type Contract = {contract};
        const PATH: &'static str = \"{path}\";
        const IDEMPOTENCY: ::transport::Idempotency = ::transport::Idempotency::{idempotency};",
        name = names::rpc(&method.proto_name),
        request = body(&method.input_type, method.client_streaming),
        response = body(&method.output_type, method.server_streaming),
        contract = service.name,
    )?;
    if !routes.is_empty() {
        write_routes(routes, buf)?;
    }
    writeln!(buf, "    }}")
}

fn write_routes(routes: &[Route], buf: &mut String) -> std::fmt::Result {
    writeln!(buf, "        const ROUTES: &'static [::transport::Route] = &[")?;
    for Route { verb, path, body, response_field } in routes {
        let verb = verb.to_uppercase();
        // In full, since an rpc may be called Some or None.
        let response_field = format!("::core::option::Option::{response_field:?}");
        writeln!(
            buf,
            "            ::transport::Route {{ verb: {verb:?}, path: {path:?}, body: {body}, \
             response_field: {response_field} }},",
        )?;
    }
    writeln!(buf, "        ];")
}

fn write_contract(service: &Service, known: &Services, buf: &mut String) -> std::fmt::Result {
    let name = &service.name;
    let rpcs = service.methods.iter().map(|method| rpc(service, method, &known.fields));
    writeln!(
        buf,
        "    #[doc = \"The contract `{full}`.\"]
    #[derive(Debug, Clone, Copy)]
    pub struct {name};
    impl ::transport::Contract for {name} {{
        const NAME: &'static str = \"{module}\";
        const METHODS: &'static [::transport::Rpc] = &[{rpcs}];
    }}
    impl<_A> ::transport::Bind<_A> for {name}
    where
        _A: ::transport::Serve,",
        full = full_name(service),
        module = names::module(name),
        rpcs = rpcs.collect::<String>(),
    )?;
    for method in &service.methods {
        writeln!(
            buf,
            "        _A: ::transport::codegen::actix::Handler<::transport::Call<{}>>,",
            names::rpc(&method.proto_name)
        )?;
    }
    writeln!(buf, "    {{\n        fn bind(binding: &mut ::transport::Binding<'_, _A>) {{")?;
    for method in &service.methods {
        let full = format!("{}.{}", full_name(service), method.proto_name);
        let bind = if known.routes.of(&full).is_empty() { "method" } else { "method_with_routes" };
        writeln!(buf, "            binding.{bind}::<{}>();", names::rpc(&method.proto_name))?;
    }
    writeln!(buf, "        }}\n    }}")
}

fn write_client(service: &Service, buf: &mut String) -> std::fmt::Result {
    writeln!(
        buf,
        "    #[doc = \"Calls `{full}`, wherever it is placed.\"]
    #[derive(Debug, Clone)]
    pub struct Client(::transport::Client);
    impl ::transport::ServiceClient for Client {{
        const NAME: &'static str = \"{module}\";
        fn new(client: ::transport::Client) -> Self {{
            Self(client)
        }}
    }}
    impl Client {{
        /// The untyped client below, for calls with metadata of their own.
        pub fn inner(&self) -> &::transport::Client {{
            &self.0
        }}",
        full = full_name(service),
        module = names::module(&service.name),
    )?;
    for method in &service.methods {
        method.comments.append_with_indent(2, buf);
        writeln!(
            buf,
            "        #[doc = \"Calls `{full}/{rpc}`.\"]
        pub async fn {fun}(&self, request: {request}) -> ::transport::Result<{response}> {{
            self.0.call::<{name}>(request).await
        }}",
            full = full_name(service),
            rpc = method.proto_name,
            fun = method.name,
            name = names::rpc(&method.proto_name),
            request = body(&method.input_type, method.client_streaming),
            response = body(&method.output_type, method.server_streaming),
        )?;
    }
    writeln!(buf, "    }}")
}

/// An rpc, in the list that its contract has.
fn rpc(service: &Service, method: &Method, fields: &Fields) -> String {
    let (path, idempotency) = (path(service, method), idempotency(method));
    let fields: String = fields
        .of(&format!("{}.{}", full_name(service), method.proto_name))
        .iter()
        .map(|(name, number)| format!("::transport::Field {{ name: {name:?}, number: {number} }},"))
        .collect();
    format!(
        "::transport::Rpc {{ path: {path:?}, idempotency: ::transport::Idempotency::{idempotency}, \
         fields: &[{fields}] }},"
    )
}

fn idempotency(method: &Method) -> &'static str {
    match method.options.idempotency_level() {
        IdempotencyLevel::IdempotencyUnknown => "Unknown",
        IdempotencyLevel::NoSideEffects => "NoSideEffects",
        IdempotencyLevel::Idempotent => "Idempotent",
    }
}

/// The path of an rpc on the wire.
fn path(service: &Service, method: &Method) -> String {
    format!("/{}/{}", full_name(service), method.proto_name)
}

fn full_name(service: &Service) -> String {
    match service.package.as_str() {
        "" => service.proto_name.clone(),
        package => format!("{package}.{}", service.proto_name),
    }
}

/// The Rust type of a request or response, seen from inside the service's module.
fn body(message: &str, streaming: bool) -> String {
    let message = if message.starts_with("::") || message == "()" {
        message.to_owned()
    } else {
        format!("super::{message}")
    };
    if streaming { format!("::transport::Streaming<{message}>") } else { message }
}
