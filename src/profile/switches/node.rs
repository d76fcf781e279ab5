//! Switches of a node: connection tracking, SNAT and ipvs.

use super::super::switch::{Kind, Part, Switch, Value, count, every, flag, number, seconds, time, words};
use super::{VENDOR, YEAR};
use crate::model::conntrack::{ChainLimit, Collection, State};
use crate::model::ipvs::{NodestExpiry, ReuseDrop};
use crate::model::nat::SearchEra;
use crate::units::SimDuration;

/// The timeout of a state.
macro_rules! timeout {
    ($name:literal, $state:ident) => {
        time!(
            $name,
            Conntrack,
            conntrack.timeouts.by_state[State::$state as usize],
            Seconds,
            1,
            YEAR,
            "Seconds that an entry stays in that state.",
            "net/netfilter/nf_conntrack_proto_tcp.c tcp_timeouts; D/d_states_timeouts"
        )
    };
}

/// All of them, in the order of listings.
#[rustfmt::skip]
pub(in super::super) const CONNTRACK: &[Switch] = &[
    count!("net.netfilter.nf_conntrack_max", Conntrack, conntrack.max_entries: u32, 1, u32::MAX as u64, "Entries that the table takes.",
        "net/netfilter/nf_conntrack_core.c nf_conntrack_init_start(), more than 4 GB"),
    count!("net.netfilter.nf_conntrack_buckets", Conntrack, conntrack.buckets: u32, 1, 1 << 30, "Buckets of the table: which dead entries a lookup meets, and what early drop can reach.",
        "net/netfilter/nf_conntrack_core.c nf_conntrack_init_start(), more than 4 GB: 65,536 up to 5.10, 262,144 from 5.15.215 on; read on 6.18.44"),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_syn_sent", SynSent),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_syn_recv", SynRecv),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_established", Established),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_fin_wait", FinWait),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_close_wait", CloseWait),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_last_ack", LastAck),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_time_wait", TimeWait),
    timeout!("net.netfilter.nf_conntrack_tcp_timeout_close", Close),
    time!("net.netfilter.nf_conntrack_tcp_timeout_max_retrans", Conntrack, conntrack.timeouts.max_retrans, Seconds, 1, YEAR,
        "Upper limit of the timeout after `nf_conntrack_tcp_max_retrans` retransmissions.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet()"),
    time!("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", Conntrack, conntrack.timeouts.unacknowledged, Seconds, 1, YEAR,
        "Upper limit of the timeout while data are unacknowledged.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(); D/d_states_timeouts"),
    count!("net.netfilter.nf_conntrack_tcp_max_retrans", Conntrack, conntrack.max_retrans: u8, 0, 255,
        "Retransmissions without an answer before `nf_conntrack_tcp_timeout_max_retrans` applies.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_init_net()"),
    flag!("net.netfilter.nf_conntrack_tcp_be_liberal", Conntrack, conntrack.be_liberal,
        "1: a segment outside the window is not INVALID.", "net/netfilter/nf_conntrack_proto_tcp.c tcp_in_window(); A/a2_through_node"),
    flag!("net.netfilter.nf_conntrack_tcp_loose", Conntrack, conntrack.loose,
        "1: a connection may be picked up in its middle.", "net/netfilter/nf_conntrack_proto_tcp.c tcp_new()"),
    flag!("net.netfilter.nf_conntrack_tcp_ignore_invalid_rst", Conntrack, conntrack.ignore_invalid_rst,
        "1: an RST below the peer's highest ACK is not INVALID for that.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(), 5.14 and later"),
    flag!("syn_repeat_refreshes", Conntrack, conntrack.syn_repeat_refreshes,
        "A SYN repeated before any reply refreshes the entry's 120 s.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(): 4.19.124, 5.10.44 yes; 5.10.185, 5.15.215 and later no"),
    flag!("rst_must_be_exact", Conntrack, conntrack.rst_must_be_exact,
        "An RST closes an ESTABLISHED entry only with the exact sequence number.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(), commit be0502a3f2e9 (5.1): 4.19.124 and later yes, 3.10.0-1160.el7 no"),
    flag!("inexact_rst_is_unacknowledged", Conntrack, conntrack.inexact_rst_is_unacknowledged,
        "An RST that leaves the entry in ESTABLISHED leaves it 300 s, not 10 s.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(): 6.12.117 yes; 5.15.215, 6.18.35 no"),
    flag!("rst_in_closing_believed", Conntrack, conntrack.rst_in_closing_believed,
        "Any RST closes an entry in FIN_WAIT or later, without a look at its sequence number.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(): 4.19.124, 5.10.185 no; 5.15.215, 6.1.192 and later yes; ipvs_stray_rst, 6.18/rst"),
    flag!("rst_after_ignored_ack_passes", Conntrack, conntrack.rst_after_ignored_ack_passes,
        "The RST of a refused caller passes by a rule of its own.", "net/netfilter/nf_conntrack_proto_tcp.c nf_conntrack_tcp_packet(), commit c410cb974f2b: 6.1.192 and later; A/a2_through_node"),
    flag!("any_segment_reinits_window", Conntrack, conntrack.any_segment_reinits_window,
        "In SYN_SENT any segment beyond the known end begins the window anew, so that the RST of a refused caller passes.", "net/netfilter/nf_conntrack_proto_tcp.c tcp_in_window(): 3.10.0-1160.el7 to 5.15.215; A/a2_through_node"),
    flag!("old_segments_ignored", Conntrack, conntrack.old_segments_ignored,
        "Old data outside the window is ignored, not INVALID.", "net/netfilter/nf_conntrack_proto_tcp.c tcp_in_window(): 6.1.192 and later"),
    words!("collection", Conntrack, conntrack.collection, ["timers" => Collection::Timers, "slices" => Collection::Slices, "cycles" => Collection::Cycles],
        "What takes dead entries out of the table: a timer each, a worker that scans a 128th at a time, or one that scans all of it in cycles.",
        "net/netfilter/nf_conntrack_core.c gc_worker(): 3.10.0-1160.el7; 4.19.124, 5.10.44; 5.15.215 and later"),
    Switch {
        name: "chain_limit",
        part: Part::Conntrack,
        kind: Kind::Flag,
        meaning: "A new entry is refused if one of its buckets holds 50 to 79 tuples already.",
        source: "net/netfilter/nf_conntrack_core.c __nf_conntrack_confirm(): 5.15.215, 6.1.192 and later",
        lacks: every,
        get: |p| Value::Flag(p.conntrack.chain_limit.is_some()),
        set: |p, v| p.conntrack.chain_limit = (v == Value::Flag(true)).then_some(ChainLimit::KERNEL),
    },
];

/// All of them, in the order of listings.
#[rustfmt::skip]
pub(in super::super) const NAT: &[Switch] = &[
    words!("nat_search", Nat, nat_search, ["whole-range" => SearchEra::WholeRange, "bounded" => SearchEra::Bounded],
        "How MASQUERADE looks for a free port: upward over the whole range, the last one unchecked, or in runs of at most 128, 64, 32, 16, 8 from random starts.",
        "net/netfilter/nf_nat_core.c nf_nat_l4proto_unique_tuple(); C/c1, C/c3 on 4.19.108, 5.10.223, 6.1.192, 6.18.44"),
    flag!("nat_evicts", Nat, nat_evicts, "The search takes the port of a closing entry whose sequence numbers the SYN has passed.",
        "net/netfilter/nf_nat_core.c nf_nat_used_tuple_harder(), commit 4589725502871e77; C/c2: 6.18.44 yes, 5.10.223, 6.1.192 no; 5.15.215 no, 6.6.63, 6.12.117 yes"),
];

/// All of them, in the order of listings.
#[rustfmt::skip]
pub(in super::super) const IPVS: &[Switch] = &[
    flag!("net.ipv4.vs.conntrack", Ipvs, ipvs.conntrack, "1: packets of ipvs have a conntrack entry; without it nothing is masqueraded. kube-proxy sets it.",
        "net/netfilter/ipvs/ip_vs_ctl.c ip_vs_control_net_init_sysctl(); ipvs/ipvs_env"),
    count!("net.ipv4.vs.conn_reuse_mode", Ipvs, ipvs.conn_reuse_mode: u8, 0, 3, "0: the SYN of a known tuple goes to its old pod; 1: it is scheduled afresh; bit 2 concerns direct routing.",
        "net/netfilter/ipvs/ip_vs_core.c ip_vs_in(); ipvs/ipvs_conn_reuse"),
    count!("kube_proxy_conn_reuse_mode", Ipvs, kube_proxy_conn_reuse_mode: u8, 0, 3, "What kube-proxy leaves in `conn_reuse_mode` on this kernel.",
        "Kubernetes pkg/proxy/ipvs/proxier.go, change 102122: 0 from 4.1 to 5.8, as it is before and after"),
    words!("reuse_drop", Ipvs, ipvs.reuse_drop, ["always" => ReuseDrop::Always, "if-confirmed" => ReuseDrop::IfConfirmed, "never" => ReuseDrop::Never],
        "Whether the SYN of a reused tuple that is scheduled afresh is dropped: always if it has a conntrack entry, only if that is confirmed, never.",
        "net/netfilter/ipvs/ip_vs_core.c ip_vs_in(): 3.10.0-1160.el7, 4.19; 5.10, 5.15.215 and later; Alibaba's patch; ipvs/ipvs_conn_reuse on 4.19.108, 5.10.223, 6.1.192"),
    Switch {
        name: "net.ipv4.vs.conn_reuse_old_conntrack",
        part: Part::Ipvs,
        kind: Kind::Flag,
        meaning: "0: the SYN of a reused tuple is dropped as on plain 4.19; Alibaba Cloud Linux only.",
        source: "alibaba/cloud-kernel net/netfilter/ipvs/ip_vs_core.c",
        lacks: VENDOR,
        get: |p| Value::Flag(p.ipvs.reuse_drop == ReuseDrop::Never),
        set: |p, v| p.ipvs.reuse_drop = if v == Value::Flag(true) { ReuseDrop::Never } else { ReuseDrop::Always },
    },
    flag!("net.ipv4.vs.expire_nodest_conn", Ipvs, ipvs.expire_nodest_conn, "1: an ipvs entry ends when its pod is gone.", "net/netfilter/ipvs/ip_vs_core.c ip_vs_in(); ipvs/ipvs_conn_reuse"),
    words!("nodest_expiry", Ipvs, ipvs.nodest_expiry, ["next-packet" => NodestExpiry::NextPacket, "removal" => NodestExpiry::Removal],
        "When that takes effect: with the entry's next packet, which is dropped, or when the pod is removed.",
        "net/netfilter/ipvs/ip_vs_ctl.c __ip_vs_del_dest(), commit 04231e52d355 (5.9); ipvs/ipvs_conn_reuse on 4.19.108, 5.10.223"),
    flag!("weight_zero_needs_reuse_mode", Ipvs, ipvs.weight_zero_needs_reuse_mode, "The SYN of a known tuple whose pod has weight 0 is scheduled afresh only if `conn_reuse_mode` is not 0.",
        "net/netfilter/ipvs/ip_vs_core.c ip_vs_in(): 3.10.0-1160.el7, 4.19.124, 5.10.44 yes; 5.15.215, 6.1.192 no; measured: 4.19.108 yes, 5.10.223 no"),
    time!("ipvs_tcp_timeout", Ipvs, ipvs.timeout_established, Seconds, 1, YEAR, "ESTABLISHED; the same as `node.ipvs.tcp_timeout`.", "net/netfilter/ipvs/ip_vs_proto_tcp.c tcp_timeouts; ipvs/ipvs_states"),
    time!("ipvs_tcp_fin_timeout", Ipvs, ipvs.timeout_fin_wait, Seconds, 1, YEAR, "FIN_WAIT; the same as `node.ipvs.tcp_fin_timeout`.", "net/netfilter/ipvs/ip_vs_proto_tcp.c tcp_timeouts; ipvs/ipvs_states"),
];
