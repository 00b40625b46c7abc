//! Compiles contracts (`.proto`) into Rust, for the build script of the crate that holds them.
//!
//! For every message: a prost struct with the JSON mapping of protobuf. For every service `Greeter`
//! of a package: a module `greeter` with
//!
//! * one type for each rpc, which is a `transport::Method`;
//! * `Greeter`, the `transport::Contract`, which binds every rpc to an actor: an actor that lacks a
//!   handler does not compile;
//! * `Client`, which calls the service wherever it is placed.
//!
//! No `protoc` is needed. REST routes come from the standard `google.api.http` option. The whole of a build script:
//!
//! ```no_run
//! rehearsal_build::compile("protos").expect("the contracts are right");
//! ```
//!
//! and of the module that holds what it writes, with a module for each package inside:
//!
//! ```ignore
//! pub mod contracts {
//!     include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
//! }
//! ```

mod annotations;
mod error;
mod fields;
mod rest;
mod service;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};
use protox::prost_reflect::DescriptorPool;

use crate::annotations::AnnotationsResolver;
pub use crate::error::Error;
use crate::fields::Fields;
use crate::rest::Routes;
use crate::service::Services;

/// Compiles every `.proto` file below the folder `root` for a crate that depends on `rehearsal-node`, and writes
/// `contracts.rs`, a tree of modules that mirrors the packages, into the folder that cargo names.
///
/// # Errors
///
/// Where a contract is wrong, where its routes are wrong or clash, or where files cannot be read or written.
pub fn compile(root: impl AsRef<Path>) -> Result<(), Error> {
    compile_for("::node::transport", root)
}

/// The same for a crate that knows the transport under another path: generated code names what it needs below it.
///
/// # Errors
///
/// As [`compile`].
#[expect(clippy::disallowed_methods, reason = "cargo tells build scripts where to write in the environment")]
pub fn compile_for(transport: &str, root: impl AsRef<Path>) -> Result<(), Error> {
    let root = root.as_ref();
    println!("cargo::rerun-if-changed={}", root.display());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(Error::NoOutDir)?);
    let files = proto_files(root)?;
    let pool = parse(root, &files)?;
    let routes = Routes::read(&pool)?;
    let set = FileDescriptorSet {
        file: pool.file_descriptor_protos().filter(|file| is_ours(file)).cloned().collect(),
    };
    prost_build::Config::new()
        .out_dir(&out)
        .include_file("contracts.rs")
        // The same message has one encoding: that of a repeated call is compared.
        .btree_map(["."])
        .prost_path(format!("{transport}::codegen::prost"))
        .service_generator(Box::new(Services::new(routes, Fields::read(&pool), transport)))
        .compile_fds(set.clone())?;
    append_json(&set, transport, &out)
}

/// Every `.proto` file below `root`, in the order of their names.
fn proto_files(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "proto") {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

fn parse(root: &Path, files: &BTreeSet<PathBuf>) -> Result<DescriptorPool, Error> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(root.to_owned()));
    resolver.add(AnnotationsResolver);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in files {
        compiler.open_file(file)?;
    }
    Ok(compiler.descriptor_pool())
}

/// The options of Google are known to the generator and need no code of their own.
fn is_ours(file: &FileDescriptorProto) -> bool {
    !file.package().starts_with("google.")
}

/// Adds the JSON mapping to the file that prost wrote for each package.
fn append_json(set: &FileDescriptorSet, transport: &str, out: &Path) -> Result<(), Error> {
    let mut json = pbjson_build::Builder::new();
    json.emit_fields().ignore_unknown_fields().btree_map(["."]);
    for file in &set.file {
        json.register_file_descriptor(file.clone());
    }
    let written = json.generate(&["."], |_| Ok(Vec::new()))?;
    for (package, code) in written {
        use io::Write as _;
        let code = String::from_utf8_lossy(&code).replace("::pbjson::", "pbjson::");
        let mut file = std::fs::OpenOptions::new().append(true).open(out.join(format!("{package}.rs")))?;
        // The code names the two crates as if they were this one's dependencies.
        writeln!(file, "#[allow(unused_imports)]\nuse {transport}::codegen::{{pbjson, serde}};\n{code}")?;
    }
    Ok(())
}
