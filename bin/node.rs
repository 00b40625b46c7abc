//! The example services as a node: a main as any user writes it.

use std::process::ExitCode;

use node::App;

#[global_allocator]
static ALLOCATOR: node::MiMalloc = node::MiMalloc;

fn main() -> ExitCode {
    node::main("node", |()| actors::services().into_iter().collect::<App>())
}
