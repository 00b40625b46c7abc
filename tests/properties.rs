//! What holds of the configuration whatever is in it.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use actors::services;
use node::Address;
use node::config::{Listen, LogFormat, PeerConfig, PolicyConfig, Switch};
use node::{Config, ConfigError};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::string::string_regex;
use tempfile::NamedTempFile;

const YEAR_SECONDS: u64 = 365 * 24 * 3600;

fn names() -> Vec<String> {
    services().iter().map(|service| service.name().to_owned()).collect()
}

fn socket_address() -> impl Strategy<Value = SocketAddr> {
    let plain = any::<(IpAddr, u16)>().prop_map(SocketAddr::from);
    let scoped = any::<(std::net::Ipv6Addr, u16, u32)>();
    prop_oneof![plain, scoped.prop_map(|(ip, port, scope)| SocketAddrV6::new(ip, port, 0, scope).into())]
}

fn http() -> impl Strategy<Value = Listen> {
    prop_oneof![Just(Listen::None), socket_address().prop_map(Listen::Tcp)]
}

fn grpc() -> impl Strategy<Value = Listen> {
    prop_oneof![http(), "[^\\x00]{1,30}".prop_map(|path| Listen::Unix(path.into()))]
}

fn address() -> impl Strategy<Value = Address> {
    let host = prop_oneof![
        "[a-zA-Z0-9._-]{1,30}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ];
    let tcp = (host, 1..=u16::MAX).prop_map(|(host, port)| Address::Tcp { host, port });
    // Commas and semicolons separate addresses and peers; space around an address is not part of it.
    let unix = "/[^\\x00,;\\s]{1,30}".prop_map(|path| Address::Unix(path.into()));
    let dns = ("[a-zA-Z0-9._-]{1,30}", 1..=u16::MAX).prop_map(|(name, port)| Address::Dns { name, port });
    prop_oneof![3 => tcp, 1 => dns, 1 => unix]
}

fn peers() -> impl Strategy<Value = Vec<PeerConfig>> {
    let all = names();
    let count = all.len();
    (subsequence(all, 0..=count), prop::collection::vec(prop::collection::vec(address(), 1..4), count))
        .prop_map(|(names, addresses)| {
            names.into_iter().zip(addresses).map(|(name, addresses)| PeerConfig { name, addresses }).collect()
        })
}

/// What may be said of calls, from the widest to the narrowest.
fn policies() -> impl Strategy<Value = Vec<PolicyConfig>> {
    let said = (duration(), 0..=1000_u32, 1..=10_u32).prop_map(|(deadline, ratio, attempts)| {
        vec![
            format!("attempts={attempts}"),
            format!("deadline={}", humantime::format_duration(deadline)),
            format!("budget-ratio={}", f64::from(ratio) / 1e3),
            "retry-codes=none".to_owned(),
            format!("breaker={attempts}"),
            "max-in-flight=adaptive".to_owned(),
            format!("service1.attempts={attempts}"),
            "service1.breaker=50%".to_owned(),
            "service1.max-in-flight=none".to_owned(),
            "service2.max-in-flight=1".to_owned(),
            "service1.ProcessName.retry-codes=CANCELLED,UNAVAILABLE".to_owned(),
            format!("service1.ProcessName.backoff={}", humantime::format_duration(deadline)),
            "service2.SayHello.hedge=true".to_owned(),
            "service2.SayHello.key=name".to_owned(),
        ]
    });
    said.prop_flat_map(|said| subsequence(said, 0..=14))
        .prop_map(|said| said.iter().map(|text| text.parse().expect("it may be said")).collect())
}

/// Up to the nanosecond, and up to a year.
fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..YEAR_SECONDS).prop_map(Duration::from_secs),
        (1..YEAR_SECONDS * 1000).prop_map(Duration::from_millis),
        (1..YEAR_SECONDS * 1_000_000_000).prop_map(Duration::from_nanos),
        Just(Duration::from_secs(YEAR_SECONDS)),
    ]
}

fn log() -> impl Strategy<Value = String> {
    "(trace|debug|info|WARN|error|off|[0-5])(,[a-z_]{1,8}(::[a-z_]{1,8})?(=(trace|info|off))?){0,3}"
}

fn rest_headers() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("x-[a-z0-9_-]{1,8}", 0..3)
}

/// Every configuration that a node would start with.
fn config() -> impl Strategy<Value = Config> {
    let services = subsequence(names(), 1..=services().len()).prop_shuffle();
    let places = (services, http(), grpc(), peers(), policies());
    let times = (
        duration(),
        duration(),
        duration(),
        duration(),
        prop_oneof![Just(Duration::ZERO), duration()],
        duration(),
    );
    let sizes = (1..=u32::MAX).prop_flat_map(|size| (Just(size), u64::from(size) * 4..=1 << 40));
    let store = "none|[a-z /.-]{1,20}".prop_map(|path| path.parse().expect("it is a path or none"));
    let keys = (1..=100_000_000_u32, 1..=1_u64 << 40, store);
    let numbers = (1..=512_u16, 1..=1_000_000_u32, 1..=1_000_000_u32, sizes, keys);
    let log_format = select(&[LogFormat::Auto, LogFormat::Json, LogFormat::Text][..]);
    (places, times, numbers, rest_headers(), log_format, log())
        .prop_map(
            |((services, http, grpc, peers, policies), times, numbers, rest_headers, log_format, log)| {
                Config {
                    services,
                    http,
                    grpc,
                    peers,
                    policies,
                    workers: numbers.0,
                    deadline: times.0,
                    drain_delay: times.4,
                    drain_timeout: times.1,
                    keepalive: times.2,
                    greeting_timeout: times.5,
                    max_calls: numbers.1,
                    max_streams: numbers.2,
                    max_message_size: numbers.3.0,
                    max_buffered: numbers.3.1,
                    shed_by_deadline: if numbers.0 > 256 { Switch::On } else { Switch::Off },
                    idempotency_keys_for: times.3,
                    max_idempotency_keys: numbers.4.0,
                    max_idempotency_bytes: numbers.4.1,
                    attempts_header: if numbers.0 > 256 { "x-attempts" } else { "none" }.to_owned(),
                    idempotency_store: numbers.4.2,
                    rest_headers,
                    log_format,
                    log,
                }
            },
        )
        .prop_filter("a node serves something, and knows where its callees are", is_complete)
}

fn is_complete(config: &Config) -> bool {
    let hosted = services().into_iter().filter(|service| config.hosts(service.name()));
    let mut callees = hosted.flat_map(|service| service.callees());
    (&config.http, &config.grpc) != (&Listen::None, &Listen::None)
        && callees.all(|callee| config.hosts(callee) || !config.addresses(callee).is_empty())
}

const KEYS: &str =
    "(services|http|grpc|peer|policy|workers|deadline|drain-delay|drain-timeout|max-calls|rest-headers|log)";

/// Lines of a file, of which some are right.
fn close_to_a_file() -> impl Strategy<Value = String> {
    let value = r#"("[0-9a-z.:=,-]{0,20}"|[0-9.e+-]{1,20}|\["?\PC{0,8}"?\]?|\{|\PC{0,9})"#;
    string_regex(&format!("({KEYS} ?= ?{value}\\n?){{0,4}}")).expect("a regular expression")
}

/// A word of a command line: one of our flags, mostly with a value that may be right.
fn word() -> impl Strategy<Value = String> {
    let flag = string_regex(&format!("--{KEYS}=([0-9a-z.:=,/-]{{0,20}}|\\PC{{0,20}})"));
    prop_oneof![4 => flag.expect("a regular expression"), 1 => any::<String>()]
}

fn read(file: &NamedTempFile) -> Result<Config, ConfigError> {
    let path = file.path().to_str().expect("a path of ASCII");
    Config::from_flags(&services().into_iter().collect(), &["--config", path])
}

fn read_back(printed: &str) -> Config {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(printed.as_bytes()).expect("a file can be written");
    read(&file).unwrap_or_else(|error| panic!("{error}, of\n{printed}"))
}

proptest! {
    #[test]
    fn a_configuration_that_is_printed_reads_back_as_itself(config in config()) {
        prop_assert_eq!(read_back(&config.to_string()), config);
    }

    #[test]
    fn a_file_whatever_is_in_it_is_read_or_refused_in_one_line(text in prop_oneof![any::<String>(), close_to_a_file()]) {
        let mut file = NamedTempFile::new().expect("a file can be made");
        file.write_all(text.as_bytes()).expect("a file can be written");
        if let Err(error) = read(&file) {
            prop_assert_eq!(error.to_string().lines().count(), 1, "{}", error);
        }
    }

    #[test]
    fn flags_whatever_they_say_are_read_or_refused(words in prop::collection::vec(word(), 0..4)) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        Config::from_flags(&services().into_iter().collect(), &words).ok();
    }

    #[test]
    fn no_file_whatever_is_in_it_makes_the_parser_panic(
        key in select(&["services", "http", "grpc", "peer", "policy", "workers", "deadline", "rest-headers", "log", "check"][..]),
        value in prop_oneof![".{0,20}", "[0-9.:a-z=,/-]{0,20}"]
    ) {
        let mut file = NamedTempFile::new().expect("a file can be made");
        writeln!(file, "{key} = {}", toml::Value::String(value)).expect("a file can be written");
        if let Err(error) = read(&file) {
            prop_assert!(error.to_string().contains(key), "{error}");
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
