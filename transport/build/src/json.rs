//! Adds the JSON mapping of protobuf to the file that prost wrote for each package.

use std::io::Write as _;
use std::path::Path;

use prost_types::FileDescriptorSet;

use crate::error::Error;
use crate::well_known;

pub(crate) fn append(set: FileDescriptorSet, transport: &str, out: &Path) -> Result<(), Error> {
    let mut json = pbjson_build::Builder::new();
    json.emit_fields().ignore_unknown_fields().btree_map(["."]).exclude([".google"]);
    for mut file in set.file {
        file.message_type.iter_mut().for_each(well_known::unwrap_fields);
        json.register_file_descriptor(file);
    }
    let written = json.generate(&["."], |_| Ok(Vec::new())).map_err(Error::io(out))?;
    for (package, code) in written {
        let code = String::from_utf8_lossy(&code)
            .replace("::pbjson::", "pbjson::")
            // The same message has one JSON, whatever its maps hold.
            .replace("std::collections::HashMap", "std::collections::BTreeMap");
        let path = out.join(format!("{package}.rs"));
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        // The code names the two crates as if they were this one's dependencies.
        let use_crates = format!("#[allow(unused_imports)]\nuse {transport}::codegen::{{pbjson, serde}};");
        file.and_then(|mut file| writeln!(file, "{use_crates}\n{code}")).map_err(Error::io(&path))?;
    }
    Ok(())
}
