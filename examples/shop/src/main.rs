//! The shop as a node. `shop --help` tells all about it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use node::clap;
use shop::{Bank, Disks};

#[global_allocator]
static ALLOCATOR: node::MiMalloc = node::MiMalloc;

/// What this node has besides the flags of every node.
#[derive(clap::Args)]
struct Own {
    /// How long the bank takes
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = node::config::duration)]
    bank: Duration,

    /// The folder in which the shop remembers
    #[arg(long, value_name = "FOLDER", default_value = "shop-data")]
    data: PathBuf,
}

fn main() -> ExitCode {
    node::main("shop", |own: Own| shop::app(Disks::in_folder(own.data), Bank::new(own.bank)))
}
