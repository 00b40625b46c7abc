//! Nodes as processes of their own, for dress rehearsals: what each is started with, how its lines are read, what is
//! promised of it.

mod gauges;
mod lines;
mod words;

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use sim::{AsProcess, Dress, Places, ProcessEnded, Tempo};

use crate::clients::{GRPC_PORT, HTTP_PORT};
use crate::facts::{GaugesRead, NodeStarted, NodeStopped, StreamMessage};
use crate::nodes::Node;
use crate::scenario::Check;
use crate::setting::Setting;

/// What a node takes to leave besides the time for its drain: connections linger, and the log is written to its end.
const LEAVING: Duration = Duration::from_secs(3);

/// A scenario as it is played on processes.
pub(crate) struct Dressing {
    pub(crate) nodes: Vec<Node>,
    /// The flags that all nodes have.
    pub(crate) flags: Vec<String>,
    /// The name under which this program is the nodes'.
    pub(crate) stand_in: Option<String>,
    pub(crate) checks: Arc<[Check]>,
    pub(crate) setting: Arc<Setting>,
    /// The first host that is no node.
    pub(crate) foreign: Option<String>,
}

impl Dressing {
    /// The scenario at a tempo.
    ///
    /// # Errors
    /// When a host is no node, or strangers come.
    pub(crate) fn at(&self, tempo: Tempo) -> Result<Dress, String> {
        if let Some(host) = &self.foreign {
            return Err(format!("{host} is no node, but a server that only a simulated host runs"));
        }
        if !self.setting.strangers.is_empty() {
            return Err("strangers exist in a simulation only, where time is exact".to_owned());
        }
        let setting = Arc::new(self.setting_at(tempo));
        let judged = self.checks.iter().fold(sim::Scenario::named("", ""), |to, check| check(to, &setting));
        let tells = [
            TypeId::of::<NodeStarted>(),
            TypeId::of::<NodeStopped>(),
            TypeId::of::<StreamMessage>(),
            TypeId::of::<GaugesRead>(),
            TypeId::of::<ProcessEnded>(),
        ];
        let hosts = self.nodes.iter().map(|node| (node.host.clone(), self.as_process(node))).collect();
        let dress = Dress::new(hosts, judged, tells.to_vec(), setting.leaves_within() + LEAVING);
        Ok(match &self.stand_in {
            Some(name) => dress.by_this_program(name),
            None => dress,
        })
    }

    /// What checks know of it. A node waits for a word of others longer than a busy machine may hold it up.
    fn setting_at(&self, tempo: Tempo) -> Setting {
        let (setting, held_up) = (Setting::clone(&self.setting), tempo.slack());
        Setting {
            held_up,
            ping_after: setting.ping_after + held_up * 2,
            silence: setting.silence + held_up,
            greeting: setting.greeting + held_up,
            ..setting
        }
    }

    fn as_process(&self, node: &Node) -> AsProcess {
        let (setting, flags, of_node) = (Arc::clone(&self.setting), self.flags.clone(), node.clone());
        let host = node.host.clone();
        AsProcess {
            ports: vec![HTTP_PORT, GRPC_PORT],
            arguments: Box::new(move |places| arguments(&of_node, &setting, &flags, places)),
            reads: lines::read,
            observes: Box::new(move |clients| gauges::ask(clients, host.clone()).boxed_local()),
        }
    }
}

/// What a node is started with: the flags of a simulated one, but for where it and the others are.
fn arguments(node: &Node, setting: &Setting, flags: &[String], places: &Places<'_>) -> Vec<String> {
    let mut all = node.flags_of(&setting.graph, places);
    all.extend(stretched(flags, places.tempo()));
    let of_process =
        ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-format", "json", "--log", "info"];
    all.extend(of_process.map(str::to_owned));
    all
}

/// The flags, with times that are as much longer as those of the plan. A time has a unit, and nothing else has. What is
/// silent for half of `--keepalive`, or does not greet in time, is taken for dead, and a busy machine is not to be.
fn stretched(flags: &[String], tempo: Tempo) -> impl Iterator<Item = String> {
    let mut before = "";
    flags.iter().map(move |word| {
        let flag = std::mem::replace(&mut before, word);
        let held_up = match flag {
            "--keepalive" => tempo.slack() * 2,
            "--greeting-timeout" => tempo.slack(),
            _ => Duration::ZERO,
        };
        let longer = |time| tempo.stretched(time + held_up);
        let in_words = |time| humantime::format_duration(longer(time)).to_string().replace(' ', "");
        humantime::parse_duration(word).map_or_else(|_| word.clone(), in_words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_take_longer() {
        let flags = ["--deadline", "1s 500ms", "--max-calls", "12", "--rest-headers", "x-trial"];
        let stretched: Vec<_> = stretched(&flags.map(str::to_owned), Tempo::default()).collect();
        assert_eq!(stretched, ["--deadline", "1s500ms", "--max-calls", "12", "--rest-headers", "x-trial"]);
    }
}
