//! Every switch there is, by the part of the host that it belongs to.

mod node;
mod tcp;

use super::Profile;
use super::switch::{Kind, Part, Switch, Value, every, flag, number};
pub(super) use node::{CONNTRACK, IPVS, NAT};
pub(super) use tcp::{CALLER, TCP};

/// Seconds; the longest timeout that makes sense.
const YEAR: u64 = 365 * 86_400;

/// Sysctls of Alibaba's kernels.
const VENDOR: fn(&Profile) -> Option<&'static str> = |profile| {
    (!profile.vendor_sysctls).then_some("only Alibaba Cloud Linux has it: profile = \"alinux2-4.19\"")
};

/// Build options; those of TCP, conntrack and ipvs are one and the same.
pub(super) const KERNEL: &[Switch] = &[
    Switch {
        name: "hz",
        part: Part::Kernel,
        kind: Kind::OneOf(&[100, 250, 300, 1000]),
        meaning: "Timer interrupts per second; kernel timers round up to multiples that depend on it.",
        source: "kernel/Kconfig.hz CONFIG_HZ; A/a1_tw_timer_restart on builds with 250",
        lacks: every,
        get: |p| Value::Number(u64::from(p.tcp.hz)),
        set: |p, v| {
            let hz = number(v) as u32;
            (p.tcp.hz, p.conntrack.hz, p.ipvs.hz) = (hz, hz, hz);
        },
    },
    flag!(
        "vendor_sysctls",
        Kernel,
        vendor_sysctls,
        "The kernel has Alibaba's `tcp_tw_timeout` and `conn_reuse_old_conntrack`.",
        "Alibaba Cloud's ECS user guide; alibaba/cloud-kernel"
    ),
];
