//! The names that services and rpcs have in Rust, and names that do not go together there.

use std::collections::BTreeMap;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use protox::prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, ServiceDescriptor};

use crate::error::Error;
use crate::well_known::is_googles;

/// `user_profiles` for `UserProfiles`, `service1` for `Service1`.
pub(crate) fn module(service: &str) -> String {
    let mut name = String::new();
    for (index, letter) in service.to_upper_camel_case().chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// `ProcessName`, also where the proto says `processName` or `process_name`.
pub(crate) fn rpc(proto_name: &str) -> String {
    let of_word = |word: &str| {
        let (first, rest) = word.split_at(usize::from(!word.is_empty()));
        first.to_uppercase() + rest
    };
    match proto_name.to_snake_case().split('_').map(of_word).collect::<String>() {
        keyword if keyword == "Self" => "Self_".to_owned(),
        name => name,
    }
}

/// Refuses names by which Rust could not tell two things apart.
pub(crate) fn check(pool: &DescriptorPool) -> Result<(), Error> {
    for service in pool.services().filter(|service| !is_googles(service.package_name())) {
        check_service(&service)?;
    }
    check_modules(pool)
}

fn check_service(service: &ServiceDescriptor) -> Result<(), Error> {
    let refuse = |reason: &str| Err(Error::contract(service.full_name(), reason));
    let name = service.name();
    match module(name).as_str() {
        "client" => return refuse("each service has a type Client in Rust: expected another name"),
        "self" | "super" | "crate" => return refuse("Rust has no module of this name: expected another"),
        _ => {}
    }
    let mut known: BTreeMap<String, MethodDescriptor> = BTreeMap::new();
    for method in service.methods() {
        check_rpc(name, &method)?;
        if let Some(first) = known.insert(rpc(method.name()), method.clone()) {
            let reason = format!(
                "the rpc {} is the same name in Rust as the rpc {}: expected another",
                method.name(),
                first.name(),
            );
            return Err(Error::contract(method.full_name(), reason));
        }
    }
    Ok(())
}

fn check_rpc(service: &str, method: &MethodDescriptor) -> Result<(), Error> {
    let name = method.name();
    let reason = match rpc(name) {
        same if same == rpc(service) => {
            format!("the rpc {name} has the name of its service: expected another")
        }
        taken if taken == "Client" => {
            "each service has a type Client in Rust: expected another name".to_owned()
        }
        taken if taken == "Inner" => {
            "each client has a method inner in Rust: expected another name".to_owned()
        }
        none if !none.starts_with(char::is_alphabetic) => {
            "expected a name that begins with a letter".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Error::contract(method.full_name(), reason))
}

/// Services, messages with others inside, and packages are modules of the package that they are in.
fn check_modules(pool: &DescriptorPool) -> Result<(), Error> {
    let mut known = BTreeMap::new();
    let modules = packages(pool).chain(messages(pool)).chain(services(pool));
    for (package, module, what) in modules.filter(|(package, ..)| !is_googles(package)) {
        let crates =
            ["pbjson", "serde"].contains(&module.as_str()).then(|| "a crate that its JSON needs".to_owned());
        let first = crates.or_else(|| known.insert((package, module.clone()), what.clone()));
        if let Some(first) = first.filter(|first| *first != what) {
            let reason =
                format!("in Rust it is the module {module}, and so is {first}: expected another name");
            return Err(Error::contract(what, reason));
        }
    }
    Ok(())
}

/// The package that it is in, its name as a module, and what to call it.
type Module = (String, String, String);

fn services(pool: &DescriptorPool) -> impl Iterator<Item = Module> {
    pool.services().map(|service| {
        (
            service.package_name().to_owned(),
            module(service.name()),
            format!("service {}", service.full_name()),
        )
    })
}

fn messages(pool: &DescriptorPool) -> impl Iterator<Item = Module> {
    let is_module = |message: &MessageDescriptor| {
        let has_messages = message.child_messages().any(|child| !child.is_map_entry());
        let has_choices = message.oneofs().any(|oneof| !oneof.is_synthetic());
        message.parent_message().is_none() && (has_messages || has_choices || message.child_enums().len() > 0)
    };
    pool.all_messages().filter(is_module).map(|message| {
        let what = format!("message {}", message.full_name());
        (message.package_name().to_owned(), message.name().to_snake_case(), what)
    })
}

fn packages(pool: &DescriptorPool) -> impl Iterator<Item = Module> {
    pool.files().flat_map(|file| {
        let mut inside = file.package_name().to_owned();
        let mut found = Vec::new();
        while let Some((package, name)) = inside.rsplit_once('.') {
            found.push((package.to_owned(), name.to_snake_case(), format!("package {inside}")));
            inside = package.to_owned();
        }
        found
    })
}
