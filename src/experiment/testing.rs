//! For tests: the default incident as a plan made by hand, and observations with seeded but arbitrary figures whose
//! sums hold, as a world would leave them.

use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::model::client::Arrivals;
use crate::model::distribution::Distribution;
use crate::model::ipvs::IpvsConfig;
use crate::model::link::LinkConfig;
use crate::model::nat::{NatRules, PortChoice, SnatConfig, SnatMode};
use crate::model::sizes::Sizes;
use crate::model::slb::{Balance, ClientConnections, ServerLimits};
use crate::model::tcp::{PortSelection, TcpConfig, TimestampMode};
use crate::observe::{
    AttemptRecord, Counts, HitRecord, Observations, RequestRecord, Second, Seconds, latency_histogram,
};
use crate::profile::{self, Profile};
use crate::spec::*;
use crate::units::{Endpoint, FourTuple, PortRange, Rate, SeqNum, SimDuration, SimTime};
use crate::vocab::{Cause, Causes, HitAnswer, ReleasePath, Status, TimeWaitRule};

/// The incident's kernel.
fn kernel() -> &'static Profile {
    profile::find("alinux2-4.19").expect("a profile of this name")
}

fn tcp() -> TcpConfig {
    TcpConfig {
        port_selection: PortSelection::Random,
        ..kernel().tcp
    }
}

fn node() -> NodePlan {
    NodePlan {
        name: "node".into(),
        cluster: String::new(),
        local: false,
        ip: Ipv4Addr::new(10, 0, 1, 1),
        proxy: ProxyMode::Ipvs(IpvsConfig {
            conn_reuse_mode: 0,
            ..kernel().ipvs
        }),
        snat: SnatConfig {
            mode: SnatMode::Masquerade(PortChoice::RandomFully),
            to_ports: None,
            search: kernel().nat_search,
            evicts: kernel().nat_evicts,
            rules: NatRules::NETFILTER,
        },
        from_nodes: SnatMode::None,
        conntrack: kernel().conntrack,
        drop_syn_repeats_within: None,
        endpoint_delay: Distribution::Constant(SimDuration::ZERO),
        graceful_termination: true,
        drop_slb_resets: false,
        slb_weight: 1,
        pods: vec![vec![0]],
        link: None,
    }
}

/// The default incident: 350/s for 320 s, 64 addresses on 64 hosts, one node, one pod.
pub fn plan_for_tests() -> Plan {
    let link = |micros| LinkConfig::constant(SimDuration::from_micros(micros));
    Plan {
        name: "incident-499".into(),
        hash: "0123456789abcdef".into(),
        question: Some("How often does this load meet TIME_WAIT?".into()),
        seed: 1,
        replications: 10,
        duration: SimDuration::from_secs(320),
        warm_up: SimDuration::ZERO,
        slow_after: SimDuration::from_millis(900),
        scorecard: true,
        clients: vec![ClientPlan {
            name: "load".into(),
            tcp: tcp(),
            service: 0,
            slb: 0,
            arrivals: Arrivals::Poisson {
                rate: Rate::per_second(350),
            },
            until: None,
            timeout: Some(SimDuration::from_millis(800)),
            addresses: None,
            retry: None,
            keepalive: None,
            request_bytes: Sizes::Constant(200),
            response_bytes: Sizes::Constant(500),
        }],
        slb: SlbPlan {
            l7: true,
            vip: Endpoint::new(Ipv4Addr::new(203, 0, 113, 10), 80),
            hosts: (1..=64).map(|n| vec![Ipv4Addr::new(100, 64, 0, n)]).collect(),
            clusters: Vec::new(),
            tcp: TcpConfig {
                timestamps: TimestampMode::Off,
                ..tcp()
            },
            ports: PortRange::MASQUERADE,
            bind: Bind::None,
            strangers: 0,
            backends: Backends::NodePort,
            connect_timeout: SimDuration::from_secs(5),
            read_timeout: SimDuration::from_secs(60),
            client_connections: ClientConnections::NGINX,
            send_timeout: None,
            balance: Balance::RoundRobin,
            limits: ServerLimits::NONE,
            next_upstream: None,
            worker_connections: None,
            health_check: None,
            keepalive: None,
            stray_rst: None,
            endpoint_delay: Distribution::Constant(SimDuration::ZERO),
        },
        nodes: vec![node()],
        services: vec![ServicePlan {
            name: "web".into(),
            node_port: 30_080,
        }],
        pods: vec![PodPlan {
            name: "pod".into(),
            service: 0,
            node: 0,
            link: None,
            endpoint: Endpoint::new(Ipv4Addr::new(10, 1, 0, 1), 8080),
            tcp: tcp(),
            backlog: 511,
            workers: None,
            service_time: Distribution::Lognormal {
                median: SimDuration::from_millis(5),
                sigma: 0.5,
            },
            errors: None,
            close: ClosePolicy::AfterResponse,
            close_delay: Distribution::Constant(SimDuration::ZERO),
            ignore_client_abort: false,
            ipvs_weight: 1,
            runs_at_start: true,
            when_gone: GoneAnswer::Silent,
            slb_weight: 1,
            probe: None,
        }],
        events: vec![],
        links: LinksPlan {
            client_slb: link(250),
            slb_node: link(100),
            node_pod: link(50),
            slb_pod: link(100),
            node_node: None,
        },
        expectations: vec![],
    }
}

/// Observations of one replication: half of the hits refused, each refusal a 499, a few slow services besides.
pub fn observations_for_tests(plan: &Plan, replication: u32) -> Observations {
    let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ u64::from(replication) << 32);
    let mut observations = Observations {
        replication,
        simulated: plan.duration,
        events: 1_000 + u64::from(replication),
        queue_operations: 0,
        seconds: Seconds::default(),
        requests_in_flight: 2,
        connects_in_flight: 1,
        operations_in_flight: 0,
        connect_latency: latency_histogram(),
        request_latency: latency_histogram(),
        operation_latency: None,
        attempts: Vec::new(),
        attempts_left_out: 0,
        requests: Vec::new(),
        requests_left_out: 0,
        node_packets: Vec::new(),
        reuse_gap: vec![0; 64],
        syn_repeats: Vec::new(),
    };
    for second in 0..plan.duration.as_secs() {
        let counts = one_second(
            &mut rng,
            SimTime::from_nanos(second * 1_000_000_000),
            // The world keeps the gaps of the warm-up to itself.
            second >= plan.warm_up.as_secs(),
            &mut observations,
        );
        let gauges = crate::observe::Gauges {
            conntrack_entries: 350 * second.min(120),
            conntrack_alive: 350 * second.min(120),
            ipvs_entries: 350 * second.min(120),
            pod_time_wait: 350 * second.min(60),
            snat_ports_in_use: 350 * second.min(120),
        };
        observations.seconds.push(Second { counts, gauges });
    }
    observations
}

fn one_second(
    rng: &mut ChaCha8Rng,
    start: SimTime,
    counted: bool,
    observations: &mut Observations,
) -> Counts {
    let attempts = rng.random_range(300..400);
    let mut counts = Counts {
        requests_started: attempts,
        connects_started: attempts,
        attempts,
        ..Counts::default()
    };
    counts.by_status[0] = attempts;
    counts.established = attempts;
    for _ in 0..rng.random_range(0..4) {
        let refused = rng.random::<bool>();
        let gap = SimDuration::from_millis(rng.random_range(500..63_000));
        let at = start + SimDuration::from_millis(rng.random_range(0..1000));
        counts.time_wait_hits += 1;
        counts.release_paths[ReleasePath::ORPHAN_BY_REOPEN.index()] += 1;
        if counted {
            observations.reuse_gap[gap.as_secs() as usize] += 1;
        }
        let record = hit_record(at, gap, refused);
        observations.attempts.push(record);
        if refused {
            counts.bare_acks += 1;
            counts.rst_kills += 1;
            counts.by_status[0] -= 1;
            counts.by_status[1] += 1;
            counts.established -= 1;
            counts.abandoned += 1;
            counts.causes[0] += 1;
            counts.failed_by_path[ReleasePath::ORPHAN_BY_REOPEN.index()] += 1;
            observations.requests.push(RequestRecord {
                request: record.request,
                population: 0,
                started: at,
                ended: at + SimDuration::from_millis(800),
                status: Status::ClientClosed,
                cause: Some(Cause::TimeWaitCollision),
                contributing: Causes::NONE,
                release_path: Some(ReleasePath::ORPHAN_BY_REOPEN),
                connect_time: None,
                syns_sent: 1,
                slb_tuple: Some(record.slb_tuple),
            });
        } else {
            counts.recycled += 1;
        }
    }
    for _ in 0..counts.established {
        observations
            .connect_latency
            .saturating_record(rng.random_range(250_000..400_000));
        observations
            .request_latency
            .saturating_record(rng.random_range(4_000_000..20_000_000));
    }
    counts
}

fn hit_record(at: SimTime, gap: SimDuration, refused: bool) -> AttemptRecord {
    let slb = |host, port| {
        FourTuple::new(
            Endpoint::new(Ipv4Addr::new(100, 64, 0, host), port),
            Endpoint::new(Ipv4Addr::new(10, 0, 1, 1), 30_080),
        )
    };
    AttemptRecord {
        at,
        pod: 0,
        source: Endpoint::new(Ipv4Addr::new(10, 0, 1, 1), 30_552),
        isn: SeqNum(7),
        slb_tuple: slb(1, 33_322),
        hit: Some(HitRecord {
            answer: if refused {
                HitAnswer::BareAck
            } else {
                HitAnswer::Recycled
            },
            rule: if refused {
                TimeWaitRule::OldSequence
            } else {
                TimeWaitRule::NewerSequence
            },
            reuse_gap: gap,
            exact_rst_seen: false,
            path: ReleasePath::ORPHAN_BY_REOPEN,
            previous_tuple: slb(2, 9_742),
            released_at: Some(at),
            old_ipvs_undisturbed: false,
            previous_rewritten: true,
        }),
        request: 1,
        syns_sent: 1,
        status: Some(if refused { Status::ClientClosed } else { Status::Ok }),
        connect_started: at,
        request_ended: Some(at + SimDuration::from_millis(800)),
    }
}
