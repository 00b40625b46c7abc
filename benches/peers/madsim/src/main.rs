//! The two-hop calls of the bench `rehearsal`, as madsim-tonic simulates them: client -> service2 -> service1.
//!
//! madsim-tonic hands messages over as they are: no HTTP, no HPACK, no protobuf encoding. What its generator would
//! write of a service is written by hand in `service`, so that no build script is needed.
//!
//! Arguments: how many calls, how many in flight. Output: how many seconds of processor time the calls took.

mod call;
mod service;

use std::net::SocketAddr;
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::time::sleep;

use crate::service::{Greets, Names, Service};

/// Everything that may go wrong here ends the program.
type Error = Box<dyn std::error::Error + Send + Sync>;

const SERVICE1: &str = "10.0.0.1:50051";
const SERVICE2: &str = "10.0.0.2:50051";

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut number = || -> Result<usize, Error> { Ok(arguments.next().ok_or("two numbers")?.parse()?) };
    let (calls, in_flight) = (number()?, number()?);
    let mut config = madsim::Config::default();
    config.net.send_latency = Duration::from_millis(1)..Duration::from_millis(5);
    let runtime = Runtime::with_seed_and_config(7, config);
    let seconds = runtime.block_on(play(calls, in_flight))?;
    println!("{seconds}");
    Ok(())
}

/// Starts both services, makes one call to see that they work, and then all calls, `in_flight` at once.
async fn play(calls: usize, in_flight: usize) -> Result<f64, Error> {
    let service1: SocketAddr = SERVICE1.parse()?;
    node("service1", service1).spawn(async move { service::serve(Service::new(Names), service1).await });
    let service2: SocketAddr = SERVICE2.parse()?;
    node("service2", service2)
        .spawn(async move { service::serve(Service::new(Greets::lazily(SERVICE1)?), service2).await });
    sleep(Duration::from_secs(1)).await;
    let client = node("client", "10.0.0.3:1".parse()?);
    client.spawn(worker(1)).await??;
    let start = cpu_seconds()?;
    let share = |worker| calls / in_flight + usize::from(worker < calls % in_flight);
    let workers: Vec<_> = (0..in_flight).map(|number| client.spawn(worker(share(number)))).collect();
    for worker in workers {
        worker.await??;
    }
    Ok(cpu_seconds()? - start)
}

fn node(name: &str, address: SocketAddr) -> NodeHandle {
    Handle::current().create_node().name(name).ip(address.ip()).build()
}

/// Makes so many calls, one after the other, and looks at each answer.
async fn worker(calls: usize) -> Result<(), Error> {
    let channel = call::connect(SERVICE2).await?;
    for _ in 0..calls {
        let answer = call::hello(channel.clone(), "rehearsal").await?;
        if answer != "Hello, REHEARSAL!" {
            return Err(format!("the answer is {answer:?}").into());
        }
    }
    Ok(())
}

/// The processor time of this program so far: the clocks are madsim's, and the kernel's accounts are not.
fn cpu_seconds() -> Result<f64, Error> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos: u64 = stat.split_whitespace().next().ok_or("schedstat is empty")?.parse()?;
    Ok(nanos as f64 / 1e9)
}
