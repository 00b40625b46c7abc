//! Compiles contracts (`.proto`) into Rust, for the build script of the crate that holds them.
//!
//! For every message: a prost struct with the JSON mapping of protobuf. (Of Google's messages, fields may be `Timestamp`,
//! `Duration` and the wrappers, and requests and answers `Empty`.) For every service `Greeter`
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
//! fn main() -> Result<(), rehearsal_build::Error> {
//!     rehearsal_build::compile("protos")
//! }
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
mod generate;
mod json;
mod names;
mod rest;
mod service;
mod sources;
#[cfg(test)]
mod tests;
mod well_known;

use std::path::{Path, PathBuf};

pub use crate::error::Error;

/// Compiles every `.proto` file below the folder `root` for a crate that depends on `rehearsal-node`, and writes
/// `contracts.rs`, a tree of modules that mirrors the packages, into the folder that cargo names.
///
/// # Errors
///
/// Where a contract is wrong, where its routes are wrong or clash, where its names do not go together in Rust, where there
/// is none, or where files cannot be read or written.
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
    generate::generate(root, transport, &out)
}
