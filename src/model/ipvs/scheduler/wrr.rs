//! `wrr`: passes over the servers, each for a weight that is one step lower; a step is the weights' common divisor
//! (`net/netfilter/ipvs/ip_vs_wrr.c`). Weights 4, 3 and 2 give A A B A B C A B C.

use super::{Servers, gcd};

/// Where the passes are.
#[derive(Debug, Clone, Default)]
pub struct Wrr {
    /// The place after the server that was used last; `None`: a pass begins.
    next: Option<usize>,
    /// Weight that a server must have in this pass.
    current: u32,
    /// The same in the first pass: the greatest weight, less so much that the last pass asks for 1.
    first: u32,
    /// By how much it falls from pass to pass.
    step: u32,
}

impl Wrr {
    /// A change begins a pass, for about the weight that the broken off one was for.
    pub(super) fn changed(&mut self, servers: &impl Servers) {
        let weights = || {
            let states = (0..servers.count()).map(|place| servers.state(place));
            states.filter(|state| state.available).map(|state| state.weight)
        };
        self.next = None;
        self.step = weights().fold(0, gcd).max(1);
        let most = weights().max().unwrap_or(0);
        self.first = most.saturating_sub(self.step - 1);
        if self.current > self.first || self.current == 0 {
            self.current = self.first;
        } else if self.step > 1 {
            self.current = self.current / self.step * self.step + 1;
        }
    }

    pub(super) fn pick(&mut self, servers: &impl Servers) -> Option<usize> {
        if self.first == 0 {
            return None;
        }
        let count = servers.count();
        // As many passes as there are from the greatest weight to the least, and one for the rest of the first one.
        for _ in 0..=self.first.div_ceil(self.step) {
            let found = (self.next.unwrap_or(0)..count).find(|&place| {
                let state = servers.state(place);
                state.is_eligible() && state.weight >= self.current
            });
            if let Some(place) = found {
                self.next = Some(place + 1);
                return Some(place);
            }
            self.next = None;
            self.current = match self.current.saturating_sub(self.step) {
                0 => self.first,
                lower => lower,
            };
        }
        None
    }
}
