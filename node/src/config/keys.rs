//! The keys of every node: plain data, complete and checked.

use std::fmt;
use std::time::Duration;

use transport::grpc::Keepalive;

use transport::policy::Policies;
use transport::{Address, KeyBounds, Limits, Rpc, Service, rest};

use super::error::ConfigError;
use super::policies::{self, PolicyConfig};
use super::values::{
    Listen, LogFormat, PeerConfig, StoreAt, Switch, delay, duration, filter, header, http_listen, number,
    own_header,
};

/// The most workers that a node may have.
pub(crate) const WORKERS_MAX: u16 = 512;

/// The most that a worker may be allowed to hold for clients: a tebibyte.
const BUFFERED_MAX: u64 = 1 << 40;

/// The most that may be remembered for idempotency keys: a tebibyte.
const REMEMBERED_MAX: u64 = 1 << 40;

/// What follows from the machine where nobody says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) workers: u16,
    pub(crate) max_buffered: u64,
}

/// What a node runs, where it listens, and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Services to host here; calls between them stay in memory
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub services: Vec<String>,

    /// Where REST is served; port 0 takes a free one
    #[arg(long, value_name = "ADDR|none", default_value = "127.0.0.1:8080", value_parser = http_listen)]
    pub http: Listen,

    /// Where gRPC is served; port 0 takes a free one
    #[arg(long, value_name = "ADDR|unix:PATH|none", default_value = "127.0.0.1:50051")]
    pub grpc: Listen,

    /// Where a service is that is not hosted here: http://HOST:PORT, unix:PATH, or dns:///NAME:PORT for all hosts that
    /// a name leads to, which is asked again and again; several are separated by commas. One that is hosted here is called in memory all the same, so that all nodes
    /// may have the same list. Repeatable; in the environment separated by semicolons
    #[arg(long = "peer", value_name = "NAME=URI", value_delimiter = ';')]
    pub peers: Vec<PeerConfig>,

    /// What holds for calls to other services, or for those to one service, or to one of its methods: attempts,
    /// retry-codes, backoff, backoff-max, hedge, deadline, wait-for-ready, key, and for all calls to a service together
    /// budget, budget-ratio, breaker, max-in-flight, health-check. The narrowest counts, and what different sources say is
    /// joined. Repeatable; in
    /// the environment separated by semicolons; in the file also tables like [policy.SERVICE]
    #[arg(long = "policy", value_name = "[SERVICE[.METHOD].]KEY=VALUE", value_delimiter = ';')]
    pub policies: Vec<PolicyConfig>,

    /// Threads; each has its own connections and channels, and its own actors of services that have one on each
    #[arg(long, value_name = "N", default_value = "2", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u16>(text, WORKERS_MAX.into()))]
    pub workers: u16,

    /// The longest that a call takes whose caller does not say: REST requests, unary gRPC calls, calls to peers
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true)]
    pub deadline: Duration,

    /// How long the node still serves who comes when it is told to end: for load balancers that notice late that it is not
    /// ready. REST connections end after each answer meanwhile
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = delay, allow_hyphen_values = true)]
    pub drain_delay: Duration,

    /// The longest that a drain takes, after --drain-delay
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, allow_hyphen_values = true)]
    pub drain_timeout: Duration,

    /// Ping a gRPC connection with open calls that was silent for this long; half of it later it is dead
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration, allow_hyphen_values = true)]
    pub keepalive: Duration,

    /// The longest that a callee that has accepted a gRPC connection takes until it greets, by the SETTINGS of HTTP/2, and then
    /// until it says whether it serves, where it is asked; connecting as a whole takes 20 s at most
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true)]
    pub greeting_timeout: Duration,

    /// The most calls that one service takes on at once on one worker, or in the node if its one actor is there; more
    /// are refused
    #[arg(long, value_name = "N", default_value = "1024", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u32>(text, 1_000_000))]
    pub max_calls: u32,

    /// The most calls with a streamed request or answer that one service takes on at once on one worker, beside
    /// the other calls; more are refused
    #[arg(long, value_name = "N", default_value = "1024", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u32>(text, 1_000_000))]
    pub max_streams: u32,

    /// The largest message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "4194304", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u32>(text, u32::MAX.into()))]
    pub max_message_size: u32,

    /// The most that one worker holds for clients, in bytes: heads of calls, bodies of requests, answers that are not
    /// read yet; more is refused, of those first who hold most. No more is read of who makes it keep much besides: each
    /// call over gRPC that is not taken on, or whose answer is not read, is 8 KiB. Four times --max-message-size at least
    #[arg(long, value_name = "BYTES", default_value = "67108864", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u64>(text, BUFFERED_MAX))]
    pub max_buffered: u64,

    /// Whether a call is refused that has less time left than calls of its method usually take, but for one of eight
    #[arg(long, value_name = "on|off", default_value = "off")]
    pub shed_by_deadline: Switch,

    /// How long the answer to a call with an idempotency key is remembered: one that is repeated in that time is
    /// answered with it, and not handled again
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration, allow_hyphen_values = true)]
    pub idempotency_keys_for: Duration,

    /// The most idempotency keys that the node remembers; calls with more are refused
    #[arg(long, value_name = "N", default_value = "100000", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u32>(text, 100_000_000))]
    pub max_idempotency_keys: u32,

    /// The most that the node remembers for idempotency keys, in bytes of requests and answers; calls with more are
    /// refused
    #[arg(long, value_name = "BYTES", default_value = "67108864", allow_hyphen_values = true,
          value_parser = |text: &str| number::<u64>(text, REMEMBERED_MAX))]
    pub max_idempotency_bytes: u64,

    /// A file that keeps what is remembered for idempotency keys beyond the end of the process, be it a kill or a power
    /// loss. Each call with a key waits for two syncs of its disk then
    #[arg(long, value_name = "PATH|none", default_value = "none")]
    pub idempotency_store: StoreAt,

    /// The headers of REST requests that handlers see as metadata, and no others but idempotency-key
    #[arg(long, value_name = "NAME,...|none", default_value = "authorization,traceparent,tracestate",
          value_delimiter = ',', value_parser = header)]
    pub rest_headers: Vec<String>,

    /// The header of REST answers that tells how many attempts this node made of calls to other nodes for the request: 1
    /// where one worked at once, more where it was repeated or hedged, 0 where nobody was called
    #[arg(long, value_name = "NAME|none", default_value = "none", value_parser = own_header)]
    pub attempts_header: String,

    /// What log lines look like
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub log_format: LogFormat,

    /// Which log lines are written, as in RUST_LOG, which is the default where it is set
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub log: String,
}

impl Config {
    /// Whether `service` is hosted here.
    #[must_use]
    pub fn hosts(&self, service: &str) -> bool {
        self.services.iter().any(|hosted| hosted == service)
    }

    /// Where `service` is, if it is said.
    #[must_use]
    pub fn addresses(&self, service: &str) -> &[Address] {
        let peer = self.peers.iter().find(|peer| peer.name == service);
        peer.map_or(&[], |peer| &peer.addresses)
    }

    /// What holds for the calls to `service`, which has these `rpcs`: in memory, they are tried once.
    #[must_use]
    pub fn policies(&self, service: &str, rpcs: &[Rpc]) -> Policies {
        let policies = policies::policies(&self.policies, (service, rpcs), self.deadline);
        if self.hosts(service) { policies.without_retries() } else { policies }
    }

    /// What each service takes on.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            message_size: size(self.max_message_size),
            calls: size(self.max_calls),
            streams: size(self.max_streams),
        }
    }

    /// The most that a worker holds for clients, in bytes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        usize::try_from(self.max_buffered).unwrap_or(usize::MAX)
    }

    /// How much the node remembers for idempotency keys.
    #[must_use]
    pub fn idempotency_keys(&self) -> KeyBounds {
        KeyBounds {
            kept_for: self.idempotency_keys_for,
            keys: usize::try_from(self.max_idempotency_keys).unwrap_or(usize::MAX),
            bytes: usize::try_from(self.max_idempotency_bytes).unwrap_or(usize::MAX),
        }
    }

    /// How REST requests are served.
    #[must_use]
    pub fn rest(&self) -> rest::Options {
        let headers = self.rest_headers.iter().filter(|name| *name != "none");
        let headers = headers.map(|name| name.parse().expect("names of headers were checked"));
        let attempts_header = Some(self.attempts_header.clone()).filter(|name| name != "none");
        rest::Options { deadline: self.deadline, headers: headers.collect(), attempts_header }
    }

    /// When a connection counts as dead.
    #[must_use]
    pub fn keepalive(&self) -> Keepalive {
        Keepalive { interval: self.keepalive, timeout: self.keepalive / 2, greeting: self.greeting_timeout }
    }

    /// Checks what concerns several keys, and the services that the app has.
    pub(super) fn check_together(&self, services: &[Service]) -> Result<(), ConfigError> {
        self.check_addresses()?;
        if self.services.is_empty() {
            let names: Vec<_> = services.iter().map(Service::name).collect();
            return wrong(format!("--services is empty: expected some of {}", names.join(",")));
        }
        for (index, peer) in self.peers.iter().enumerate() {
            if self.peers[..index].iter().any(|earlier| earlier.name == peer.name) {
                return wrong(format!(
                    "--peer {} is given twice: expected once, with all its addresses",
                    peer.name
                ));
            }
        }
        if self.max_buffered / 4 < self.max_message_size.into() {
            return wrong(format!(
                "--max-buffered {} is less than four times --max-message-size {}: expected room for one beside others",
                self.max_buffered, self.max_message_size
            ));
        }
        if self.rest_headers.len() > 1 && self.rest_headers.iter().any(|name| name == "none") {
            return wrong("--rest-headers has none among others: expected names of headers, or none".into());
        }
        for service in services.iter().filter(|service| self.hosts(service.name())) {
            self.check_callees(service)?;
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), ConfigError> {
        if self.http == Listen::None && self.grpc == Listen::None {
            return wrong("--http and --grpc are both none: expected an address for one of them".into());
        }
        if let (Listen::Tcp(http), Listen::Tcp(grpc)) = (&self.http, &self.grpc)
            && http == grpc
            && http.port() != 0
        {
            return wrong(format!(
                "--http and --grpc are both {http}: expected an address for each, or none for one of them"
            ));
        }
        Ok(())
    }

    fn check_callees(&self, service: &Service) -> Result<(), ConfigError> {
        let missing = |callee: &&&str| !self.hosts(callee) && self.addresses(callee).is_empty();
        let Some(callee) = service.callees().iter().find(missing) else { return Ok(()) };
        wrong(format!(
            "--peer {callee} is missing: {} calls {callee}, expected --peer {callee}=http://HOST:PORT \
             or {callee} among --services",
            service.name()
        ))
    }
}

impl fmt::Display for Config {
    /// As a file for `--config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &dyn ToString| toml::Value::String(text.to_string());
        let time = |time: Duration| text(&humantime::format_duration(time));
        let list = |items: Vec<String>| -> toml::Value {
            toml::Value::Array(items.into_iter().map(toml::Value::String).collect())
        };
        writeln!(f, "services = {}", list(self.services.clone()))?;
        writeln!(f, "http = {}", text(&self.http))?;
        writeln!(f, "grpc = {}", text(&self.grpc))?;
        writeln!(f, "peer = {}", list(self.peers.iter().map(ToString::to_string).collect()))?;
        writeln!(f, "policy = {}", list(self.policies.iter().map(ToString::to_string).collect()))?;
        writeln!(f, "workers = {}", self.workers)?;
        writeln!(f, "deadline = {}", time(self.deadline))?;
        writeln!(f, "drain-delay = {}", time(self.drain_delay))?;
        writeln!(f, "drain-timeout = {}", time(self.drain_timeout))?;
        writeln!(f, "keepalive = {}", time(self.keepalive))?;
        writeln!(f, "greeting-timeout = {}", time(self.greeting_timeout))?;
        writeln!(f, "max-calls = {}", self.max_calls)?;
        writeln!(f, "max-streams = {}", self.max_streams)?;
        writeln!(f, "max-message-size = {}", self.max_message_size)?;
        writeln!(f, "max-buffered = {}", self.max_buffered)?;
        writeln!(f, "shed-by-deadline = {}", text(&self.shed_by_deadline))?;
        writeln!(f, "idempotency-keys-for = {}", time(self.idempotency_keys_for))?;
        writeln!(f, "max-idempotency-keys = {}", self.max_idempotency_keys)?;
        writeln!(f, "max-idempotency-bytes = {}", self.max_idempotency_bytes)?;
        writeln!(f, "idempotency-store = {}", text(&self.idempotency_store))?;
        writeln!(f, "rest-headers = {}", list(self.rest_headers.clone()))?;
        writeln!(f, "attempts-header = {}", text(&self.attempts_header))?;
        writeln!(f, "log-format = {}", text(&self.log_format))?;
        write!(f, "log = {}", text(&self.log))
    }
}

fn wrong<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Wrong(text))
}
