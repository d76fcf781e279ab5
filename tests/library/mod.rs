//! The library of scenarios as data: what switches each one's cause off, and which figures its index shows.

/// Scenarios beside the incident, its fixes and the control.
pub const LIBRARY: [&str; 25] = [
    "accept-queue-overflow",
    "client-patience",
    "closed-loop-hides-it",
    "conntrack-time-wait-65",
    "conntrack-time-wait-tuned",
    "ignore-it",
    "ipvs-reuse-delay",
    "keep-source-port",
    "keepalive",
    "one-slb-address",
    "open-loop-shows-it",
    "packet-loss",
    "retry-storm",
    "rfc1337",
    "rst-lost",
    "shared-slb",
    "slb-port-exhaustion",
    "slow-service",
    "snat-eviction",
    "snat-exhaustion",
    "syn-queue-overflow",
    "timestamps-off",
    "timestamps-per-pair",
    "timestamps-per-tuple",
    "who-closes-first",
];

/// A scenario without what it is about.
pub struct Switch {
    /// The scenario.
    pub name: &'static str,
    /// What removes its cause, as `--set`.
    pub sets: &'static [&'static str],
    /// The expectations that must fail then.
    pub fails: &'static [&'static str],
}

const fn off(name: &'static str, sets: &'static [&'static str], fails: &'static [&'static str]) -> Switch {
    Switch { name, sets, fails }
}

/// Each scenario fails when its cause is gone, in the expectation that is about the cause. Runs that need no full length
/// are shortened.
#[rustfmt::skip]
pub const SWITCHES: [Switch; 43] = [
    off("incident-499", &["slb.port_selection=linux", "duration=100s"], &["release_paths.M2 / attempts.time_wait_hits > 0.95"]),
    off("incident-499-short-conntrack", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=120"], &["attempts.bare_acks / attempts.total > 0.001"]),
    off("incident-499-conntrack-pressure", &["node.conntrack.background_entries=80000"], &["requests.by_status.499 / requests.total > 0.0002"]),
    off("incident-499-equal-holds", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=65", "duration=160s"], &["attempts.bare_acks / attempts.total > 0.003"]),
    off("incident-499-stray-rst", &["slb.stray_rst.share=0", "duration=100s"], &["requests.by_status.499 / requests.total > 0.0005"]),
    off("incident-499-stray-rst", &["node.proxy=iptables", "duration=100s"], &["requests.by_status.499 / requests.total > 0.0005"]),
    off("incident-499-rst-close", &["node.profile=5.10", "node.proxy=iptables", "duration=100s"], &["requests.by_status.499 / requests.total > 0.0005"]),
    off("local-policy", &["node.external_traffic_policy=cluster", "duration=120s"], &["attempts.bare_acks == 0"]),
    off("direct-to-pod", &["slb.backends=node-port", "duration=120s"], &["attempts.bare_acks == 0"]),
    off("tw-timeout", &["pod.sysctl.tcp_tw_timeout=60", "duration=120s"], &["attempts.time_wait_hits / attempts.total < 0.0001"]),
    off("stock-timers-safe", &["clients.rate=300/s", "duration=120s"], &["attempts.time_wait_hits == 0"]),
    off("accept-queue-overflow", &["pod.workers=8", "duration=60s"], &["causes.listen-overflow / requests.total > 0.050"]),
    off("client-patience", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=65"], &["requests.rate_499 > 0.19"]),
    off("closed-loop-hides-it", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=65", "duration=80s"], &["requests.total / meta.replications / (meta.simulated_seconds - meta.warm_up_seconds) < 42"]),
    off("conntrack-time-wait-65", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=60"], &["attempts.time_wait_hits == 0"]),
    off("conntrack-time-wait-65", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=120"], &["snat.insert_failed == 0"]),
    off("conntrack-time-wait-tuned", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=120"], &["release_paths.M4 / attempts.total > 0.03"]),
    off("ignore-it", &["slb.port_selection=linux", "duration=600s"], &["release_paths.M2 > 0"]),
    off("ipvs-reuse-delay", &["node.ipvs.conn_reuse_mode=0", "duration=3s"], &["ipvs.syn_drops / connections.slow > 0.98"]),
    off("ipvs-reuse-delay", &["node.profile=5.10", "node.ipvs.conn_reuse_mode=1", "duration=3s"], &["connections.slow / connections.total > 0.68"]),
    off("keep-source-port", &["node.snat.random=random-fully"], &["attempts.bare_acks == 0"]),
    off("keep-source-port", &["slb.addresses=4", "slb.ports=40000-40999"], &["attempts.bare_acks == 0"]),
    off("keepalive", &["pod.close=after-response", "duration=120s"], &["connections.total / requests.total < 0.0135", "attempts.bare_acks == 0"]),
    off("one-slb-address", &["slb.addresses=64"], &["attempts.time_wait_hits / attempts.total > 0.012"]),
    off("one-slb-address", &["clients.rate=50/s"], &["attempts.time_wait_hits / attempts.total > 0.012"]),
    off("open-loop-shows-it", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=120", "node.snat.to_ports=1024-65535", "duration=60s"], &["connections.slow / connections.total > 0.28"]),
    off("packet-loss", &["links.slb_node.loss=0", "duration=60s"], &["requests.rate_499 > 0.0014"]),
    off("retry-storm", &["clients.retry.throttling.max_tokens=10"], &["operations.succeeded / operations.total < 0.10"]),
    off("retry-storm", &["pod.workers=8"], &["requests.total / operations.total > 4.2"]),
    off("rfc1337", &["pod.sysctl.tcp_rfc1337=0"], &["attempts.time_wait_hits / attempts.total > 0.93", "attempts.rst_kills == 0"]),
    off("rst-lost", &["node.drop_slb_resets=false"], &["requests.by_status.504 / requests.total > 0.24"]),
    off("shared-slb", &["clusters=1", "clients.rate=150/s"], &["attempts.time_wait_hits / attempts.total > 0.030"]),
    off("slb-port-exhaustion", &["slb.sysctl.tcp_tw_reuse=1"], &["requests.by_status.502 / requests.total > 0.15"]),
    off("slb-port-exhaustion", &["pod.close=after-response"], &["levels.pod_time_wait_max == 0"]),
    off("slow-service", &["pod.service_time=5ms", "duration=60s"], &["requests.rate_499 > 0.0160"]),
    off("snat-eviction", &["node.profile=6.1"], &["snat.evictions / attempts.total > 0.4"]),
    off("snat-exhaustion", &["clients.rate=30/s"], &["causes.snat-exhaustion / requests.total > 0.145"]),
    off("snat-exhaustion", &["node.profile=6.18"], &["attempts.time_wait_hits == 0"]),
    off("syn-queue-overflow", &["pod.sysctl.tcp_syncookies=1", "duration=60s"], &["causes.syn-queue / requests.total > 0.019"]),
    off("timestamps-off", &["slb.timestamps=no-offset"], &["attempts.bare_acks / attempts.time_wait_hits > 0.47"]),
    off("timestamps-per-pair", &["slb.timestamps=off"], &["attempts.bare_acks / attempts.time_wait_hits < 0.33"]),
    off("timestamps-per-tuple", &["slb.timestamps=no-offset"], &["attempts.bare_acks / attempts.time_wait_hits > 0.47"]),
    off("who-closes-first", &["pod.close=after-response", "duration=120s"], &["attempts.time_wait_hits == 0"]),
];

/// What the heads of the files tell the reader to try, where every expectation that applies then holds.
#[rustfmt::skip]
pub const SUGGESTED: [(&str, &[&str]); 7] = [
    ("client-patience", &["clients.timeout=3s"]),
    ("client-patience", &["slb.caller_reaction=rst-fast-resend"]),
    ("conntrack-time-wait-tuned", &["node.sysctl.nf_conntrack_tcp_timeout_time_wait=15"]),
    ("rst-lost", &["node.drop_slb_resets=false", "node.profile=6.0"]),
    ("rst-lost", &["node.drop_slb_resets=false", "slb.caller_reaction=ignore"]),
    ("snat-eviction", &["slb.timestamps=off"]),
    ("timestamps-per-pair", &["slb.addresses=1"]),
];

/// How a figure is written.
#[derive(Clone, Copy)]
pub enum Unit {
    /// In percent.
    Percent,
    /// Per million.
    Million,
    /// As it is, with so many decimals.
    Plain(usize),
}

/// A figure of the index.
pub struct Figure {
    /// The scenario.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Arithmetic over paths of `summary.json`, as in an expectation.
    pub of: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// What was published or measured, with its source; else what theory says.
    pub beside: &'static str,
}

const fn figure(
    name: &'static str,
    what: &'static str,
    of: &'static str,
    unit: Unit,
    beside: &'static str,
) -> Figure {
    Figure {
        name,
        what,
        of,
        unit,
        beside,
    }
}

const RATE_499: &str = "requests.rate_499";
const P_HIT: &str = "attempts.p_hit";
const P_BARE: &str = "attempts.p_bare_ack";
const Q: &str = "attempts.bare_acks / attempts.time_wait_hits";
const HITS: &str = "attempts.time_wait_hits / meta.replications";
const SLOW: &str = "connections.slow / connections.total";
const PER_SECOND: &str = "requests.total / meta.replications / meta.simulated_seconds";
const SERVED_BY_RANGE: &str = "28_232 / 2000 * requests.by_status.200 / meta.replications / (meta.simulated_seconds - meta.warm_up_seconds)";
const SETTLED_PER_SECOND: &str =
    "requests.total / meta.replications / (meta.simulated_seconds - meta.warm_up_seconds)";
const SERVED: &str =
    "requests.by_status.200 / meta.replications / (meta.simulated_seconds - meta.warm_up_seconds)";

/// What the index shows, in its order.
#[rustfmt::skip]
pub const FIGURES: [Figure; 60] = {
    use Unit::{Million, Percent, Plain};
    [
        figure("incident-499", "499s", RATE_499, Percent, "\"occasional\" (the article); theory 0.10 %"),
        figure("incident-499-short-conntrack", "bare ACKs", P_BARE, Percent, "theory 0.22 %"),
        figure("incident-499-conntrack-pressure", "499s", RATE_499, Percent, "none known"),
        figure("incident-499-equal-holds", "bare ACKs", P_BARE, Percent, "theory 0.7 %"),
        figure("incident-499-stray-rst", "499s", RATE_499, Percent, "theory 0.13 %"),
        figure("incident-499-rst-close", "499s", RATE_499, Percent, "theory 0.13 %"),
        figure("local-policy", "499s", RATE_499, Percent, "none after the change (the article)"),
        figure("direct-to-pod", "499s", RATE_499, Percent, "none after the change (the article)"),
        figure("tw-timeout", "hits", P_HIT, Percent, "theory 0.001 %"),
        figure("stock-timers-safe", "hits", P_HIT, Percent, "0 of 3411 (lab i27)"),
        figure("who-closes-first", "hits", P_HIT, Percent, "0: no socket in TIME_WAIT"),
        figure("keepalive", "connections per request", "connections.total / requests.total", Percent, "theory 1.1 to 1.3 %"),
        figure("keepalive", "499s", RATE_499, Percent, "theory 0.00001 %"),
        figure("conntrack-time-wait-tuned", "bare ACKs", P_BARE, Percent, "theory 2.4 %"),
        figure("conntrack-time-wait-65", "hits", P_HIT, Percent, "Azure's NAT gateway holds 65 s; theory 0"),
        figure("rfc1337", "hits", P_HIT, Percent, "95.1 % [94.8, 95.4] (lab e20)"),
        figure("rfc1337", "bare ACKs", P_BARE, Percent, "48.0 % [47.3, 48.6] (lab e20)"),
        figure("keep-source-port", "hits", P_HIT, Percent, "88.8 % [88.4, 89.2] (lab e26)"),
        figure("keep-source-port", "bare ACKs", P_BARE, Percent, "0 of 21,274 hits (lab e26)"),
        figure("ignore-it", "499s per million", RATE_499, Million, "theory 27, 46 a day"),
        figure("ignore-it", "499s a day", "outlook.status_499_per_day", Plain(0), "theory 46"),
        figure("ignore-it", "seconds to the first 499", "outlook.seconds_to_first_499", Plain(0), "theory 1870"),
        figure("one-slb-address", "hits per run", HITS, Plain(0), "376 [340, 416] (lab e34)"),
        figure("one-slb-address", "hits", P_HIT, Percent, "1.54 % [1.39, 1.70] (lab e34)"),
        figure("shared-slb", "hits", P_HIT, Percent, "theory 3.7 %"),
        figure("timestamps-off", "bare ACKs of the hits", Q, Plain(3), "0.512 (lab i08)"),
        figure("timestamps-off", "hits", P_HIT, Percent, "51.2 % [49.7, 52.6] (lab i08)"),
        figure("timestamps-per-pair", "bare ACKs of the hits", Q, Plain(3), "theory 0.29; 0.489 with 20 addresses (lab i01, theory 0.475)"),
        figure("timestamps-per-tuple", "bare ACKs of the hits", Q, Plain(3), "0.495 (lab e01)"),
        figure("timestamps-per-tuple", "hits per run", HITS, Plain(0), "3530 (lab e01)"),
        figure("client-patience", "499s", RATE_499, Percent, "22.4 % [20.9, 23.9] (lab f01)"),
        figure("open-loop-shows-it", "slow connects", SLOW, Percent, "31.1 % [30.7, 31.6], failed ones included (lab e07)"),
        figure("open-loop-shows-it", "bare ACKs", P_BARE, Percent, "31.6 % [31.3, 32.0] (lab e07)"),
        figure("closed-loop-hides-it", "requests per second", SETTLED_PER_SECOND, Plain(1), "theory 35 of a possible 196"),
        figure("closed-loop-hides-it", "bare ACKs", P_BARE, Percent, "theory 18.5 %"),
        figure("ipvs-reuse-delay", "requests per second", PER_SECOND, Plain(0), "408 (kubernetes #81775, ab -c 300)"),
        figure("ipvs-reuse-delay", "slow connects", SLOW, Percent, "72 %, from its mean of 722 ms"),
        figure("ipvs-reuse-delay", "bare ACKs", P_BARE, Percent, "0 of 212 from one address (4.19, lab)"),
        figure("rst-lost", "504s", "requests.by_status.504 / requests.total", Percent, "27.7 % (lab f09)"),
        figure("snat-exhaustion", "answered per second", SERVED, Plain(1), "theory 33.3: ports / 120 s"),
        figure("snat-exhaustion", "499s", RATE_499, Percent, "theory 16.7 %"),
        figure("snat-eviction", "hits", P_HIT, Percent, "44.0 % [42.8, 45.3] (lab e14)"),
        figure("snat-eviction", "bare ACKs", P_BARE, Percent, "22.5 % [21.5, 23.6] (lab e14)"),
        figure("slb-port-exhaustion", "answered per second and 28,232 ports", SERVED_BY_RANGE, Plain(0), "470 (HAProxy's blog: ports / 60 s)"),
        figure("slb-port-exhaustion", "502s", "requests.by_status.502 / requests.total", Percent, "theory 18 %"),
        figure("syn-queue-overflow", "499s", RATE_499, Percent, "Erlang's B(10, 16): 2.23 %"),
        figure("accept-queue-overflow", "499s", RATE_499, Percent, "M/M/4/13: 6.02 %, some of whose last ACK comes again with data"),
        figure("slow-service", "499s", RATE_499, Percent, "tail of the lognormal: 1.88 %"),
        figure("slow-service", "longest connect, s", "latency_seconds.connect.max", Plain(4), "0.0003"),
        figure("packet-loss", "499s", RATE_499, Percent, "two packets of 0.1 %: 0.20 %"),
        figure("packet-loss", "bare ACKs", P_BARE, Percent, "0"),
        figure("incident-499-stray-rst", "hits by stray RST (M22)", "release_paths.M22 / attempts.time_wait_hits", Percent, "638 of 638 (lab i20)"),
        figure("random-on-4.19", "hits", P_HIT, Percent, "79 % (lab i12)"),
        figure("snat-insert-race", "insert failures", "causes.insert-failed / requests.total", Percent, "2.2 % (snat-race-conn-test: 2268 of 101,498)"),
        figure("cloud-nat-azure", "bare ACKs", P_BARE, Percent, "0: Azure holds 65 s after a FIN"),
        figure("cloud-nat-aws", "SYNs without a port", "causes.snat-exhaustion / requests.total", Percent, "limit 55,000 (AWS); theory 6.2 %"),
        figure("cloud-nat-gcp", "SYNs without a port", "causes.snat-exhaustion / requests.total", Percent, "64 ports per VM (Google); Erlang's B: 0.45 %"),
        figure("rolling-update", "requests lost", "causes.pod-gone / requests.total", Percent, "theory 5.6 to 6.6 %"),
        figure("retry-storm", "requests per operation", "requests.total / operations.total", Plain(2), "theory 5"),
        figure("retry-storm", "operations that succeed", "operations.succeeded / operations.total", Percent, "theory 0"),
    ]
};
