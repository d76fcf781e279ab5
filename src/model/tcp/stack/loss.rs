//! A host that loses what it knows: what ends a pod's network namespace ends all of its TCP.

use super::Stack;
use crate::engine::Handle;

impl<A: Copy> Stack<A> {
    /// Every socket and request, in the order of slots.
    pub fn handles(&self) -> Vec<Handle> {
        self.sockets.iter().map(|(handle, _)| handle).collect()
    }

    /// Nothing is left: no socket, no timewait socket, no listener. Nobody is told.
    pub fn lose_everything(&mut self) {
        for handle in self.handles() {
            self.forget(handle);
        }
        let time_waits: Vec<_> = self.time_waits.iter().map(|(handle, _)| handle).collect();
        for handle in time_waits {
            self.remove_time_wait(handle);
        }
        for listener in &mut self.listeners {
            listener.lose_everything();
        }
    }
}
