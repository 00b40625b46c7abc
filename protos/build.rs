//! Compiles every contract below this folder.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    rehearsal_build::compile_for("::transport", ".").map_err(|error| error.to_string())?;
    Ok(())
}
