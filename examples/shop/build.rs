fn main() -> Result<(), rehearsal_build::Error> {
    rehearsal_build::compile("protos")
}
