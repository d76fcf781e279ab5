//! A run's configuration, from the keys of its own JSON to a [`Plan`]: one place for all groups.
//!
//! Every key is read or is a fault: a run whose file says more than we understand must not be judged.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::scenario;
use crate::spec::Plan;
use crate::units::SimDuration;
use crate::validate::{Fault, File, Kernel};

/// Keys that say nothing of what happens: names, and what the laboratory drew its own arrivals from.
const IGNORED: [&str; 6] = ["id", "name", "desc", "seed", "snap", "kernel"];

/// First port of `--to-ports` where the file says only how many there are.
const FIRST_PORT: u64 = 40_000;

/// One way between two namespaces. With nginx it is what the captures show, for it matters whose FIN comes first.
const HOP: &str = "20us";
const NGINX_HOP: &str = "2us";
/// From the pod's response until nginx' FIN reaches the pod: 50 us and four hops.
const NGINX_CLOSES_NS: f64 = 58_000.0;

/// Patience of a caller's connect(), by group (`tests/lab/README.md`, E and I); nginx says its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// iptables DNAT, connects given up after 5 s. The captures of group G were made the same way.
    E,
    /// As E, with nginx in front.
    F,
    /// ipvs unless the file says otherwise, connects given up after 8 s; nginx where the file says so.
    I,
}

/// The laboratory's nginx and its clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nginx {
    /// A client leaves after so many seconds.
    pub client_timeout: f64,
    /// `proxy_connect_timeout` in seconds.
    pub proxy_connect_timeout: f64,
    /// Share of the upstream connections that it closed before the pod did: a matter of the machine's scheduling, which the
    /// sniffer saw.
    pub closes_first_share: f64,
}

/// RSTs of the SLB after an orderly close.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrayRst {
    /// Share of the closes that are followed by one.
    pub share: f64,
    /// Its sequence number minus the pod's `rcv_nxt`.
    pub seq_offset: i64,
    /// Seconds after the pod's FIN.
    pub after: f64,
}

/// What a run was set to.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Connections per second, Poisson.
    pub rate: f64,
    /// Seconds during which they arrive, from an empty start.
    pub seconds: f64,
    /// Source addresses of the SLB.
    pub sources: u64,
    /// Its source ports; `None`: 32768 to 60999.
    pub slb_ports: Option<(u64, u64)>,
    /// `net.ipv4.tcp_timestamps` of the SLB, 0 to 2.
    pub timestamps: u64,
    /// The node drops a SYN that is repeated within 900 ms: callers look like those before 5.6.
    pub old_client: bool,
    /// Seconds that a caller waits for its connection; with nginx that is `proxy_connect_timeout`.
    pub connect_limit: f64,
    /// nginx as layer 7.
    pub nginx: Option<Nginx>,
    /// The SLB's RSTs to the pod never reach the node.
    pub rst_blocked: bool,
    /// RSTs after an orderly close.
    pub stray_rst: Option<StrayRst>,
    /// The node forwards by ipvs; else by iptables DNAT.
    pub ipvs: bool,
    /// `net.ipv4.vs.conn_reuse_mode`.
    pub conn_reuse_mode: Option<u64>,
    /// `net.ipv4.vs.conntrack`; 0: MASQUERADE does not see what ipvs forwards.
    pub vs_conntrack: bool,
    /// `net.ipv4.vs.expire_nodest_conn`.
    pub expire_nodest_conn: bool,
    /// `ipvsadm --set TCP TCPFIN UDP`: the first two, in seconds.
    pub ipvs_set: Option<(u64, u64)>,
    /// Flag of MASQUERADE: `none`, `random`, `random-fully`.
    pub masquerade: &'static str,
    /// `--to-ports`.
    pub to_ports: Option<(u64, u64)>,
    /// `nf_conntrack_tcp_timeout_time_wait` in seconds.
    pub conntrack_time_wait: u64,
    /// `nf_conntrack_tcp_be_liberal`.
    pub be_liberal: bool,
    /// A FORWARD rule drops what conntrack calls INVALID.
    pub invalid_drop: bool,
    /// Further sysctls of the node.
    pub node_sysctls: Vec<(String, u64)>,
    /// Pods of the service.
    pub pods: u64,
    /// `net.ipv4.tcp_rfc1337` of the pods.
    pub rfc1337: bool,
}

impl Config {
    /// Reads the object of configuration keys of a run.
    pub fn read(file: &File, group: Group, keys: &Value) -> Result<Self, Fault> {
        let Some(map) = keys.as_object() else {
            return Err(Fault::new(file.path(), "config: expected an object of keys"));
        };
        let keys = Keys {
            file: file.path(),
            map,
            read: RefCell::new(BTreeSet::new()),
        };
        let config = Self::of(&keys, group)?;
        keys.all_read()?;
        Ok(config)
    }

    fn of(keys: &Keys, group: Group) -> Result<Self, Fault> {
        let nginx = Self::nginx(keys, group)?;
        let connect_limit = match (nginx, group) {
            (Some(nginx), _) => nginx.proxy_connect_timeout,
            (None, Group::I) => 8.0,
            (None, _) => 5.0,
        };
        let ipvs = match keys.choice("path", &["ipvs", "dnat"])? {
            Some(path) => path == "ipvs",
            None => group == Group::I,
        };
        Ok(Self {
            rate: keys.positive("rate")?,
            seconds: keys.positive("dur")?,
            sources: keys.whole("nsrc")?.unwrap_or(1),
            slb_ports: keys.ports("slb_range", None)?,
            timestamps: any_of(&["ts", "tcp_timestamps"], |key| keys.up_to(key, 2))?.unwrap_or(1),
            old_client: keys.any_flag(&["legacy_client", "legacy"])?,
            connect_limit,
            nginx,
            rst_blocked: keys.flag("rst_blocked")?.unwrap_or(false),
            stray_rst: Self::stray_rst(keys)?,
            ipvs,
            conn_reuse_mode: keys.up_to("conn_reuse_mode", 3)?,
            vs_conntrack: keys.flag("vs_conntrack")?.unwrap_or(true),
            expire_nodest_conn: keys.flag("expire_nodest_conn")?.unwrap_or(true),
            ipvs_set: keys.ipvs_set()?,
            masquerade: match keys.choice("masq", &["", "--random", "--random-fully"])? {
                Some("") => "none",
                Some("--random") => "random",
                // The captures of group G name no flag: their rule has this one.
                _ => "random-fully",
            },
            to_ports: keys.ports("ports", Some(FIRST_PORT))?,
            conntrack_time_wait: keys.whole("t_ct_tw")?.unwrap_or(120),
            be_liberal: keys.flag("be_liberal")?.unwrap_or(false),
            invalid_drop: keys.flag("invalid_drop")?.unwrap_or(false),
            node_sysctls: keys.sysctls("ct_extra")?,
            pods: keys.whole("pods")?.unwrap_or(1),
            rfc1337: keys.any_flag(&["rfc1337", "pod_rfc"])?,
        })
    }

    /// Takes from a run's sniffer in how many closes nginx came first.
    pub fn closes_first(&mut self, run: &Value) {
        let count = |key: &str| run["pod_sniffer"][key].as_f64();
        if let (Some(nginx), Some(pod), Some(caller)) = (
            &mut self.nginx,
            count("podfirst_closes"),
            count("clientfirst_closes"),
        ) {
            nginx.closes_first_share = caller / (pod + caller).max(1.0);
        }
    }

    fn nginx(keys: &Keys, group: Group) -> Result<Option<Nginx>, Fault> {
        let is_nginx = keys.flag("nginx")?.unwrap_or(group == Group::F);
        let client_timeout = keys.number("client_timeout")?;
        let proxy_connect_timeout = keys.number("proxy_connect_timeout")?;
        if !is_nginx {
            return Ok(None);
        }
        Ok(Some(Nginx {
            client_timeout: client_timeout.unwrap_or(if group == Group::I { 8.0 } else { 3.0 }),
            proxy_connect_timeout: proxy_connect_timeout.unwrap_or(5.0),
            closes_first_share: 0.0,
        }))
    }

    /// Without keys of its own: sequence `rcv_nxt` - 1, 0.1 s after the pod's FIN.
    fn stray_rst(keys: &Keys) -> Result<Option<StrayRst>, Fault> {
        let share = keys.number("stray_rst_fraction")?.unwrap_or(0.0);
        let seq_offset = any_of(
            &[
                "stray_rst_seq_off",
                "stray_rst_seq_offset",
                "stray_rst_seq_minus_rcv_nxt",
            ],
            |key| keys.number(key),
        )?;
        let after = any_of(
            &["stray_rst_delay", "stray_rst_delay_s", "stray_rst_after_s"],
            |key| keys.number(key),
        )?;
        Ok((share > 0.0).then_some(StrayRst {
            share,
            seq_offset: seq_offset.unwrap_or(-1.0) as i64,
            after: after.unwrap_or(0.1),
        }))
    }

    /// The run as a plan: arrivals end when the laboratory's did, and what is under way then may finish.
    pub fn plan(&self, file: &File, kernel: &Kernel) -> Result<Plan, Fault> {
        let scenario = self.scenario(kernel.profile.name);
        let mut plan = scenario::parse(file.path(), &scenario, &[]).map_err(|errors| {
            Fault::new(
                file.path(),
                format!("the configuration makes no scenario: {errors}"),
            )
        })?;
        for population in &mut plan.clients {
            population.until = Some(SimDuration::from_secs_f64(self.seconds));
        }
        Ok(plan)
    }

    /// Seconds from the start until the last connection has ended one way or the other.
    fn simulated(&self) -> f64 {
        let patience = self.nginx.map_or(0.0, |nginx| nginx.client_timeout);
        self.seconds + self.connect_limit.max(patience) + 1.0
    }

    /// The run as a scenario file. The pod answers at once and closes first, as the laboratory's did.
    pub fn scenario(&self, profile: &str) -> String {
        let mut text = format!("duration = \"{}s\"\n", self.simulated());
        self.write(&mut text, profile)
            .expect("a String takes all that is written");
        text
    }

    fn write(&self, text: &mut String, profile: &str) -> std::fmt::Result {
        writeln!(
            text,
            "[clients]\narrivals = \"poisson\"\nrate = \"{}/s\"",
            self.rate
        )?;
        writeln!(text, "request_bytes = 29\nresponse_bytes = 159")?;
        if let Some(nginx) = self.nginx {
            writeln!(text, "timeout = \"{}s\"", nginx.client_timeout)?;
        }
        let timestamps = ["off", "on", "no-offset"][self.timestamps as usize];
        writeln!(
            text,
            "[slb]\nl7 = {}\nprofile = \"{profile}\"",
            self.nginx.is_some()
        )?;
        writeln!(
            text,
            "hosts = 1\naddresses = {}\ntimestamps = \"{timestamps}\"",
            self.sources
        )?;
        writeln!(text, "connect_timeout = \"{}s\"", self.connect_limit)?;
        if let Some((low, high)) = self.slb_ports {
            writeln!(text, "ports = \"{low}-{high}\"")?;
        }
        if let Some(StrayRst {
            share,
            seq_offset,
            after,
        }) = self.stray_rst
        {
            writeln!(
                text,
                "stray_rst = {{ share = {share:?}, seq_offset = {seq_offset}, after = \"{after}s\" }}"
            )?;
        }
        self.write_node(text, profile)?;
        writeln!(
            text,
            "[pod]\nprofile = \"{profile}\"\ncount = {}\nservice_time = \"50us\"",
            self.pods
        )?;
        writeln!(text, "close_delay = {}", self.close_delay())?;
        writeln!(text, "[pod.sysctl]\ntcp_rfc1337 = {}", self.rfc1337)?;
        let hop = if self.nginx.is_some() { NGINX_HOP } else { HOP };
        for link in ["client_slb", "slb_node", "node_pod"] {
            writeln!(text, "[links.{link}]\ndelay = \"{hop}\"")?;
        }
        Ok(())
    }

    /// The namespaces of one machine are nearer to each other than a server's write() to its close(): in the captures the
    /// response is acknowledged before the FIN. nginx, for which the response is complete without the FIN, was first in a
    /// few of a hundred closes.
    fn close_delay(&self) -> String {
        let Some(nginx) = self.nginx else {
            return "\"100us\"".to_owned();
        };
        // Exponential, so that this share is still to come when nginx has closed.
        let share = nginx.closes_first_share.clamp(1e-6, 0.99);
        let mean = (NGINX_CLOSES_NS / -share.ln()).round();
        format!("{{ exponential = {{ mean = \"{mean}ns\" }} }}")
    }

    fn write_node(&self, text: &mut String, profile: &str) -> std::fmt::Result {
        let proxy = if self.ipvs { "ipvs" } else { "iptables" };
        writeln!(
            text,
            "[node]\nprofile = \"{profile}\"\nproxy = \"{proxy}\"\nkube_proxy = false"
        )?;
        if self.old_client {
            writeln!(text, "drop_syn_repeats_within = \"900ms\"")?;
        }
        if self.rst_blocked {
            writeln!(text, "drop_slb_resets = true")?;
        }
        writeln!(text, "[node.snat]\nrandom = \"{}\"", self.masquerade)?;
        if self.ipvs && !self.vs_conntrack {
            writeln!(text, "mode = \"none\"")?;
        }
        if let Some((low, high)) = self.to_ports {
            writeln!(text, "to_ports = \"{low}-{high}\"")?;
        }
        writeln!(text, "[node.conntrack]\ndrop_invalid = {}", self.invalid_drop)?;
        if let Some((tcp, fin)) = self.ipvs_set {
            writeln!(
                text,
                "[node.ipvs]\ntcp_timeout = \"{tcp}s\"\ntcp_fin_timeout = \"{fin}s\""
            )?;
        }
        writeln!(
            text,
            "[node.sysctl]\nnf_conntrack_tcp_timeout_time_wait = {}",
            self.conntrack_time_wait
        )?;
        writeln!(text, "nf_conntrack_tcp_be_liberal = {}", self.be_liberal)?;
        if let Some(mode) = self.conn_reuse_mode {
            writeln!(text, "conn_reuse_mode = {mode}")?;
        }
        writeln!(text, "expire_nodest_conn = {}", self.expire_nodest_conn)?;
        for (name, value) in &self.node_sysctls {
            writeln!(text, "\"{name}\" = {value}")?;
        }
        Ok(())
    }
}

/// The keys of a configuration, which notes those that were asked for. A key that is `null` is as good as missing.
struct Keys<'a> {
    file: &'a str,
    map: &'a Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn fault(&self, key: &str, expected: &str) -> Fault {
        let value = &self.map[key];
        Fault::new(
            self.file,
            format!("config.{key}: expected {expected}, not {value}"),
        )
    }

    /// Every key was asked for, or is known to say nothing.
    fn all_read(&self) -> Result<(), Fault> {
        let read = self.read.borrow();
        let unknown = self
            .map
            .keys()
            .find(|key| !read.contains(*key) && !IGNORED.contains(&key.as_str()));
        match unknown {
            None => Ok(()),
            Some(key) => Err(Fault::new(
                self.file,
                format!(
                    "config.{key}: no such key is known, so what the run did is not; known are {}",
                    read.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
                ),
            )),
        }
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Fault> {
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        self.parsed(key, "a number", number)
    }

    fn positive(&self, key: &str) -> Result<f64, Fault> {
        let above_zero = |value: &Value| value.as_f64().filter(|&number| number > 0.0 && number < 1e9);
        self.parsed(key, "a number above 0", above_zero)?.ok_or_else(|| {
            Fault::new(
                self.file,
                format!("config.{key}: missing; expected a number above 0"),
            )
        })
    }

    fn whole(&self, key: &str) -> Result<Option<u64>, Fault> {
        self.parsed(key, "a whole number", whole)
    }

    fn up_to(&self, key: &str, most: u64) -> Result<Option<u64>, Fault> {
        self.parsed(key, &format!("a whole number from 0 to {most}"), |value| {
            whole(value).filter(|&number| number <= most)
        })
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        self.parsed(key, "0 or 1", |value| match (value.as_bool(), whole(value)) {
            (Some(flag), _) => Some(flag),
            (None, Some(number @ (0 | 1))) => Some(number == 1),
            _ => None,
        })
    }

    fn any_flag(&self, keys: &[&str]) -> Result<bool, Fault> {
        Ok(any_of(keys, |key| self.flag(key))?.unwrap_or(false))
    }

    fn choice<'k>(&self, key: &str, choices: &[&'k str]) -> Result<Option<&'k str>, Fault> {
        self.parsed(key, &format!("one of {choices:?}"), |value| {
            choices
                .iter()
                .find(|&&choice| value.as_str() == Some(choice))
                .copied()
        })
    }

    /// `[low, high]`, `"low high"`, `"low-high"`, or how many from `first` upward.
    fn ports(&self, key: &str, first: Option<u64>) -> Result<Option<(u64, u64)>, Fault> {
        let is_range = |&(low, high): &(u64, u64)| 1 <= low && low <= high && high <= 65_535;
        self.parsed(key, "a range of ports within 1 to 65535", |value| {
            let range = match value {
                Value::String(text) => pair(text.split([' ', '-']).map(|n| n.parse().ok())),
                Value::Array(ends) => pair(ends.iter().map(whole)),
                count => first
                    .zip(whole(count))
                    .map(|(low, n)| (low, (low + n).wrapping_sub(1))),
            };
            range.filter(is_range)
        })
    }

    fn ipvs_set(&self) -> Result<Option<(u64, u64)>, Fault> {
        self.parsed("ipvs_set", "\"TCP TCPFIN UDP\" in seconds", |value| {
            let mut seconds = value.as_str()?.split_whitespace().map(str::parse);
            match (seconds.next(), seconds.next()) {
                (Some(Ok(tcp)), Some(Ok(fin))) => Some((tcp, fin)),
                _ => None,
            }
        })
    }

    /// An object of sysctls; those of conntrack may leave their common beginning out.
    fn sysctls(&self, key: &str) -> Result<Vec<(String, u64)>, Fault> {
        let sysctls = self.parsed(key, "an object of sysctls and whole numbers", |value| {
            let entries = value.as_object()?.iter();
            entries
                .map(|(name, value)| {
                    let last = name.rsplit(['.', '/']).next().unwrap_or(name);
                    let prefix = if last.starts_with("tcp_") {
                        "nf_conntrack_"
                    } else {
                        ""
                    };
                    Some((format!("{prefix}{last}"), whole(value)?))
                })
                .collect()
        })?;
        Ok(sysctls.unwrap_or_default())
    }

    fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => parse(value).map(Some).ok_or_else(|| self.fault(key, expected)),
        }
    }
}

/// The first of several names of one thing that is there; all of them are read, so that none is unknown.
fn any_of<T>(keys: &[&str], read: impl Fn(&str) -> Result<Option<T>, Fault>) -> Result<Option<T>, Fault> {
    let values: Vec<_> = keys.iter().map(|key| read(key)).collect::<Result<_, _>>()?;
    Ok(values.into_iter().flatten().next())
}

/// A whole number, also one written as `170.0` or `"170"`.
fn whole(value: &Value) -> Option<u64> {
    let from_float = || {
        value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && (0.0..1e15).contains(n))
    };
    value
        .as_u64()
        .or_else(|| from_float().map(|n| n as u64))
        .or_else(|| value.as_str()?.parse().ok())
}

fn pair(mut numbers: impl Iterator<Item = Option<u64>>) -> Option<(u64, u64)> {
    let pair = (numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(pair)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
