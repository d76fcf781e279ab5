//! Hands out addresses, and finds those that were handed out twice.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::scenario::diagnostic::{Diagnostic, Span};
use crate::scenario::reader::Reader;
use crate::spec::SlbPlan;

/// Where nodes without `ip` are counted up from.
const FIRST_NODE: u32 = Ipv4Addr::new(10, 0, 1, 1).to_bits();
const LAST_NODE: u32 = Ipv4Addr::new(10, 0, 255, 254).to_bits();

/// First octet of the addresses that the world gives to clients.
const CLIENT_NET: u8 = 11;

/// Usable addresses of a network, first and last: without the network's own and the broadcast address.
pub(super) fn usable(network: Ipv4Net) -> (u32, u32) {
    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
    if network.prefix_len() >= 31 {
        (first, last)
    } else {
        (first + 1, last - 1)
    }
}

/// How many addresses a network has.
pub(super) fn capacity(network: Ipv4Net) -> u64 {
    let (first, last) = usable(network);
    u64::from(last - first) + 1
}

/// Where an instance gets its address from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Counted up in the default range or in `network`.
    Pool { network: Option<Ipv4Net>, span: Span },
    /// `ip` plus the number of the instance; `count` instances in each cluster.
    From {
        ip: Ipv4Addr,
        index: usize,
        count: usize,
        span: Span,
    },
}

/// How far each pool has been used.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pools: Vec<(Option<Ipv4Net>, u32, u32, bool)>,
}

impl Counter {
    /// The default range of nodes.
    pub fn nodes() -> Self {
        Self {
            pools: vec![(None, FIRST_NODE, LAST_NODE, false)],
        }
    }

    /// The next address of a pool; `None` if it is used up, and whether that is news.
    fn draw(&mut self, network: Option<Ipv4Net>) -> Result<Ipv4Addr, bool> {
        let index = self.pools.iter().position(|pool| pool.0 == network);
        let index = index.unwrap_or_else(|| {
            let (first, last) = network.map_or((FIRST_NODE, LAST_NODE), usable);
            self.pools.push((network, first, last, false));
            self.pools.len() - 1
        });
        let (_, next, last, told) = &mut self.pools[index];
        if *next > *last || *told {
            return Err(!std::mem::replace(told, true));
        }
        let address = Ipv4Addr::from_bits(*next);
        *next = next.saturating_add(1);
        // The very last address of all: nothing follows it.
        *told = address.to_bits() == u32::MAX;
        Ok(address)
    }
}

impl Source {
    /// The address of an instance in cluster number `cluster`; errors are told once.
    pub fn next(
        &self,
        root: &Reader<'_>,
        counter: &mut Counter,
        cluster: usize,
        what: &str,
        taken: &mut Taken,
    ) -> Ipv4Addr {
        let (address, span) = match self {
            Self::Pool { network, span } => match counter.draw(*network) {
                Ok(address) => (address, span),
                Err(news) => {
                    if news {
                        let size = network.map_or(u64::from(LAST_NODE - FIRST_NODE) + 1, capacity);
                        let message = format!("there are more addresses needed for `{what}` than there are");
                        root.push(
                            Diagnostic::new(span, message, format!("the network has {size}"))
                                .help("take a larger network, or fewer of them"),
                        );
                    }
                    return Ipv4Addr::UNSPECIFIED;
                }
            },
            Self::From {
                ip,
                index,
                count,
                span,
            } => {
                let offset = (cluster * count + index) as u32;
                let Some(bits) = ip.to_bits().checked_add(offset) else {
                    root.push(Diagnostic::new(
                        span,
                        format!("there are more addresses needed for `{what}` than there are"),
                        "runs past 255.255.255.255",
                    ));
                    return Ipv4Addr::UNSPECIFIED;
                };
                (Ipv4Addr::from_bits(bits), span)
            }
        };
        taken.list.push((address, span.clone()));
        address
    }
}

/// Every address of the scenario and the place in the text that gave it.
#[derive(Debug, Default)]
pub(super) struct Taken {
    list: Vec<(Ipv4Addr, Span)>,
}

impl Taken {
    /// The addresses of the SLB. With layer 7 each host answers on a virtual address of its own, counted up from `vip`.
    pub fn add_slb(&mut self, root: &Reader<'_>, slb: &SlbPlan) {
        let reader = root.table("slb");
        let (own, vip) = (reader.span("addresses"), reader.span("vip"));
        let sources = slb.hosts.iter().flatten().map(|&ip| (ip, own.clone()));
        self.list.extend(sources);
        let last = if slb.l7 {
            slb.hosts.len().saturating_sub(1) as u32
        } else {
            0
        };
        let first = slb.vip.ip.to_bits();
        if first.checked_add(last).is_none() {
            root.push(
                Diagnostic::new(&vip, "`slb.vip` is too high", "runs past 255.255.255.255")
                    .help("each host of the SLB has a virtual address of its own, counted up from `vip`"),
            );
            return;
        }
        let virtual_ones = (first..=first + last).map(|bits| (Ipv4Addr::from_bits(bits), vip.clone()));
        self.list.extend(virtual_ones);
    }

    /// Two hosts of one address would be one host, and the clients have a network of their own.
    pub fn refuse_duplicates(mut self, root: &Reader<'_>) {
        self.list.sort_unstable();
        if let Some((ip, span)) = self.list.iter().find(|(ip, _)| ip.octets()[0] == CLIENT_NET) {
            root.push(
                Diagnostic::new(
                    span,
                    format!("the address {ip} belongs to the clients"),
                    "lies in 11.0.0.0/8",
                )
                .help("the simulated clients connect from 11.0.0.0/8; give this host another address"),
            );
        }
        if let Some(pair) = self.list.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            root.push(
                Diagnostic::new(
                    &pair[1].1,
                    format!("the address {} is used twice", pair[0].0),
                    "second use",
                )
                .help(
                    "SLB, nodes and pods have addresses of their own; several of a kind count up from `ip`",
                ),
            );
        }
    }
}
