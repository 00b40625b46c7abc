//! From the files of contracts to those of Rust: reads, refuses what is wrong, and writes.

use std::path::Path;

use prost_build::Config;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use protox::prost_reflect::DescriptorPool;

use crate::error::Error;
use crate::fields::Fields;
use crate::rest::Routes;
use crate::service::Services;
use crate::{json, names, sources, well_known};

/// Writes into the folder `out` what becomes of the contracts below `root`. The code names what it needs below `transport`.
pub(crate) fn generate(root: &Path, transport: &str, out: &Path) -> Result<(), Error> {
    let pool = sources::read(root)?;
    check_packages(&pool)?;
    well_known::check(&pool)?;
    names::check(&pool)?;
    let routes = Routes::read(&pool)?;
    let files = pool.file_descriptor_protos().filter(|file| is_known(file)).cloned();
    let set = FileDescriptorSet { file: files.collect() };
    let services = Services::new(routes, Fields::read(&pool), transport);
    config(&set, transport, out)
        .service_generator(Box::new(services))
        .compile_fds(set.clone())
        .map_err(Error::io(out))?;
    json::append(set, transport, out)
}

/// The options of Google are known to the generator and need no code of their own; its messages are named by fields.
fn is_known(file: &FileDescriptorProto) -> bool {
    file.package() == "google.protobuf" || !well_known::is_googles(file.package())
}

/// A package is a module: what has none would have no place.
fn check_packages(pool: &DescriptorPool) -> Result<(), Error> {
    match pool.files().find(|file| file.package_name().is_empty()) {
        None => Ok(()),
        Some(file) => {
            Err(Error::contract(file.name(), "the file has no package: expected one, as in `package shop;`"))
        }
    }
}

fn config(set: &FileDescriptorSet, transport: &str, out: &Path) -> Config {
    let mut config = Config::new();
    config
        .out_dir(out)
        .include_file("contracts.rs")
        // The same message has one encoding: that of a repeated call is compared.
        .btree_map(["."])
        .prost_path(format!("{transport}::codegen::prost"));
    for name in well_known::WITH_A_TYPE {
        config.extern_path(format!(".google.protobuf.{name}"), format!("{transport}::well_known::{name}"));
    }
    // What prost writes for `Debug` of a map names the crate prost, which is no dependency of the contract's crate.
    let with_maps = with_maps(set);
    config.skip_debug(&with_maps);
    for message in with_maps {
        config.type_attribute(message, "#[derive(Debug)]");
    }
    config
}

/// The messages of the packages with a map in them, at any depth: what holds for a name holds for all below it.
fn with_maps(set: &FileDescriptorSet) -> Vec<String> {
    let of_file = |file: &FileDescriptorProto| {
        let with_maps = file.message_type.iter().filter(|message| has_map(message));
        with_maps.map(|message| format!(".{}.{}", file.package(), message.name())).collect::<Vec<_>>()
    };
    set.file.iter().filter(|file| !well_known::is_googles(file.package())).flat_map(of_file).collect()
}

fn has_map(message: &DescriptorProto) -> bool {
    let is_map = message.options.as_ref().is_some_and(|options| options.map_entry());
    is_map || message.nested_type.iter().any(has_map)
}
