//! Rehearsals of the whole node: REST edge, gRPC edge, actors and carriers as in production, over a
//! simulated network, under faults drawn from a seed.
//!
//! `cargo test` rehearses a few seeds of every scenario, `cargo test -p rehearsal --test sim -- rehearse --help` tells
//! how to rehearse many.

mod afterwards;
mod alone;
mod breakers;
mod busy;
mod bytes;
mod checks;
mod codes;
mod delayed;
mod drained;
mod entered;
mod foreign;
mod forgotten;
mod further;
mod greetings;
mod homes;
mod idempotency;
mod ill;
mod keys;
mod lasting;
mod ledger;
mod lines;
mod logged;
mod mattering;
mod names;
mod parting;
mod patience;
mod probing;
mod refused;
mod replicas;
mod retries;
mod rolling;
mod scenarios;
mod scripts;
mod sending;
mod serving;
mod shared;
mod shed;
mod sizes;
mod state;
mod strangers;
mod terms;
mod trial;
mod visits;
mod window;
mod worlds;

/// A rehearsal builds a world and drops it in milliseconds, on a thread of its own: with glibc's allocator a seventh of
/// its time goes there.
#[global_allocator]
static ALLOCATOR: rehearse::MiMalloc = rehearse::MiMalloc;

fn main() -> std::process::ExitCode {
    if std::env::args().next().is_some_and(|name| name == worlds::STAND_IN) {
        return worlds::node();
    }
    of_endpoints(of_services()).scenarios(worlds::all()).main()
}

/// The scenarios of one service or two, and of what stands before them.
fn of_services() -> rehearse::Runner {
    rehearse::Runner::new(env!("CARGO_MANIFEST_DIR"))
        .dress(env!("CARGO_BIN_EXE_node"))
        .scenarios(scenarios::all())
        .scenario(delayed::delayed())
        .scenario(shed::shed())
        .scenario(mattering::mattering())
        .scenario(busy::busy())
        .scenario(alone::alone())
        .scenario(homes::homes())
        .scenario(homes::returning())
        .scenario(lasting::lasting())
        .scenario(lines::lines())
        .scenario(lines::crowded())
        .scenario(lines::emptied())
        .scenario(logged::logged())
        .scenario(sizes::exact())
        .scenario(keys::keys())
        .scenario(keys::stored())
        .scenario(keys::disks())
        .scenario(keys::undone())
        .scenario(keys::cut())
        .scenario(keys::again())
        .scenario(drained::drained())
        .scenario(forgotten::forgotten())
        .scenario(shared::shared())
        .scenario(refused::refused())
        .scenario(refused::rude())
}

/// Those of several hosts of a service, and of who calls them.
fn of_endpoints(runner: rehearse::Runner) -> rehearse::Runner {
    runner
        .scenario(replicas::replicas())
        .scenario(replicas::cold())
        .scenario(replicas::uneven())
        .scenario(replicas::wavering())
        .scenario(ill::ill())
        .scenario(ill::refusing())
        .scenario(ill::left())
        .scenario(ill::beside())
        .scenario(ill::unbegun())
        .scenario(breakers::breakers())
        .scenario(breakers::limits())
        .scenario(breakers::starved())
        .scenario(breakers::hanging())
        .scenario(parting::parting())
        .scenario(sending::sending())
        .scenario(serving::serving())
        .scenario(serving::waiting())
        .scenario(serving::terse())
        .scenario(serving::mute())
        .scenario(serving::sooner())
        .scenario(serving::announced())
        .scenario(patience::quiet())
        .scenario(patience::unhurried())
        .scenario(patience::short())
        .scenario(patience::hasty())
        .scenario(patience::gone())
        .scenario(patience::hushed())
        .scenario(patience::torn())
        .scenario(patience::few())
        .scenario(patience::unread())
        .scenario(patience::slowly())
        .scenario(strangers::strangers())
        .scenario(strangers::unsaid())
        .scenario(strangers::halves())
        .scenario(names::names())
        .scenario(names::watched())
        .scenario(names::killed())
        .scenario(names::moving())
        .scenario(names::nameless())
        .scenario(rolling::rolling())
        .scenario(retries::retries())
        .scenario(retries::pushback())
        .scenario(codes::codes())
        .scenario(codes::elsewhere())
        .scenario(codes::methods())
        .scenario(codes::saved())
}
