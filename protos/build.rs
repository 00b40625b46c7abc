//! Compiles every contract below this folder.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=.");
    let out = std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run through cargo")?;
    rehearsal_build::compile(Path::new("."), Path::new(&out)).map_err(|error| error.to_string())?;
    Ok(())
}
