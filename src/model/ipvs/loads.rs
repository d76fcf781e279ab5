//! How many connections each server has, for the schedulers that ask (`activeconns`, `inactconns` of
//! `net/netfilter/ipvs/ip_vs_conn.c`, kept by `set_tcp_state()`). For the others nothing is counted.

use super::{IpvsState, Load, Scheduler};

/// The counts, by service and place.
#[derive(Debug, Clone, Default)]
pub(super) struct Loads {
    counted: bool,
    by_server: Vec<Vec<Load>>,
}

impl Loads {
    pub(super) const fn new(scheduler: Option<Scheduler>) -> Self {
        Self {
            counted: match scheduler {
                Some(scheduler) => scheduler.counts_connections(),
                None => false,
            },
            by_server: Vec::new(),
        }
    }

    /// The connections of a server.
    pub(super) fn of(&self, (service, place): (u32, u32)) -> Load {
        let servers = self.by_server.get(service as usize);
        let load = servers.and_then(|servers| servers.get(place as usize));
        load.copied().unwrap_or_default()
    }

    /// A connection of a server changes its state, begins (`from` is `None`) or ends (`to` is `None`).
    #[inline]
    pub(super) fn note(&mut self, server: (u32, u32), from: Option<IpvsState>, to: Option<IpvsState>) {
        if self.counted {
            self.count(server, from, to);
        }
    }

    #[inline(never)]
    fn count(&mut self, (service, place): (u32, u32), from: Option<IpvsState>, to: Option<IpvsState>) {
        let (service, place) = (service as usize, place as usize);
        if self.by_server.len() <= service {
            self.by_server.resize_with(service + 1, Vec::new);
        }
        let servers = &mut self.by_server[service];
        if servers.len() <= place {
            servers.resize(place + 1, Load::default());
        }
        let load = &mut servers[place];
        let mut side = |state: IpvsState, by: i32| {
            let count = if state.is_active() {
                &mut load.active
            } else {
                &mut load.inactive
            };
            *count = count.wrapping_add_signed(by);
        };
        if let Some(state) = from {
            side(state, -1);
        }
        if let Some(state) = to {
            side(state, 1);
        }
    }
}
