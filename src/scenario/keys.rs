//! Every key that a scenario knows, as data: what the reader accepts, what the reference page says and which name is
//! nearest to a mistyped one all come from this table. A test holds that the reader asks for exactly these keys and that
//! the defaults written here are the real ones.

/// Top-level tables that may stand several times, as `[[name]]`.
pub(super) const REPEATED: [&str; 7] = ["service", "clients", "node", "pod", "event", "rollout", "expect"];

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A table.
    Table,
    /// A table, or several of them.
    Tables,
    /// A table whose keys are the sysctls of that host.
    Sysctl,
    /// A table whose keys are the behaviours of that host's kernel.
    Behaviours,
    /// `"60s"`.
    Duration,
    /// `"350/s"`.
    Rate,
    /// A whole number.
    Count,
    /// 0 to 1, or `"0.1%"`.
    Share,
    /// Any string.
    Text,
    /// A name: letters, digits, `-`, `_`.
    Name,
    /// true or false.
    Switch,
    /// `"32768-60999"`.
    Ports,
    /// `"10.0.1.1"`.
    Address,
    /// `"100.64.0.0/10"`.
    Network,
    /// `"203.0.113.10:80"`.
    Endpoint,
    /// The name of a kernel profile.
    Profile,
    /// A duration or a distribution of durations.
    Distribution,
    /// A size or a distribution of sizes.
    Sizes,
    /// A number.
    Number,
    /// A comparison over the paths of `summary.json`.
    Comparison,
    /// Something else, said here.
    Other(&'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Type {
    /// The type in the reference page.
    pub fn describe(self) -> String {
        match self {
            Self::Table => "table".into(),
            Self::Tables => "table, or several as `[[...]]`".into(),
            Self::Sysctl => "table of sysctls".into(),
            Self::Behaviours => "table of behaviours".into(),
            Self::Duration => "duration".into(),
            Self::Rate => "rate".into(),
            Self::Count => "whole number".into(),
            Self::Share => "share".into(),
            Self::Text => "string".into(),
            Self::Name => "name".into(),
            Self::Switch => "`true` or `false`".into(),
            Self::Ports => "port range".into(),
            Self::Address => "IPv4 address".into(),
            Self::Network => "IPv4 network".into(),
            Self::Endpoint => "address and port".into(),
            Self::Profile => "kernel profile".into(),
            Self::Distribution => "duration or distribution".into(),
            Self::Sizes => "size or distribution".into(),
            Self::Number => "number".into(),
            Self::Comparison => "comparison".into(),
            Self::Other(text) => text.into(),
            Self::Choice(words) => words
                .iter()
                .map(|word| format!("`\"{word}\"`"))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Dotted path, without numbers and names of repeated tables.
    pub path: &'static str,
    /// What it takes.
    pub kind: Type,
    /// The default: TOML text in quotes or plain if it is a value, otherwise words that begin with a capital or a dash.
    pub default: &'static str,
    /// What it means.
    pub prose: &'static str,
}

const fn key(path: &'static str, kind: Type, default: &'static str, prose: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        prose,
    }
}

/// Whether `path` is a key.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The keys directly inside the table `path` (empty: the top of the file), by their last component.
pub(super) fn inside(path: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |key| {
        let rest = if path.is_empty() {
            key.path
        } else {
            key.path.strip_prefix(path)?.strip_prefix('.')?
        };
        (!rest.contains('.')).then_some(rest)
    })
}

/// All of them, in the order of the reference page.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("question", Type::Text, "-", "The question that the scenario answers, in one sentence; printed with the result."),
    key("seed", Type::Count, "1", "Root of all randomness. The same scenario with the same seed gives the same figures to the last digit."),
    key("duration", Type::Duration, "Required", "Simulated time during which requests arrive, up to 30 days."),
    key("warm_up", Type::Duration, "\"0s\"", "Figures leave out this much from the start. Shorter than `duration`."),
    key("replications", Type::Count, "1", "Independent repetitions, 1 to 100000; more of them narrow the intervals."),
    key("slow_after", Type::Duration, "\"0.9s\"", "An answered request that took the client so long or longer is slow: it is counted, with its cause, beside the failed ones."),
    key("scorecard", Type::Switch, "false", "Work out the eight points of the published incident."),
    key("clusters", Type::Count, "1", "Copies of the whole group of nodes and pods behind the one SLB. Each copy's nodes forward to their own pods; the SLB goes round over all nodes."),
    key("service", Type::Tables, "One, named `service`", "A Kubernetes service of type NodePort. The first one is the default of clients and pods."),
    key("service.name", Type::Name, "\"service\"", "Name, by which `clients.service` and `pod.service` choose it."),
    key("service.node_port", Type::Count, "30080", "NodePort. Several services without one count up from 30080."),

    key("clients", Type::Tables, "Required", "A population of clients."),
    key("clients.name", Type::Name, "\"clients\"", "Name, for display; several populations without one are numbered."),
    key("clients.arrivals", Type::Choice(&["poisson", "constant", "mmpp", "rate-profile", "diurnal", "trace", "closed-loop"]), "\"poisson\"", "Independent arrivals, evenly spaced ones, bursts, ramps and steps, a day, written times, or virtual users that wait for their answer before they send again. A closed loop hides slow answers: it slows down with them."),
    key("clients.rate", Type::Rate, "Required if poisson, constant or diurnal", "Requests per second of the population; of a day, the mean."),
    key("clients.mmpp", Type::Table, "Required if mmpp", "Bursts: a Poisson process whose rate jumps between states (Markov-modulated)."),
    key("clients.mmpp.states", Type::Tables, "Required", "Two states or more, up to 100. The run begins in one of them, with the chance of its share of the time."),
    key("clients.mmpp.states.rate", Type::Rate, "Required", "Requests per second in the state; may be 0."),
    key("clients.mmpp.states.mean_dwell", Type::Duration, "Required", "Mean time in the state, exponential."),
    key("clients.mmpp.next", Type::Choice(&["cyclic", "equal-chance"]), "\"cyclic\"", "Which state follows: the next one of the list, or each of the others with the same chance."),
    key("clients.rate_profile", Type::Tables, "Required if rate-profile", "Points in order of time, up to 10000. The rate is linear between two, and two at one time are a step. Before the first and after the last one theirs holds. Arrivals are Poisson at that rate."),
    key("clients.rate_profile.at", Type::Duration, "Required", "When, since the start or the start of the period."),
    key("clients.rate_profile.rate", Type::Rate, "Required", "Requests per second then; may be 0."),
    key("clients.rate_profile_period", Type::Duration, "None: once", "The profile begins anew after this time."),
    key("clients.diurnal", Type::Table, "Required if diurnal", "A day: the rate follows a sine around `clients.rate`. Arrivals are Poisson at that rate."),
    key("clients.diurnal.peak_to_mean", Type::Number, "Required", "Highest rate divided by the mean, 1 to 2. At 2 nobody comes at the lowest point."),
    key("clients.diurnal.period", Type::Duration, "\"24h\"", "Length of the day."),
    key("clients.diurnal.peak_at", Type::Duration, "Half of the period: the run begins at the lowest point", "When in it the rate is highest."),
    key("clients.trace", Type::Text, "Required if trace", "CSV file whose first column holds the arrivals in order, in seconds since the start or as durations; up to 10 million rows and 256 MiB. It lies beside the scenario (for a scenario without a file, in the working directory). A header and lines from `#` on are left out."),
    key("clients.users", Type::Count, "Required if closed-loop", "Virtual users, 1 to 1000000."),
    key("clients.think_time", Type::Distribution, "Required if closed-loop, unless `pacing`", "Pause of a virtual user between the end of a request and the next one."),
    key("clients.pacing", Type::Other("duration or `\"none\"`"), "\"none\"", "Time from one request of a virtual user to its next one, at least: a user who was answered sooner waits, one who was not goes on at once. `think_time` comes on top of the answer, not of this. Users begin evenly spread over it."),
    key("clients.ramp_up", Type::Duration, "\"0s\"", "Virtual users begin one by one, evenly over this time; without it each waits out a `think_time` first."),
    key("clients.timeout", Type::Duration, "\"60s\"", "The client leaves when it has waited this long since it began to connect (status 499); `\"none\"`: it waits for ever. Without layer 7 the default is `\"none\"`."),
    key("clients.addresses", Type::Count, "One per request", "Source addresses that the requests come from, as `slb.balance = \"source-hash\"` sees it: users behind few NATs meet few backends."),
    key("clients.request_bytes", Type::Sizes, "\"200B\"", "Octets of a request, 1 to 100 MB."),
    key("clients.response_bytes", Type::Sizes, "\"500B\"", "Octets of a response, 1 to 100 MB."),
    key("clients.retry", Type::Table, "None: one try", "What a client does when a try fails. Each try is a request of its own in the access log, and waits for `timeout` of its own; the block `operations` of the results has what the client sees of all tries together. Words and defaults are gRPC's, the default of `jitter` is not."),
    key("clients.retry.max_attempts", Type::Count, "3", "Tries in all, the first one included, 2 to 100."),
    key("clients.retry.on", Type::Other("list of statuses"), "[499, 502, 503, 504]", "Statuses after which a client tries again, out of 499, 500, 502, 503, 504. 499: its own `timeout`, or a connection that broke before the whole answer was there."),
    key("clients.retry.initial_backoff", Type::Duration, "\"100ms\"", "Pause before the second try."),
    key("clients.retry.backoff_multiplier", Type::Number, "2", "Factor from one pause to the next, 1 to 10."),
    key("clients.retry.max_backoff", Type::Duration, "\"10s\"", "The longest pause."),
    key("clients.retry.jitter", Type::Choice(&["none", "full", "equal"]), "\"full\"", "What of a pause is drawn: nothing, all of it (uniform from 0 to the pause), or half of it (uniform from half of the pause to the whole)."),
    key("clients.retry.throttling", Type::Table, "None: no limit", "Tokens that the whole population shares (gRPC's `retryThrottling`): a try that fails takes one, one that succeeds gives `token_ratio` back, and nobody tries again while half of them or fewer are left."),
    key("clients.retry.throttling.max_tokens", Type::Count, "10", "Tokens at the start and at most, 1 to 1000000."),
    key("clients.retry.throttling.token_ratio", Type::Number, "0.1", "Tokens that a success gives back, 0.001 to 1000."),
    key("clients.keepalive", Type::Table, "None: a connection per request", "Clients keep their connections to the SLB: each virtual user its own, an open loop in a pool of which the youngest is used first. The SLB has limits of its own, `slb.client_keepalive_timeout` and `slb.client_keepalive_requests`. A request that meets a close on its way is sent again once, on a new connection."),
    key("clients.keepalive.idle_timeout", Type::Other("duration or `\"none\"`"), "\"90s\"", "The client closes a connection that was idle for so long. The default is that of Go's HTTP client."),
    key("clients.keepalive.requests", Type::Other("whole number or `\"none\"`"), "\"none\"", "The client closes a connection after so many requests."),
    key("clients.service", Type::Name, "The first service", "The service that the population asks."),
    key("clients.slb", Type::Name, "The first cluster", "The SLB cluster that the population comes to (`slb.cluster`)."),
    key("clients.profile", Type::Profile, "The SLB's kernel as it is set, with timestamps on", "Kernel of the clients."),
    key("clients.hz", Type::Count, "The profile's", "Timer interrupts per second: 100, 250, 300 or 1000."),
    key("clients.kernel", Type::Behaviours, "The profile's", "Single behaviours of the clients' kernel that differ from its profile."),
    key("clients.sysctl", Type::Sysctl, "The profile's", "Sysctls of the clients."),

    key("slb", Type::Table, "All defaults", "The layer-7 load balancer in front of the nodes."),
    key("slb.profile", Type::Profile, "\"6.12\"", "Kernel of the SLB's hosts. For a user-space stack say what differs: `caller_reaction`, `port_selection`, `timestamps`."),
    key("slb.hz", Type::Count, "The profile's", "Timer interrupts per second of the SLB's kernel: 100, 250, 300 or 1000. Kernel timers round up to multiples that depend on it."),
    key("slb.hosts", Type::Count, "1", "Hosts of the SLB cluster, 1 to 10000. Each has its own clock offset and secrets."),
    key("slb.cluster", Type::Tables, "None: all hosts are one cluster", "Clusters of the SLB, each with hosts of its own and set up alike; a population comes to one of them (`clients.slb`). All of them connect to the same backends."),
    key("slb.cluster.name", Type::Name, "Their number", "Name, by which `clients.slb` chooses it; without one it is `slb` and a number."),
    key("slb.cluster.hosts", Type::Count, "One", "Hosts of the cluster, in place of `slb.hosts`; 10000 in all."),
    key("slb.addresses", Type::Other("whole number or list of IPv4 addresses"), "One per host", "Source addresses in all, spread over the hosts evenly and in order."),
    key("slb.network", Type::Network, "\"100.64.0.0/10\"", "Where a number of `addresses` is counted up from, the first host address on."),
    key("slb.vip", Type::Endpoint, "\"203.0.113.10:80\"", "Address that the clients connect to."),
    key("slb.ports", Type::Ports, "\"32768-60999\"", "Source ports of upstream connections (`ip_local_port_range`)."),
    key("slb.port_selection", Type::Choice(&["linux", "random"]), "\"linux\"", "How a source port is chosen: as connect() of the profile's kernel does, or uniformly over the whole range."),
    key("slb.bind", Type::Choice(&["none", "no-port", "port-zero"]), "\"none\"", "What the SLB does about its source address before connect(): nothing, or bind() with `IP_BIND_ADDRESS_NO_PORT` (nginx' `proxy_bind`), which both leave the port to connect(); or bind() to port 0, which takes a random odd port that is then in use towards every destination."),
    key("slb.l7", Type::Switch, "true", "Layer 7, with a client's leg in front. `false`: an arrival connects upstream at once."),
    key("slb.backends", Type::Choice(&["node-port", "pod"]), "\"node-port\"", "Connect to `node:NodePort`, or straight to the pod (ENI)."),
    key("slb.connect_timeout", Type::Duration, "\"60s\"", "nginx' `proxy_connect_timeout`, or the patience of a caller without layer 7."),
    key("slb.read_timeout", Type::Duration, "\"60s\"", "nginx' `proxy_read_timeout`."),
    key("slb.send_timeout", Type::Duration, "None: sending counts as reading", "nginx' `proxy_send_timeout`, there 60s: 504 if no octet of a request went on for so long; `read_timeout` runs from the last one. It matters for requests beyond 16 kB only: the kernel takes smaller ones at once."),
    key("slb.balance", Type::Choice(&["round-robin", "least-conn", "source-hash", "random-two-least-conn"]), "\"round-robin\"", "How a host chooses among the backends of a service: nginx' smooth weighted round robin, `least_conn`, `hash $remote_addr` (each request a client of its own unless `clients.addresses` says otherwise), `random two least_conn`. Each host chooses by what it knows itself."),
    key("slb.max_conns", Type::Count, "0", "Requests of a host at one backend at once (nginx' `max_conns`); 0: no limit. With none left: 502."),
    key("slb.max_fails", Type::Count, "None (0), or 1 with `next_upstream`", "Failures that take a backend out for `fail_timeout`, if there are several (nginx' `max_fails`, there 1); 0: none do."),
    key("slb.fail_timeout", Type::Duration, "\"10s\"", "How long `max_fails` takes a backend out (nginx' `fail_timeout`)."),
    key("slb.next_upstream", Type::Other("`\"off\"` or a list of `\"error\"`, `\"timeout\"`, `\"http-500\"`, `\"http-502\"`, `\"http-503\"`, `\"http-504\"`"), "None: only a kept connection that was dead is made up for", "Failures after which another backend is tried (nginx' `proxy_next_upstream`, there `error timeout`). With `\"off\"` not even a dead kept connection is made up for."),
    key("slb.next_upstream_tries", Type::Count, "0", "Backends that a request tries at most (nginx' `proxy_next_upstream_tries`); 0: all of them."),
    key("slb.next_upstream_timeout", Type::Duration, "\"0s\"", "No other backend is tried after this time (nginx' `proxy_next_upstream_timeout`); zero: no limit."),
    key("slb.worker_connections", Type::Count, "None", "Connections of a host, to clients and upstream together (nginx' `worker_connections`, the host taken as one worker). With none left a client is closed at once and an upstream connection ends in 500."),
    key("slb.timestamps", Type::Choice(&["on", "off", "no-offset", "stripped"]), "\"on\"", "Short for the sysctl `tcp_timestamps` 1, 0 or 2 of the SLB. `\"stripped\"`: a middlebox erases the option, and then neither end has it, as with `\"off\"`."),
    key("slb.caller_reaction", Type::Choice(&["rst", "rst-fast-resend", "ignore"]), "The profile's", "Answer of a connecting socket to an ACK that acknowledges no SYN of its own: RST and the next SYN in its time (Linux before 5.6), RST and the next SYN after 2 jiffies (5.6 and later), nothing (a user-space stack)."),
    key("slb.client_keepalive_timeout", Type::Duration, "\"75s\"", "The SLB closes a client's connection that was idle for so long (nginx' `keepalive_timeout` towards clients); `\"0s\"`: with each response. For clients that keep their connections, `clients.keepalive`."),
    key("slb.client_keepalive_requests", Type::Count, "1000", "The SLB closes a client's connection after so many requests (nginx' `keepalive_requests` towards clients)."),
    key("slb.keepalive", Type::Table, "None: a connection per request", "Idle upstream connections are kept for further requests (nginx' `keepalive`). The pod must keep them too: `pod.close`."),
    key("slb.keepalive.size", Type::Count, "32", "Idle connections kept per SLB host and service (nginx: per worker and `upstream`). A full cache closes the one that was idle longest."),
    key("slb.keepalive.idle_timeout", Type::Duration, "\"60s\"", "The SLB closes a connection that was idle for so long (nginx' `keepalive_timeout`)."),
    key("slb.keepalive.requests", Type::Count, "1000", "The SLB closes a connection after so many requests (nginx' `keepalive_requests`)."),
    key("slb.keepalive.time", Type::Duration, "\"1h\"", "The SLB keeps no connection that is older (nginx' `keepalive_time`)."),
    key("slb.health_check", Type::Table, "None", "Active checks of every backend by every host. They are no requests, but real connections: SYNs that pods count as attempts, ports, conntrack entries, TIME_WAIT."),
    key("slb.health_check.kind", Type::Choice(&["tcp", "http"]), "\"tcp\"", "Connect and close, or connect, ask and close with the answer."),
    key("slb.health_check.close", Type::Choice(&["rst", "fin"]), "\"rst\"", "How a check of TCP closes."),
    key("slb.health_check.from", Type::Choice(&["host", "every-address"]), "\"host\"", "Check from the first address of each host, or from every address."),
    key("slb.health_check.interval", Type::Duration, "\"30s\"", "From the start of a check to the start of the next."),
    key("slb.health_check.timeout", Type::Duration, "\"1s\"", "A check that takes longer has failed."),
    key("slb.health_check.rise", Type::Count, "2", "Good checks in a row that put a backend back."),
    key("slb.health_check.fall", Type::Count, "5", "Bad checks in a row that take a backend out."),
    key("slb.stray_rst", Type::Table, "None", "RSTs that the SLB sends after an orderly close."),
    key("slb.stray_rst.share", Type::Share, "Required", "Share of the closes that are followed by one."),
    key("slb.stray_rst.seq_offset", Type::Other("whole number"), "-1", "Its sequence number minus the pod's `rcv_nxt`. Only 0 would kill the pod's TIME_WAIT."),
    key("slb.stray_rst.after", Type::Duration, "\"100ms\"", "Time after the pod's FIN reached the SLB."),
    key("slb.endpoint_delay", Type::Distribution, "\"1s\"", "With `backends = \"pod\"`: time from a change of a service's endpoints until the SLB knows of it. Only where pods come and go: `event`, `rollout`."),
    key("slb.kernel", Type::Behaviours, "The profile's", "Single behaviours of the kernel of the SLB's hosts that differ from its profile."),
    key("slb.sysctl", Type::Sysctl, "The profile's", "Sysctls of the SLB's hosts."),

    key("node", Type::Tables, "One, all defaults", "A Kubernetes node."),
    key("node.name", Type::Name, "\"node\"", "Name, for display; several of them are numbered."),
    key("node.count", Type::Count, "1", "Nodes like this one, 1 to 1000."),
    key("node.cluster", Type::Name, "None: one cluster", "Name of the Kubernetes cluster that the node belongs to. Nodes forward to the pods of their own cluster; the SLB goes round over the nodes of all. For equal clusters see `clusters`."),
    key("node.profile", Type::Profile, "\"6.12\"", "Kernel of the node, and of its pods unless they name another."),
    key("node.hz", Type::Count, "The profile's", "Timer interrupts per second: 100, 250, 300 or 1000."),
    key("node.proxy", Type::Choice(&["iptables", "ipvs"]), "\"iptables\"", "kube-proxy's mode: a random pod per connection, or ipvs with its scheduler."),
    key("node.external_traffic_policy", Type::Choice(&["cluster", "local"]), "\"cluster\"", "`local`: no SNAT, and only pods of this node are used. Pods are dealt to the nodes of their cluster in turn, unless `pod.node_name` says otherwise."),
    key("node.ip", Type::Address, "10.0.1.1 up", "Address; NodePorts listen on it and MASQUERADE uses it. Several nodes count up from it."),
    key("node.kube_proxy", Type::Switch, "true", "kube-proxy's settings apply: conntrack ESTABLISHED 86400 s and CLOSE_WAIT 3600 s, `expire_nodest_conn` 1, `conn_reuse_mode` 0 on kernels before 5.9, INVALID dropped in iptables mode. `false`: the kernel's own defaults, as in the laboratory."),
    key("node.drop_syn_repeats_within", Type::Duration, "None", "Drop a SYN that the same address and port repeats within this time: the laboratory's rule that makes a new caller look old."),
    key("node.cpus", Type::Count, "4", "CPUs over which the node's packets spread by their tuple; 1 to 1024. Only `node.snat.confirm_delay` asks for it."),
    key("node.drop_slb_resets", Type::Switch, "false", "Drop every RST of the SLB before conntrack sees it: a firewall in between, or the laboratory's rule."),
    key("node.link", Type::Table, "None", "This node's link to the SLB; what is left out is as `links.slb_node` says."),
    key("node.link.delay", Type::Distribution, "As in `links`", "One-way delay."),
    key("node.link.jitter", Type::Distribution, "As in `links`", "As `links.client_slb.jitter`."),
    key("node.link.loss", Type::Other("share or `{ burst = { ... } }`"), "As in `links`", "As `links.client_slb.loss`."),
    key("node.link.bandwidth", Type::Other("bandwidth or `\"none\"`"), "As in `links`", "As `links.client_slb.bandwidth`."),
    key("node.link.queue", Type::Other("packets, size or `\"none\"`"), "As in `links`", "As `links.client_slb.queue`."),
    key("node.endpoint_delay", Type::Distribution, "\"1s\"", "Time from a change of a service's endpoints until this node's kube-proxy has written it (network programming latency); of a change that it was told before none is overtaken. Only where pods come and go: `event`, `rollout`."),
    key("node.slb_weight", Type::Count, "1", "The SLB's weight of this node, 1 to 65535 (nginx' `server ... weight`)."),
    key("node.snat", Type::Table, "All defaults", "Source NAT of forwarded connections."),
    key("node.snat.preset", Type::Choice(&["aws-nat-gateway", "azure-nat-gateway", "gcp-cloud-nat", "cilium", "calico-ebpf"]), "None", "Another NAT in the place of MASQUERADE: its ports, its search and its timeouts, which single keys and sysctls override. Published figures only; what is assumed beside them is printed with the result."),
    key("node.snat.mode", Type::Choice(&["masquerade", "none"]), "\"masquerade\"", "MASQUERADE to the node's address, or nothing. Always nothing under `external_traffic_policy = \"local\"`."),
    key("node.snat.random", Type::Choice(&["random-fully", "random", "none"]), "\"random-fully\"", "Flag of the MASQUERADE rule. kube-proxy adds `--random-fully` if the node's iptables knows it; without a flag the source port is kept if it is free."),
    key("node.snat.to_ports", Type::Ports, "The kernel's, 1024-65535", "`--to-ports`."),
    key("node.snat.allocator", Type::Choice(&["kernel", "sequential", "hash", "random", "ebpf"]), "The preset's or the kernel's", "How a port is found: as the profile's kernel does, the next one above the last, from a hash of the tuple upward, any free one, or 32 tests as Cilium does (the source port, a random one, upward from another). Except with `random = \"none\"` no source port is kept."),
    key("node.snat.ports_per_destination", Type::Count, "The preset's or no limit", "Ports in use towards one pod at most, 1 to 64512; a further SYN is dropped."),
    key("node.snat.ports_per_source", Type::Count, "The preset's or all", "Ports set aside for each source address, 1 to 64512, in blocks from the first port on; an address for which no block is left gets none."),
    key("node.snat.reopened", Type::Choice(&["new-port", "same-port"]), "The preset's or \"new-port\"", "What a SYN gets that comes on its own closed mapping: netfilter forgets the mapping and searches anew, other NATs go on with it."),
    key("node.snat.scan_interval", Type::Duration, "The preset's or none", "Entries end with the next scan after their timeout, not with it: an eBPF table that its agent scans so often."),
    key("node.snat.confirm_delay", Type::Duration, "\"0s\"", "Time from the choice of a port to the confirmation of its entry, during which other CPUs do not see it: two of them may choose the same port, and the later SYN is dropped (`insert_failed`). Up to 1 s; `\"0s\"`: one packet at a time."),
    key("node.snat.hijacked_ports", Type::Ports, "None", "Ports whose answers never reach conntrack: NodePorts of an eBPF program beside iptables' MASQUERADE, which takes a pod's answer for a client's packet."),
    key("node.snat.from_nodes", Type::Choice(&["none", "masquerade"]), "\"none\"", "What becomes of a connection that another node has forwarded to a pod of this one (`links.node_node`): nothing, as with the usual network plugins, or a second MASQUERADE, to a port of this node."),
    key("node.conntrack", Type::Table, "All defaults", "Connection tracking; its timeouts and limits are sysctls."),
    key("node.conntrack.background_entries", Type::Count, "0", "Entries of other traffic: always there, ASSURED, never closing. Below `nf_conntrack_max`."),
    key("node.conntrack.drop_invalid", Type::Switch, "True in iptables mode with kube-proxy, unless `nf_conntrack_tcp_be_liberal`", "A FORWARD rule drops packets in state INVALID."),
    key("node.ipvs", Type::Table, "All defaults", "ipvs; without effect in iptables mode."),
    key("node.ipvs.scheduler", Type::Choice(&["rr", "wrr", "lc", "wlc", "sh", "mh"]), "\"rr\"", "Scheduler, kube-proxy's `ipvs.scheduler`: round robin, the same by weight, fewest connections, the same per weight, source hash, Maglev hash."),
    key("node.ipvs.hash_port", Type::Switch, "false", "`ipvsadm -b sh-port` or `mh-port`: the source port counts in the hash."),
    key("node.ipvs.hash_fallback", Type::Switch, "false", "`ipvsadm -b sh-fallback` or `mh-fallback`: where the hash leads to a pod of weight 0, another one is looked for; else the connection gets none."),
    key("node.ipvs.graceful_termination", Type::Switch, "As `kube_proxy`", "A pod whose endpoint is terminating or gone keeps weight 0 until no ipvs connection of it is left, looked at every minute, as kube-proxy does it. `false`: it is deleted when its endpoint is gone."),
    key("node.ipvs.conn_reuse_mode", Type::Count, "As kube-proxy leaves it", "Short for the sysctl `net.ipv4.vs.conn_reuse_mode`."),
    key("node.ipvs.tcp_timeout", Type::Duration, "\"900s\"", "ESTABLISHED, as `ipvsadm --set` and kube-proxy's `tcpTimeout`; `\"0s\"` leaves the default."),
    key("node.ipvs.tcp_fin_timeout", Type::Duration, "\"120s\"", "FIN_WAIT, as `ipvsadm --set` and kube-proxy's `tcpFinTimeout`; `\"0s\"` leaves the default."),
    key("node.kernel", Type::Behaviours, "The profile's", "Single behaviours of the kernel of the node that differ from its profile. Pods have the node's `hz`."),
    key("node.sysctl", Type::Sysctl, "The profile's and kube-proxy's", "Sysctls of the node."),

    key("pod", Type::Tables, "One, all defaults", "A pod that serves a service."),
    key("pod.name", Type::Name, "\"pod\"", "Name, for display; several of them are numbered."),
    key("pod.count", Type::Count, "1", "Pods like this one, 1 to 10000."),
    key("pod.cluster", Type::Name, "That of its node", "Name of the Kubernetes cluster that the pod belongs to; needed if all nodes have one, there are several, and `node_name` says nothing."),
    key("pod.node_name", Type::Name, "The nodes of its cluster in turn", "Node that the pod runs on (`nodeName`): a node's name, or the `name` of a table of several, which are then taken in turn. It decides the pod's kernel, whose pod it is under `external_traffic_policy = \"local\"`, and the way with `links.node_node`."),
    key("pod.profile", Type::Profile, "Its node's", "Kernel under the pod."),
    key("pod.hz", Type::Count, "The profile's or its node's", "Timer interrupts per second: 100, 250, 300 or 1000."),
    key("pod.ip", Type::Address, "The first of `network`", "Address. Several pods count up from it."),
    key("pod.network", Type::Network, "\"10.1.0.0/16\"", "Pods without `ip` are counted up in it, over all tables that share it."),
    key("pod.port", Type::Count, "8080", "Port that the pod listens on."),
    key("pod.service", Type::Name, "The first service", "The service that the pod serves."),
    key("pod.backlog", Type::Count, "511", "Backlog of listen(); the accept queue holds min(backlog, somaxconn) + 1."),
    key("pod.workers", Type::Other("whole number or `\"none\"`"), "\"none\"", "Requests served at once; `\"none\"`: no limit. A connection waits in the accept queue for a free worker."),
    key("pod.service_time", Type::Distribution, "\"5ms\"", "Time from request to response."),
    key("pod.errors", Type::Table, "None: 200 only", "Answers of the pod that are errors, as long as its others. The SLB logs their status, or tries another backend: `slb.next_upstream`."),
    key("pod.errors.share", Type::Share, "Required", "Share of its answers."),
    key("pod.errors.status", Type::Count, "500", "Their status: 500, 502, 503 or 504."),
    key("pod.close", Type::Other("`\"after-response\"`, `\"reset\"`, `\"keep-alive\"` or `{ keep-alive = { ... } }`"), "\"after-response\"", "Who closes upstream connections. The side that closes first holds TIME_WAIT: without a pod that closes first there is no collision. `\"reset\"`: the pod resets the connection after the response (`SO_LINGER` 0), and nobody holds TIME_WAIT."),
    key("pod.close_delay", Type::Distribution, "\"0s\"", "With `close = \"after-response\"` or `\"reset\"`: time from the response to the close(). If it is not zero, the SLB acknowledges the response before the FIN comes, and nginx closes first where the FIN takes more than 50 us."),
    key("pod.ignore_client_abort", Type::Switch, "false", "A request whose connection the SLB has closed meanwhile is worked on to the end, as by a process that does not look (nginx has `fastcgi_ignore_client_abort` for its own side): the worker stays busy, and the SLB's kernel answers the late response with an RST. `false`: the pod closes at once."),
    key("pod.slb_weight", Type::Count, "1", "The SLB's weight of this pod if `slb.backends` is `\"pod\"`, 1 to 65535 (nginx' `server ... weight`)."),
    key("pod.probe", Type::Table, "None", "A probe of the kubelet, from the node's own address straight to the pod. It is no request, but a connection that the pod counts as an attempt. What it finds changes nothing."),
    key("pod.probe.kind", Type::Choice(&["tcp", "http"]), "\"http\"", "`tcpSocket` or `httpGet`."),
    key("pod.probe.period", Type::Duration, "\"10s\"", "Kubernetes' `periodSeconds`."),
    key("pod.probe.timeout", Type::Duration, "\"1s\"", "Kubernetes' `timeoutSeconds`."),
    key("pod.close.keep-alive", Type::Table, "-", "The pod leaves closing to the SLB, within these limits."),
    key("pod.close.keep-alive.idle_timeout", Type::Duration, "\"75s\"", "The pod closes a connection that was idle for so long."),
    key("pod.close.keep-alive.requests", Type::Count, "1000", "The pod closes after so many requests."),
    key("pod.link", Type::Table, "None", "The link of each of these pods to its node, or to the SLB if `slb.backends` is `\"pod\"`; what is left out is as `links.node_pod` or `links.slb_pod` says."),
    key("pod.link.delay", Type::Distribution, "As in `links`", "One-way delay."),
    key("pod.link.jitter", Type::Distribution, "As in `links`", "As `links.client_slb.jitter`."),
    key("pod.link.loss", Type::Other("share or `{ burst = { ... } }`"), "As in `links`", "As `links.client_slb.loss`."),
    key("pod.link.bandwidth", Type::Other("bandwidth or `\"none\"`"), "As in `links`", "As `links.client_slb.bandwidth`."),
    key("pod.link.queue", Type::Other("packets, size or `\"none\"`"), "As in `links`", "As `links.client_slb.queue`."),
    key("pod.ipvs_weight", Type::Count, "1", "Weight of the pod for ipvs, 0 to 65535; kube-proxy gives all of them 1."),
    key("pod.when_gone", Type::Choice(&["silent", "reset"]), "\"silent\"", "What a packet meets that is sent to a pod which is gone: nobody, or an RST (which stands for an ICMP error, too: a caller is refused at once)."),
    key("pod.kernel", Type::Behaviours, "The profile's", "Single behaviours of the kernel of the pod that differ from its profile."),
    key("pod.sysctl", Type::Sysctl, "The profile's", "Sysctls of the pod."),

    key("event", Type::Tables, "None", "Something that happens to pods while the run lasts."),
    key("event.at", Type::Duration, "Required", "When, from the start of the run."),
    key("event.pod", Type::Name, "Required", "A pod, or the name of a table: all of its pods. With `clusters` those of each cluster."),
    key("event.what", Type::Choice(&["drain", "remove", "add", "crash", "restart"]), "Required", "`drain`: the endpoint is terminating, the pod serves on. `remove`: the endpoint is gone and the pod with it, without a word. `add`: the pod is there again and ready. `crash`: every socket is gone without a word, timewait sockets too, and the address answers RST. `restart`: the process ends, so that the kernel closes its connections and keeps its timewait sockets, and the address answers RST. Crash and restart leave the endpoint as it is."),
    key("event.for", Type::Duration, "Required with restart", "The process is back after so long; without it a pod that crashed is not."),
    key("rollout", Type::Tables, "None", "A rolling update of a service, as a Deployment does it: every pod is replaced by a new one with an address of its own. With `clusters` in each of them."),
    key("rollout.at", Type::Duration, "Required", "When it begins."),
    key("rollout.service", Type::Name, "The first service", "The service whose pods are replaced."),
    key("rollout.max_surge", Type::Other("whole number or percent"), "\"25%\"", "Pods that there may be above their number (`maxSurge`); a percentage is rounded up."),
    key("rollout.max_unavailable", Type::Other("whole number or percent"), "\"25%\"", "Pods that may be missing (`maxUnavailable`); a percentage is rounded down."),
    key("rollout.ready_after", Type::Duration, "\"5s\"", "Time from the creation of a pod until it listens and is ready."),
    key("rollout.min_ready", Type::Duration, "\"0s\"", "Time that a pod must have been ready before the update goes on (`minReadySeconds`)."),
    key("rollout.pre_stop", Type::Duration, "\"0s\"", "Duration of the old pods' preStop hook, such as a sleep: SIGTERM comes after it. Shorter than `grace_period`."),
    key("rollout.on_sigterm", Type::Choice(&["finish", "exit", "ignore"]), "\"finish\"", "What an old pod does at SIGTERM: stop to listen, finish what it has and close idle connections; end at once; nothing."),
    key("rollout.grace_period", Type::Duration, "\"30s\"", "Time from the deletion of an old pod until it is killed (`terminationGracePeriodSeconds`), preStop hook included."),

    key("links", Type::Table, "All defaults", "The links. Each direction of each host is one of its own: what a host sends into one kind of link shares its bandwidth, queue and bursts."),
    key("links.client_slb", Type::Table, "All defaults", "Between clients and SLB. A population has one in common."),
    key("links.client_slb.delay", Type::Distribution, "\"0.25ms\"", "One-way delay."),
    key("links.client_slb.jitter", Type::Distribution, "\"0s\"", "What each packet takes longer than `delay`, drawn anew: a duration stands for anything from nothing to it, each equally likely. None overtakes another."),
    key("links.client_slb.loss", Type::Other("share or `{ burst = { ... } }`"), "0", "Chance that a packet is lost, each for itself; or in bursts: `{ burst = { mean = \"0.1%\", length = 5 } }`, with the share lost in the long run and the mean number of packets of a burst. `inside` (1) and `outside` (0) are the chances there: the channel of Gilbert and Elliott."),
    key("links.client_slb.bandwidth", Type::Other("bandwidth or `\"none\"`"), "\"none\"", "Bits per second of a host in one direction: `\"1Gbit/s\"`, `\"100Mbit/s\"`. A packet takes its length on Ethernet, headers and gap included."),
    key("links.client_slb.queue", Type::Other("packets, size or `\"none\"`"), "With a bandwidth: 1000 packets", "What may wait for the bandwidth: `100` packets or `\"64kB\"`. A packet without room is dropped."),
    key("links.slb_node", Type::Table, "All defaults", "Between SLB and nodes."),
    key("links.slb_node.delay", Type::Distribution, "\"0.1ms\"", "One-way delay."),
    key("links.slb_node.jitter", Type::Distribution, "\"0s\"", "As `links.client_slb.jitter`."),
    key("links.slb_node.loss", Type::Other("share or `{ burst = { ... } }`"), "0", "As `links.client_slb.loss`."),
    key("links.slb_node.bandwidth", Type::Other("bandwidth or `\"none\"`"), "\"none\"", "As `links.client_slb.bandwidth`."),
    key("links.slb_node.queue", Type::Other("packets, size or `\"none\"`"), "With a bandwidth: 1000 packets", "As `links.client_slb.queue`."),
    key("links.node_pod", Type::Table, "All defaults", "Between nodes and pods."),
    key("links.node_pod.delay", Type::Distribution, "\"0.05ms\"", "One-way delay."),
    key("links.node_pod.jitter", Type::Distribution, "\"0s\"", "As `links.client_slb.jitter`."),
    key("links.node_pod.loss", Type::Other("share or `{ burst = { ... } }`"), "0", "As `links.client_slb.loss`."),
    key("links.node_pod.bandwidth", Type::Other("bandwidth or `\"none\"`"), "\"none\"", "As `links.client_slb.bandwidth`."),
    key("links.node_pod.queue", Type::Other("packets, size or `\"none\"`"), "With a bandwidth: 1000 packets", "As `links.client_slb.queue`."),
    key("links.slb_pod", Type::Table, "All defaults", "Between SLB and pods; used if `slb.backends` is `\"pod\"`."),
    key("links.slb_pod.delay", Type::Distribution, "\"0.15ms\"", "One-way delay."),
    key("links.slb_pod.jitter", Type::Distribution, "\"0s\"", "As `links.client_slb.jitter`."),
    key("links.slb_pod.loss", Type::Other("share or `{ burst = { ... } }`"), "0", "As `links.client_slb.loss`."),
    key("links.slb_pod.bandwidth", Type::Other("bandwidth or `\"none\"`"), "\"none\"", "As `links.client_slb.bandwidth`."),
    key("links.slb_pod.queue", Type::Other("packets, size or `\"none\"`"), "With a bandwidth: 1000 packets", "As `links.client_slb.queue`."),
    key("links.node_node", Type::Table, "None", "Between nodes: a pod of another node is reached through that node, whose conntrack sees the connection, too. Without this table every node reaches every pod over `node_pod`, whichever node it runs on."),
    key("links.node_node.delay", Type::Distribution, "With the table: 0.1ms", "One-way delay."),
    key("links.node_node.jitter", Type::Distribution, "None", "As `links.client_slb.jitter`."),
    key("links.node_node.loss", Type::Other("share or `{ burst = { ... } }`"), "None", "As `links.client_slb.loss`."),
    key("links.node_node.bandwidth", Type::Other("bandwidth or `\"none\"`"), "None", "As `links.client_slb.bandwidth`."),
    key("links.node_node.queue", Type::Other("packets, size or `\"none\"`"), "With a bandwidth: 1000 packets", "As `links.client_slb.queue`."),

    key("expect", Type::Tables, "None", "What the scenario expects of its own result. A miss is exit code 1."),
    key("expect.that", Type::Comparison, "Required", "One comparison of arithmetic over paths of `summary.json`, such as `\"connections.timed_out / connections.total < 0.001\"`. Blanks stand around a minus."),
    key("expect.where", Type::Other("table of scenario keys and values"), "Always", "The expectation applies only where each of these keys is written with this value, in the file or by `--set`: `{ \"clients.rate\" = \"350/s\" }`. Otherwise a remark says that it was left out."),
    key("expect.why", Type::Text, "-", "Why it should hold; printed if it does not."),
];
