//! Dress rehearsals: the same plans, played on processes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dress::{Dressed, Program, rehearse};
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::tempo::Tempo;

use super::agreement::Agreement;
use super::options::Options;
use super::project::Project;
use super::{batch, failure, single, user};

/// How many of the last lines of each process are shown when a promise was broken.
const LAST_LINES: usize = 3;

/// Plays what the options name on processes; whether all promises held.
pub(super) fn run(project: &Project, options: &Options) -> Result<bool, String> {
    let player = Player::new(project, options)?;
    if options.is_single() {
        return player.play_one(project, options);
    }
    let scenarios: Vec<_> = project.chosen(&options.scenario)?;
    let (mut agreement, mut trouble) = (Agreement::default(), None);
    let play = |scenario: &Scenario, plan: &Plan| (plan.clone(), player.play(scenario, plan));
    let mut failed = 0;
    batch::each(project, &scenarios, options, play, |scenario, (plan, played)| {
        let dressed = match played {
            Ok(dressed) => dressed,
            Err(error) => {
                agreement.leave_out(&scenario.name, error);
                return true;
            }
        };
        println!("{}", in_a_line(&dressed, player.tempo));
        agreement.add(&dressed);
        if let Some(mistake) = dressed.rehearsal.mistake() {
            trouble = Some(mistake);
            return false;
        }
        if dressed.rehearsal.violation.is_some() {
            println!("{}", player.explain(project, &plan, &dressed, None));
            failed += 1;
        }
        failed < options.failures_max()
    });
    println!("\n{agreement}");
    trouble.map_or(Ok(failed == 0), Err)
}

/// What all plays have in common.
struct Player {
    program: Program,
    tempo: Tempo,
    logs: PathBuf,
    /// The option that names the program, if one does.
    named: String,
}

impl Player {
    fn new(project: &Project, options: &Options) -> Result<Self, String> {
        let path = options.program.as_deref().map(user::meant).or_else(|| project.program.clone());
        let path = path.ok_or("there is no program to play on: expected Runner::dress in main")?;
        let guard = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
        // A program with a patch is taken away afterwards, with the folder that it is in.
        let folder = options.keep_in.clone().unwrap_or_else(|| target_folder(&guard));
        let logs = folder.join("dress");
        let program = Program::at(path, guard);
        let named =
            options.program.as_deref().map(|path| format!(" --program {}", user::shown(&user::meant(path))));
        let named = named.unwrap_or_default();
        Ok(Self { program, tempo: Tempo::stretched_by(options.stretch), logs, named })
    }

    fn play(&self, scenario: &Scenario, plan: &Plan) -> Result<Dressed, String> {
        rehearse(scenario, plan, &self.program, self.tempo, &self.logs_of(plan))
    }

    fn play_one(&self, project: &Project, options: &Options) -> Result<bool, String> {
        let file = options.plan.as_deref().map(user::meant);
        let plan = single::plan(project, options, file.as_deref())?;
        let dressed = self.play(project.named(&plan.scenario)?, &plan)?;
        if options.trace {
            // A reader that has seen enough closes the pipe; that is no error.
            single::print_trace(&dressed.rehearsal, options.request.as_deref()).unwrap_or_default();
        }
        if let Some(mistake) = dressed.rehearsal.mistake() {
            return Err(mistake);
        }
        println!("{}", in_a_line(&dressed, self.tempo));
        print!("{}", what_was_judged(&dressed));
        if dressed.rehearsal.violation.is_some() {
            println!("{}", self.explain(project, &plan, &dressed, file.as_deref()));
        }
        Ok(dressed.rehearsal.violation.is_none())
    }

    /// A folder for each play, in which its processes keep what they say.
    fn logs_of(&self, plan: &Plan) -> PathBuf {
        self.logs.join(format!("{}-{}", plan.scenario, plan.seed))
    }

    /// What to paste, the plan, what was seen, and the last words of each process.
    fn explain(&self, project: &Project, plan: &Plan, dressed: &Dressed, file: Option<&Path>) -> String {
        let logs = self.logs_of(plan);
        let file = file.map_or_else(|| self.keep(plan, &logs), |file| Ok(file.to_owned()));
        let again = file.map_or_else(|error| error, |file| project.tool().plan(&file, project.patch()));
        let stretch = self.tempo.stretch();
        let (plan, why) = (&dressed.rehearsal.plan, failure::why(&dressed.rehearsal));
        let mut text = format!("  again     {again} --dress --stretch {stretch}{}\n{plan}{why}", self.named);
        for host in &dressed.rehearsal.hosts {
            for kind in ["log", "err"] {
                let said = fs::read_to_string(logs.join(format!("{host}.{kind}"))).unwrap_or_default();
                let lines: Vec<_> = said.lines().collect();
                for line in lines.iter().rev().take(LAST_LINES).rev() {
                    writeln!(text, "  {host:<9} {line}").expect("a String takes all that is written to it");
                }
            }
        }
        text + &format!("  logs      {}", user::shown(&logs))
    }

    fn keep(&self, plan: &Plan, logs: &Path) -> Result<PathBuf, String> {
        let file = logs.join("plan.toml");
        let text = plan.to_toml().map_err(|error| error.to_string())?;
        fs::write(&file, text).map(|()| file.clone()).map_err(|error| format!("{}: {error}", file.display()))
    }
}

/// Where cargo builds: the folder above the one of the profile, in which `program` is among what it depends on.
fn target_folder(program: &Path) -> PathBuf {
    let deps = program.parent().filter(|folder| folder.ends_with("deps"));
    deps.and_then(|deps| deps.ancestors().nth(2)).or(program.parent()).unwrap_or(program).to_owned()
}

fn in_a_line(dressed: &Dressed, tempo: Tempo) -> String {
    let (summary, left_out) = (dressed.rehearsal.summary(), dressed.left_out.len());
    let mut line = format!("{} seed {}: {}", summary.scenario, summary.seed, summary.outcome);
    if let Some(violation) = &summary.violation {
        write!(line, ": {violation}").expect("a String takes all that is written to it");
    }
    line + &format!(
        " on processes ({} calls, {} of {} faults effective, {left_out} left out, {} x {:.3} s in {:.1} s)",
        summary.calls,
        summary.faults_effective,
        summary.faults,
        tempo.stretch(),
        summary.simulated_seconds,
        summary.wall_seconds,
    )
}

fn what_was_judged(dressed: &Dressed) -> String {
    let left_out = dressed.left_out.iter().map(|fault| format!("  left out    {}\n", fault.what));
    let judged = dressed.rehearsal.met.iter();
    let judged = judged.map(|(promise, met)| format!("  judged      {met:>5} times: {promise}\n"));
    let not = dressed.not_judged.iter().map(|promise| format!("  not judged  {promise}\n"));
    let mut text: String = left_out.chain(judged).chain(not).collect();
    if !dressed.not_judged.is_empty() {
        text += "              (these need facts that only the seams of a rehearsed node tell)\n";
    }
    text
}
