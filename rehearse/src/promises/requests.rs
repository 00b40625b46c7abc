//! What is known of each request, by its number: those of a plan are counted from 1, those of probes are far away.

use std::collections::BTreeMap;

/// As many requests as hardly a plan has: their index is their number.
const NEAR: usize = 1024;

/// A value for each request that there is something to say of. Every promise looks up the request of every event, so
/// that this is faster than a map.
#[derive(Debug)]
pub(super) struct ByRequest<T> {
    near: Vec<Option<T>>,
    far: BTreeMap<u32, T>,
}

impl<T> Default for ByRequest<T> {
    fn default() -> Self {
        Self { near: Vec::new(), far: BTreeMap::new() }
    }
}

impl<T> ByRequest<T> {
    pub(super) fn get(&self, request: u32) -> Option<&T> {
        match index(request) {
            Some(index) => self.near.get(index)?.as_ref(),
            None => self.far.get(&request),
        }
    }

    pub(super) fn get_mut(&mut self, request: u32) -> Option<&mut T> {
        match index(request) {
            Some(index) => self.near.get_mut(index)?.as_mut(),
            None => self.far.get_mut(&request),
        }
    }

    pub(super) fn insert(&mut self, request: u32, value: T) {
        match index(request) {
            Some(index) => *self.near(index) = Some(value),
            None => drop(self.far.insert(request, value)),
        }
    }

    pub(super) fn get_or_default(&mut self, request: u32) -> &mut T
    where
        T: Default,
    {
        match index(request) {
            Some(index) => self.near(index).get_or_insert_default(),
            None => self.far.entry(request).or_default(),
        }
    }

    /// All of them, by their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let near = (0..).zip(&self.near).filter_map(|(number, value)| Some((number, value.as_ref()?)));
        near.chain(self.far.iter().map(|(number, value)| (*number, value)))
    }

    fn near(&mut self, index: usize) -> &mut Option<T> {
        if self.near.len() <= index {
            self.near.reserve((index + 1).max(64) - self.near.len());
            self.near.resize_with(index + 1, || None);
        }
        &mut self.near[index]
    }
}

fn index(request: u32) -> Option<usize> {
    usize::try_from(request).ok().filter(|index| *index < NEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_wherever_its_number_lies() {
        let mut known = ByRequest::default();
        for number in [1_023, 1_024, 3, 900_001] {
            known.insert(number, number);
        }
        *known.get_or_default(900_001) += 1;
        *known.get_or_default(4) += 9;
        assert_eq!(known.get(2), None);
        let all: Vec<_> = known.iter().map(|(number, value)| (number, *value)).collect();
        assert_eq!(all, [(3, 3), (4, 9), (1_023, 1_023), (1_024, 1_024), (900_001, 900_002)]);
    }
}
