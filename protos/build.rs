//! Compiles every contract below this folder.

fn main() -> Result<(), rehearsal_build::Error> {
    rehearsal_build::compile_for("::transport", ".")
}
