//! Finds the `.proto` files below a folder, and reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use protox::Compiler;
use protox::file::{ChainFileResolver, GoogleFileResolver, IncludeFileResolver};
use protox::prost_reflect::DescriptorPool;

use crate::annotations::AnnotationsResolver;
use crate::error::Error;

/// What all files below `root` say, and what they import.
pub(crate) fn read(root: &Path) -> Result<DescriptorPool, Error> {
    let files = proto_files(root)?;
    if files.is_empty() {
        return Err(Error::NoContracts(root.to_owned()));
    }
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

/// Every `.proto` file below `root`, in the order of their names.
fn proto_files(root: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let path = entry.map_err(Error::io(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "proto") {
                found.insert(path);
            }
        }
    }
    Ok(found)
}
