//! What an app of a rehearsed node is made of: the host's name, its disks, the options of the plan.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sim::HostContext;

/// The host that an app is made for.
///
/// The function that makes apps is also called once for each node when the scenario is described, to learn which
/// services there are; disks are empty then, and each option has its first choice.
#[derive(Debug, Clone)]
pub struct Host(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Simulated(HostContext),
    Described { name: String, options: Arc<BTreeMap<String, String>> },
}

impl Host {
    pub(crate) fn simulated(context: HostContext) -> Self {
        Self(Inner::Simulated(context))
    }

    pub(crate) fn described(name: &str, options: &Arc<BTreeMap<String, String>>) -> Self {
        Self(Inner::Described { name: name.to_owned(), options: Arc::clone(options) })
    }

    /// Its name, by which other hosts connect to it.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Inner::Simulated(context) => context.name(),
            Inner::Described { name, .. } => name,
        }
    }

    /// The disk of this name, empty at first, which outlives the node: what was not synced is lost with the power of
    /// its host.
    #[must_use]
    pub fn disk(&self, name: &str) -> Disk {
        match &self.0 {
            Inner::Simulated(context) => Disk(Some(context.disk(name))),
            Inner::Described { .. } => Disk(None),
        }
    }

    /// What the plan chose for an option of the scenario.
    ///
    /// # Panics
    /// When the scenario has no such option, or the choice cannot be read as `T`.
    #[must_use]
    #[track_caller]
    pub fn option<T: Choice>(&self, name: &str) -> T {
        let text = match &self.0 {
            Inner::Simulated(context) => context.option(name),
            Inner::Described { options, .. } => options.get(name).map(String::as_str),
        };
        let Some(text) = text else { panic!("the scenario has no option {name:?}: add it by .option(..)") };
        let Some(choice) = T::choice(text) else {
            let type_name = std::any::type_name::<T>();
            panic!("the option {name:?} cannot be {text:?}: expected a {type_name}")
        };
        choice
    }
}

/// What an option can be read as.
pub trait Choice: Sized {
    /// Reads a choice; `None` if it is none of this type.
    fn choice(text: &str) -> Option<Self>;
}

/// As people write it: `150ms`, `2s`.
impl Choice for Duration {
    fn choice(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }
}

impl Choice for String {
    fn choice(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Choice for bool {
    fn choice(text: &str) -> Option<Self> {
        bool::from_str(text).ok()
    }
}

impl Choice for u64 {
    fn choice(text: &str) -> Option<Self> {
        u64::from_str(text).ok()
    }
}

/// A disk of a rehearsed host.
#[derive(Debug, Clone)]
pub struct Disk(Option<sim::Disk>);

impl node::Disk for Disk {
    fn read(&self) -> io::Result<Vec<u8>> {
        self.0.as_ref().map_or(Ok(Vec::new()), sim::Disk::read)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |disk| disk.append(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), sim::Disk::sync)
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |disk| disk.replace(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read_as_what_is_asked_for() {
        let options = [("bank", "150ms"), ("strict", "true"), ("max", "7")];
        let options = options.map(|(name, choice)| (name.to_owned(), choice.to_owned()));
        let host = Host::described("orders", &Arc::new(options.into()));
        assert_eq!(host.option::<Duration>("bank"), Duration::from_millis(150));
        assert!(host.option::<bool>("strict"));
        assert_eq!(host.option::<u64>("max"), 7);
        assert_eq!(host.option::<String>("max"), "7");
    }
}
