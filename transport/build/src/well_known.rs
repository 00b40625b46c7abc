//! The messages of Google that contracts may use: what becomes of each in Rust, and what is refused.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::error::Error;

/// Those with a type of their own in the transport's `well_known`.
pub(crate) const WITH_A_TYPE: [&str; 2] = ["Timestamp", "Duration"];

/// The wrappers: prost has an `Option` of the scalar for each.
const WRAPPERS: [(&str, Type); 9] = [
    ("BoolValue", Type::Bool),
    ("BytesValue", Type::Bytes),
    ("DoubleValue", Type::Double),
    ("FloatValue", Type::Float),
    ("Int32Value", Type::Int32),
    ("Int64Value", Type::Int64),
    ("StringValue", Type::String),
    ("UInt32Value", Type::Uint32),
    ("UInt64Value", Type::Uint64),
];

const EMPTY: &str = "google.protobuf.Empty";

/// Messages of Google are no part of a contract, which only names them.
pub(crate) fn is_googles(package: &str) -> bool {
    package.starts_with("google.")
}

/// Refuses fields and rpcs of other types of Google than those above. (The rest of them have either no canonical JSON, or
/// more than one encoding.)
pub(crate) fn check(pool: &DescriptorPool) -> Result<(), Error> {
    let ours = |message: &MessageDescriptor| !is_googles(message.package_name());
    for message in pool.all_messages().filter(|message| ours(message) && !message.is_map_entry()) {
        message.fields().try_for_each(|field| check_field(&field))?;
    }
    for service in pool.services().filter(|service| !is_googles(service.package_name())) {
        service.methods().try_for_each(|method| check_method(&method))?;
    }
    Ok(())
}

fn check_field(field: &FieldDescriptor) -> Result<(), Error> {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    let name = match &kind {
        Kind::Message(message) => message.full_name(),
        Kind::Enum(names) => names.full_name(),
        _ => return Ok(()),
    };
    let is_known = |known: &str| name.strip_prefix("google.protobuf.") == Some(known);
    let is_supported =
        WITH_A_TYPE.iter().any(|known| is_known(known)) || WRAPPERS.iter().any(|(known, _)| is_known(known));
    if is_supported || !is_googles(name) {
        return Ok(());
    }
    let reason = format!(
        "{name} is not supported: expected Timestamp, Duration or a wrapper of google.protobuf, or a message of your own"
    );
    Err(Error::contract(field.full_name(), reason))
}

fn check_method(method: &MethodDescriptor) -> Result<(), Error> {
    for (what, message) in [("request", method.input()), ("answer", method.output())] {
        let name = message.full_name();
        if is_googles(name) && name != EMPTY {
            let reason = format!("the {what} is {name}: expected {EMPTY}, or a message of your own");
            return Err(Error::contract(method.full_name(), reason));
        }
    }
    Ok(())
}

/// Shows the fields that are wrappers as optional scalars: so they are in Rust, and their JSON is that of the scalar.
pub(crate) fn unwrap_fields(message: &mut DescriptorProto) {
    message.field.iter_mut().for_each(unwrap_field);
    message.nested_type.iter_mut().for_each(unwrap_fields);
}

fn unwrap_field(field: &mut FieldDescriptorProto) {
    let name = field.type_name().strip_prefix(".google.protobuf.");
    let Some((_, scalar)) = WRAPPERS.iter().find(|(wrapper, _)| name == Some(*wrapper)) else { return };
    field.set_type(*scalar);
    field.type_name = None;
    if field.label() == Label::Optional && field.oneof_index.is_none() {
        field.proto3_optional = Some(true);
    }
}
