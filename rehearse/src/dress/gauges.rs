//! What a node holds, as it answers `GET /metrics`.

use std::sync::Arc;
use std::time::Duration;

use sim::{Fact, HostContext};
use tokio::time::timeout;
use transport::gauges::{Gauge, Reading, Sample};

use super::words::kept;
use crate::clients::get;
use crate::facts::GaugesRead;

/// Where a node tells what it holds.
pub(super) const PATH: &str = "/metrics";

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks `target` for its gauges.
pub(super) async fn ask(clients: HostContext, target: String) -> Result<Arc<dyn Fact>, String> {
    let asked = async {
        let answer = get(&clients, &target, PATH).await.map_err(|error| error.to_string())?;
        read(&answer).map(|reading| Arc::new(GaugesRead(without_ours(&reading))) as Arc<dyn Fact>)
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err("no answer to GET /metrics".to_owned()))
}

/// Without the connection over which was asked.
fn without_ours(reading: &Reading) -> Reading {
    let is_ours = |sample: Sample| {
        sample.gauge == Gauge::DrainWaitsFor || sample.gauge == Gauge::ConnectionsOpen && sample.of == "rest"
    };
    let rest =
        |(sample, count): (Sample, usize)| (sample, count.saturating_sub(usize::from(is_ours(sample))));
    reading.samples().map(rest).collect()
}

/// Reads the text format of Prometheus, as far as a node writes it.
fn read(text: &str) -> Result<Reading, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| sample(line).ok_or_else(|| format!("a line that is no sample: {line:?}"))).collect()
}

/// `name{label="value",label="value"} number`
fn sample(line: &str) -> Option<(Sample, usize)> {
    let (name, count) = line.rsplit_once(' ')?;
    let (name, labels) = name.split_once('{').unwrap_or((name, ""));
    let gauge = Gauge::ALL.into_iter().find(|gauge| gauge.name() == name)?;
    let mut values = labels.trim_end_matches('}').split(',').map(|label| {
        let value = label.split_once('=').map_or("", |(_, value)| value);
        kept(value.trim_matches('"'))
    });
    let (of, what) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
    Some((Sample { gauge, of, what }, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_writes_is_read_as_it_was() {
        let of = |gauge, of, what| Sample { gauge, of, what };
        let samples = [
            (of(Gauge::ConnectionsOpen, "rest", ""), 2),
            (of(Gauge::PermitsTaken, "one", "calls"), 0),
            (of(Gauge::BufferedBytes, "", ""), 17),
        ];
        let reading: Reading = samples.into_iter().collect();
        assert_eq!(read(&reading.to_string()), Ok(reading));
        assert!(read("rehearsal_unheard_of 1").is_err());
    }
}
