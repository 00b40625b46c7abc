//! What a host wrote outlives its program, as far as a real disk would keep it.

use std::time::Duration;

use sim::{
    Address, Disk, Event, Fault, FaultKind, HostContext, HostResult, Keep, Load, Network, Plan, Rehearsal,
    Reply, Request, Scenario, Swarm, What,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SYNCED: u8 = 1;
const NOT_SYNCED: u8 = 2;

/// Writes each byte that it is sent, synced or not as the byte says, and answers with all that is on its disk.
async fn store(host: HostContext) -> HostResult {
    let listener = host.listen(1).await?;
    let disk = host.disk("log");
    let _last_words = LastWords(disk.clone());
    loop {
        let (mut io, _) = listener.accept().await?;
        let byte = io.read_u8().await?;
        disk.append(&[byte; 8])?;
        if byte == SYNCED {
            disk.sync()?;
        }
        let bytes = disk.read()?;
        io.write_u16(u16::try_from(bytes.len())?).await?;
        io.write_all(&bytes).await?;
    }
}

/// Writes when the program is dropped, which no killed process could.
struct LastWords(Disk);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.append(b"last words").unwrap_or_default();
    }
}

async fn ask(host: HostContext, request: Request) -> std::io::Result<Reply> {
    let mut io = host.net().connect(&Address::Tcp { host: "store".to_owned(), port: 1 }).await?;
    io.write_u8(if request.argument == "synced" { SYNCED } else { NOT_SYNCED }).await?;
    let mut bytes = vec![0; usize::from(io.read_u16().await?)];
    io.read_exact(&mut bytes).await?;
    Ok(Reply::ok(bytes.iter().map(u8::to_string).collect::<String>()))
}

fn scenario() -> Scenario {
    let nothing = Load::new(0..=0, Duration::ZERO, Duration::ZERO..=Duration::ZERO);
    Scenario::new("disk", "one host writes", nothing, Swarm::calm()).host("store", store).client(
        "client",
        |host| {
            move |request| {
                let host = host.clone();
                async move {
                    ask(host, request).await.unwrap_or_else(|error| Reply::failed("IO", error.to_string()))
                }
            }
        },
    )
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Writes a synced and an unsynced part, lets `what` happen, and writes again.
fn around(what: FaultKind, seed: u64) -> Rehearsal {
    let request = |(id, (at, argument)): (u32, (u64, &str))| {
        let (client, kind, argument) = ("client".to_owned(), "write".to_owned(), argument.to_owned());
        Request {
            id,
            at: ms(at),
            client,
            kind,
            argument,
            deadline: ms(1000),
            sends_id: None,
            metadata: Vec::new(),
        }
    };
    let plan = Plan {
        scenario: "disk".to_owned(),
        seed,
        planted: None,
        options: Default::default(),
        network: Network { latency_min: ms(1), latency_max: ms(1), yield_percent: 0 },
        faults: vec![Fault { from: ms(100), lasts: ms(100), what }],
        in_flight_max: None,
        requests: (1..).zip([(0, "synced"), (50, "unsynced"), (300, "synced")]).map(request).collect(),
        probes: Vec::new(),
    };
    let rehearsal = sim::rehearse(&scenario(), &plan, Keep::Trace);
    assert_eq!(rehearsal.violation, None);
    rehearsal
}

/// What the last call found on the disk.
fn found(rehearsal: &Rehearsal) -> &str {
    rehearsal.calls[2].reply.as_ref().map(|reply| reply.value.as_str()).expect("the last call ends")
}

fn store_host() -> String {
    "store".to_owned()
}

#[test]
fn a_kill_keeps_all_that_was_written() {
    let rehearsal = around(FaultKind::Kill { host: store_host() }, 1);
    assert_eq!(found(&rehearsal), "111111112222222211111111");
}

#[test]
fn a_power_loss_keeps_what_was_synced_and_of_the_rest_what_the_seed_has_it() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let rehearsal = around(FaultKind::PowerLoss { host: store_host() }, seed);
        let found = found(&rehearsal);
        let unsynced = found.trim_matches('1');
        assert!(found.starts_with("11111111") && found.ends_with("11111111"), "{found}");
        assert!("22222222".starts_with(unsynced), "{found}");
        lengths.insert(unsynced.len());
    }
    assert!(lengths.len() > 4, "{lengths:?}");
}

#[test]
fn a_disk_does_the_same_each_time_and_its_use_is_in_the_trace() {
    let [one, other] = [0, 1].map(|_| around(FaultKind::PowerLoss { host: store_host() }, 7));
    assert_eq!((one.trace_hash, found(&one)), (other.trace_hash, found(&other)));
    let uses = |event: &Event| if let What::Disk(used) = &event.what { Some(used.how) } else { None };
    let uses: Vec<_> = one.events.iter().filter_map(uses).collect();
    let expected = ["append", "sync", "read", "append", "read", "lost", "append", "sync", "read"];
    assert_eq!(uses, expected);
}
