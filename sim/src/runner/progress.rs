//! How far a batch is: a bar on a terminal, a line at the end anywhere.

use std::fmt;
use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::rehearsal::Summary;

/// Counts what a batch has done.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    start: Instant,
    pub(super) rehearsals: u64,
    pub(super) violated: u64,
    inert: u64,
    calls: usize,
    faults: usize,
    faults_effective: usize,
    simulated_seconds: f64,
}

impl Progress {
    /// Starts to count up to `total`, if that is known. The bar is for people at a terminal only.
    #[expect(clippy::disallowed_methods, reason = "a rate is about the real world")]
    pub(super) fn start(total: Option<u64>, wants_bar: bool) -> Self {
        let bar = (wants_bar && std::io::stderr().is_terminal()).then(|| bar(total));
        Self {
            bar,
            start: Instant::now(),
            rehearsals: 0,
            violated: 0,
            inert: 0,
            calls: 0,
            faults: 0,
            faults_effective: 0,
            simulated_seconds: 0.0,
        }
    }

    /// Adds one rehearsal.
    pub(super) fn add(&mut self, summary: &Summary) {
        self.rehearsals += 1;
        self.violated += u64::from(summary.outcome == "violated");
        self.inert += u64::from(summary.outcome == "inert");
        self.calls += summary.calls;
        self.faults += summary.faults;
        self.faults_effective += summary.faults_effective;
        self.simulated_seconds += summary.simulated_seconds;
        if let Some(bar) = &self.bar {
            bar.set_position(self.rehearsals);
            bar.set_message(self.to_string());
        }
    }

    /// Says on the bar what is under way.
    pub(super) fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    /// Prints without tearing the bar.
    pub(super) fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }

    /// Tells who waits, apart from what is printed, without tearing the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = self.start.elapsed().as_secs_f64().max(f64::EPSILON);
        let rate = self.rehearsals as f64 / wall;
        let simulated = std::time::Duration::from_secs(self.simulated_seconds as u64);
        write!(f, "{} rehearsals, {rate:.0}/s, ", self.rehearsals)?;
        write!(f, "{} simulated, {} calls, ", humantime::format_duration(simulated), self.calls)?;
        write!(f, "{} of {} faults effective, {} inert, ", self.faults_effective, self.faults, self.inert)?;
        write!(f, "{} violated", self.violated)
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    const REDRAWS_PER_SECOND: u8 = 10;
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template =
        if total.is_some() { "{bar:30} {percent:>3} %  {msg}" } else { "{spinner} {elapsed}  {msg}" };
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.set_style(style);
    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
    bar
}
