//! Requests by their number: those of a population that somebody still deals with.

use std::collections::VecDeque;

use super::event::Handle;
use super::request::NUMBER_BITS;

/// The window of a population's numbers from the oldest request that is left to the newest.
#[derive(Debug, Default)]
struct Window {
    /// Number of the first one.
    first: u32,
    /// [`Handle::NONE`]: gone.
    handles: VecDeque<Handle>,
}

/// Requests by tag. Numbers rise one by one and few requests outlive those after them, so an index does.
#[derive(Debug)]
pub struct InFlight(Vec<Window>);

impl InFlight {
    /// No request of so many populations.
    pub fn new(populations: usize) -> Self {
        Self((0..populations).map(|_| Window::default()).collect())
    }

    /// Adds a population's next request.
    pub fn push(&mut self, population: usize, handle: Handle) {
        self.0[population].handles.push_back(handle);
    }

    /// The request with this tag; `None`: gone, or the tag is nobody's.
    #[inline]
    pub fn get(&self, tag: u32) -> Option<Handle> {
        let window = self.0.get((tag >> NUMBER_BITS) as usize)?;
        let number = tag & ((1 << NUMBER_BITS) - 1);
        let place = number.checked_sub(window.first)?;
        window
            .handles
            .get(place as usize)
            .copied()
            .filter(|&handle| handle != Handle::NONE)
    }

    /// Nobody deals with this request any more.
    pub fn forget(&mut self, tag: u32) {
        let window = &mut self.0[(tag >> NUMBER_BITS) as usize];
        let place = (tag & ((1 << NUMBER_BITS) - 1)) - window.first;
        window.handles[place as usize] = Handle::NONE;
        while window.handles.front() == Some(&Handle::NONE) {
            window.handles.pop_front();
            window.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_until_it_is_forgotten_and_the_window_follows_the_oldest() {
        let handle = |slot| Handle { slot, generation: 0 };
        let of = |population: u32, number: u32| (population << NUMBER_BITS) | number;
        let mut requests = InFlight::new(2);
        for number in 0..3 {
            requests.push(1, handle(number));
        }
        assert_eq!(requests.get(of(1, 2)), Some(handle(2)));
        assert_eq!((requests.get(of(1, 3)), requests.get(of(0, 0))), (None, None));
        assert_eq!(requests.get(u32::MAX), None);
        requests.forget(of(1, 1));
        assert_eq!(requests.get(of(1, 1)), None);
        assert_eq!(requests.0[1].handles.len(), 3, "the oldest is still there");
        requests.forget(of(1, 0));
        assert_eq!((requests.0[1].first, requests.0[1].handles.len()), (2, 1));
        requests.push(1, handle(9));
        assert_eq!(requests.get(of(1, 3)), Some(handle(9)));
        assert_eq!(requests.get(of(1, 0)), None);
    }
}
