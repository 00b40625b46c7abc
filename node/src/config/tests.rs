//! What a program's own flags are: the same as every node's.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use actix::Actor;
use tempfile::NamedTempFile;
use transport::{Contract, Serve, Service, service};

use super::program::{Program, Read};
use super::{Config, ConfigError, Defaults, duration};
use crate::app::App;

/// A contract without rpcs, and its actor.
struct Orders;

impl Contract for Orders {
    const NAME: &'static str = "orders";
    const METHODS: &'static [transport::Rpc] = &[];
}

impl Actor for Orders {
    type Context = actix::Context<Self>;
}

impl Serve for Orders {
    type Contract = Self;
}

impl service::Bind<Self> for Orders {
    fn bind(_: &mut service::Binding<'_, Self>) {}
}

/// What the shop has besides a node's own flags.
#[derive(Debug, PartialEq, clap::Args)]
struct Own {
    /// How long the bank takes
    #[arg(long, short, default_value = "20ms", value_name = "DURATION", value_parser = duration)]
    bank: Duration,

    /// Where the goods are
    #[arg(long, value_delimiter = ',')]
    depots: Vec<String>,

    /// How much there is of each
    #[arg(long, default_value_t = 10)]
    stock: u32,

    /// Whether to sell on credit
    #[arg(long)]
    credit: bool,

    /// Who owns it
    #[arg(long)]
    owner: Option<String>,
}

/// A flag that must be given.
#[derive(Debug, clap::Args)]
struct Required {
    /// The key of the till
    #[arg(long)]
    till: String,
}

/// A node of one service.
pub(crate) fn app() -> App {
    App::new().add(Service::on_each_worker(|()| Orders))
}

fn read<O: clap::Args>(
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<(O, Read<App>), ConfigError> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let arguments = std::iter::once(&"shop").chain(arguments).map(Into::into).collect();
    let variable = |name: &str| variables.get(name).map(Into::into);
    let mut made = None;
    let defaults = Defaults { workers: 3, max_buffered: 100_000_000 };
    let program = Program { name: "shop", arguments, variable: &variable, defaults: Some(defaults) };
    let read = program.read(|own: O| {
        made = Some(own);
        app()
    })?;
    Ok((made.expect("the app was made"), read))
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(text.as_bytes()).expect("a file can be written");
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a path of ASCII")
}

#[track_caller]
fn wrong<O: clap::Args + std::fmt::Debug>(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    match read::<O>(arguments, variables) {
        Err(ConfigError::Wrong(text)) => text,
        Err(ConfigError::Help(text)) => panic!("help: {text}"),
        Ok((own, _)) => panic!("{own:?} was read"),
    }
}

#[test]
fn an_own_flag_overrides_its_variable_which_overrides_the_file_which_overrides_the_default() {
    let file = file("bank = \"1s\"\n");
    let from = ["--config", path(&file)];
    let bank = |arguments: &[&str], variables: &[(&str, &str)]| {
        let (own, read) = read::<Own>(arguments, variables).expect("it reads");
        let printed = read.printed.lines().find_map(|line| line.strip_prefix("bank = ")).map(str::to_owned);
        (own.bank.as_millis(), printed.expect("--check prints it"))
    };
    assert_eq!(bank(&[], &[]), (20, "\"20ms\"".to_owned()));
    assert_eq!(bank(&from, &[]).0, 1000);
    assert_eq!(bank(&[], &[("NODE_CONFIG", path(&file))]).0, 1000);
    assert_eq!(bank(&from, &[("SHOP_BANK", "2s")]).0, 2000);
    assert_eq!(bank(&from, &[("SHOP_BANK", "")]).0, 1000, "an empty variable is none");
    assert_eq!(bank(&from, &[("NODE_BANK", "2s")]).0, 1000, "it is the shop's");
    let flag = [&from[..], &["--bank", "3s"]].concat();
    assert_eq!(bank(&flag, &[("SHOP_BANK", "2s")]), (3000, "\"3s\"".to_owned()));
}

#[test]
fn what_check_prints_of_own_keys_reads_back() {
    for arguments in [
        &[][..],
        &["--bank", "1m 30s", "--depots", "a,b \"c\"", "--stock", "7", "--credit", "--owner", "0x1"],
        &["--owner", "12"],
    ] {
        let (own, written) = read::<Own>(arguments, &[]).expect("it reads");
        let file = file(&written.printed);
        let (again, back) = read::<Own>(&["--config", path(&file)], &[]).expect("it reads back");
        assert_eq!((again, back.config, &back.printed), (own, written.config, &written.printed));
    }
    let (_, read) = read::<Own>(&["--credit", "--stock", "7"], &[]).expect("it reads");
    for line in ["depots = []", "stock = 7", "credit = true"] {
        assert!(read.printed.lines().any(|printed| printed == line), "{line} in {}", read.printed);
    }
}

#[test]
fn switches_and_lists_may_come_from_everywhere() {
    let switched = file("credit = true\ndepots = [\"a\", \"b\"]\n");
    let (own, _) = read::<Own>(&["--config", path(&switched)], &[]).expect("it reads");
    assert_eq!((own.credit, own.depots.len()), (true, 2));
    let variables = [("SHOP_CREDIT", "false"), ("SHOP_DEPOTS", "a,b,c")];
    let (own, _) = read::<Own>(&["--config", path(&switched)], &variables).expect("it reads");
    assert_eq!((own.credit, own.depots.len()), (false, 3));
    let said = wrong::<Own>(&[], &[("SHOP_CREDIT", "maybe")]);
    assert!(said.contains("maybe") && said.ends_with("(in SHOP_CREDIT)"), "{said}");
}

#[test]
fn a_wrong_own_value_is_told_its_key_what_was_expected_and_where_it_stands() {
    let file = file("bank = \"0s\"\n");
    let from = path(&file);
    let in_file = format!(" (in {from})");
    for (arguments, variables, source) in [
        (&["--bank", "0s"][..], &[][..], ""),
        (&["--bank", "0s"], &[("SHOP_BANK", "0s")], ""),
        (&["-b", "0s"], &[("SHOP_BANK", "1s")], ""),
        (&[], &[("SHOP_BANK", "0s")], " (in SHOP_BANK)"),
        (&["--config", from], &[], &in_file),
        (&["--config", from], &[("SHOP_BANK", "0s")], " (in SHOP_BANK)"),
    ] {
        let said = wrong::<Own>(arguments, variables);
        for word in ["--bank", "'0s'", "expected a duration above zero"] {
            assert!(said.contains(word), "{word} in {said}");
        }
        assert_eq!(said.split(" (in").nth(1), source.split(" (in").nth(1), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
    let unknown = self::file("bnak = 1\n");
    let said = wrong::<Own>(&["--config", path(&unknown)], &[]);
    assert!(said.contains("unknown key bnak") && said.contains("log, bank, depots"), "{said}");
}

#[test]
fn help_tells_own_flags_under_a_heading_of_their_own_with_their_variables() {
    let Err(ConfigError::Help(help)) = read::<Own>(&["--help"], &[("SHOP_BANK", "5ms")]) else {
        panic!("help was asked for")
    };
    let (nodes, own) = help.split_once("Options of shop:").expect("a heading");
    let (_, nodes) = nodes.split_once("Options of every node:").expect("a heading");
    for (part, words) in [
        (nodes, &["--http <", "[env: NODE_HTTP=]", "[possible values: orders]", "--config <", "--check"][..]),
        (own, &["--bank <DURATION>", "[env: SHOP_BANK=5ms]", "[default: 20ms]", "How long the bank takes"]),
    ] {
        for word in words {
            assert!(part.contains(word), "{word} in {part}");
        }
    }
    assert!(!nodes.contains("--bank"));
    let Err(ConfigError::Help(help)) = read::<()>(&["-h"], &[]) else { panic!("help was asked for") };
    assert!(!help.contains("Options of shop") && help.contains("NODE_HTTP=]"), "{help}");
}

#[test]
fn what_is_wrong_before_help_is_told_and_what_comes_after_it_is_not() {
    let said = wrong::<Own>(&["--services", "payments", "--help"], &[]);
    assert!(said.contains("--services") && said.contains("possible values: orders"), "{said}");
    assert!(matches!(read::<Own>(&["--help", "--bank", "0s"], &[]), Err(ConfigError::Help(_))));
}

#[test]
fn an_own_flag_that_must_be_given_may_come_from_every_source() {
    let said = wrong::<Required>(&[], &[]);
    assert!(said.contains("--till"), "{said}");
    assert_eq!(read::<Required>(&["--till", "a"], &[]).expect("it reads").0.till, "a");
    assert_eq!(read::<Required>(&[], &[("SHOP_TILL", "b")]).expect("it reads").0.till, "b");
    let file = file("till = \"c\"\n");
    assert_eq!(read::<Required>(&["--config", path(&file)], &[]).expect("it reads").0.till, "c");
    let help = read::<Required>(&["--help"], &[]);
    assert!(matches!(help, Err(ConfigError::Help(text)) if text.contains("--till <TILL>")));
}

#[test]
fn a_program_may_say_its_own_version() {
    #[derive(Debug, clap::Args)]
    #[command(version = "9.8.7")]
    struct Versioned {}
    let said = |said: Result<_, ConfigError>| said.expect_err("that is no configuration").to_string();
    assert_eq!(said(read::<Versioned>(&["--version"], &[]).map(drop)), "shop 9.8.7\n");
    let ours = format!("shop {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(said(read::<()>(&["--version"], &[]).map(drop)), ours);
}

#[test]
fn what_holds_own_flags_may_have_any_name() {
    #[derive(Debug, clap::Args)]
    struct Config {
        /// How many
        #[arg(long, default_value_t = 1)]
        shelves: u8,
    }
    assert_eq!(read::<Config>(&["--shelves", "2"], &[]).expect("it reads").0.shelves, 2);
}

#[test]
#[should_panic(expected = "the flag http is one of every node's")]
fn an_own_flag_that_every_node_has_is_a_bug_of_the_program() {
    #[derive(Debug, clap::Args)]
    struct Taken {
        /// It is taken
        #[arg(long)]
        http: String,
    }
    read::<Taken>(&["--http", "none"], &[]).ok();
}

#[test]
fn what_nobody_says_follows_from_the_machine_and_is_the_same_in_every_rehearsal() {
    let here = read::<()>(&[], &[]).expect("it reads").1.config;
    assert_eq!((here.workers, here.max_buffered), (3, 100_000_000));
    let none: [&str; 0] = [];
    let rehearsed = Config::from_flags(&app(), &none).expect("it reads");
    assert_eq!((rehearsed.workers, rehearsed.max_buffered), (2, 64 * 1024 * 1024));
}

#[test]
fn a_worker_has_room_for_the_largest_message_beside_others() {
    let of = |buffered: &str| {
        Config::from_flags(&app(), &["--max-message-size", "1000", "--max-buffered", buffered])
    };
    of("4000").expect("it is enough");
    let Err(ConfigError::Wrong(said)) = of("3999") else { panic!("it is too little") };
    assert!(
        said.starts_with("--max-buffered 3999 is less than four times --max-message-size 1000: expected"),
        "{said}"
    );
}

#[test]
fn headers_of_requests_that_handlers_see_are_those_that_are_named() {
    let headers = |flags: &[&str]| Config::from_flags(&app(), flags).map(|config| config.rest().headers);
    assert_eq!(headers(&[]).expect("it reads"), ["authorization", "traceparent", "tracestate"]);
    assert_eq!(headers(&["--rest-headers", "X-Tenant,cookie"]).expect("it reads"), ["x-tenant", "cookie"]);
    assert!(headers(&["--rest-headers", "none"]).expect("it reads").is_empty());
    headers(&["--rest-headers", "none,cookie"]).expect_err("it is not both");
}
