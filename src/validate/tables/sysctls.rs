//! `d_sysctls` and `ipvs_env`: what the kernel's sysctls and timeouts are without configuration, against the profile's.

use serde_json::Value;

use super::super::{Fault, File, Judgement, Kernel, Table, read};
use super::cells::{Cells, bit};
use crate::model::conntrack::{ConntrackConfig, State};
use crate::model::ipvs::IpvsConfig;

/// The lines `KEY = VALUE` of a listing.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

/// `d_sysctls.txt`: `sysctl net.netfilter`, of which everything about TCP counts. Sizes follow the host's memory.
pub fn conntrack(file: &File) -> Result<Judgement, Fault> {
    let text = std::str::from_utf8(file.bytes())
        .map_err(|_| Fault::new(file.path(), "expected lines KEY = VALUE in UTF-8"))?;
    let kernel = Kernel::of_path(file.path())?;
    let mut table = Table::new("d_sysctls");
    for (key, value) in lines(text) {
        let Some(name) = key.strip_prefix("net.netfilter.nf_conntrack_tcp_") else {
            continue;
        };
        let mut cells = Cells::default();
        if let Some(ours) = conntrack_default(name, &kernel.profile.conntrack) {
            cells.same(name, value, ours);
        }
        cells.count_as(&mut table, file, key.to_owned());
    }
    not_empty(table, file, "no line about net.netfilter.nf_conntrack_tcp_*")
}

/// The default of `net.netfilter.nf_conntrack_tcp_` and this name; `None`: the simulator has no such switch.
fn conntrack_default(name: &str, config: &ConntrackConfig) -> Option<String> {
    let timeouts = &config.timeouts;
    let timeout = match name {
        "timeout_max_retrans" => Some(timeouts.max_retrans),
        "timeout_unacknowledged" => Some(timeouts.unacknowledged),
        _ => name.strip_prefix("timeout_").and_then(|of| {
            let of = of.to_uppercase();
            let state = State::ALL.into_iter().find(|state| state.name() == of)?;
            Some(timeouts.of(state))
        }),
    };
    if let Some(timeout) = timeout {
        return Some(timeout.as_secs().to_string());
    }
    Some(match name {
        "be_liberal" => bit(config.be_liberal).to_owned(),
        "loose" => bit(config.loose).to_owned(),
        "ignore_invalid_rst" => bit(config.ignore_invalid_rst).to_owned(),
        "max_retrans" => config.max_retrans.to_string(),
        _ => return None,
    })
}

/// `ipvs_env`: `sysctl net.ipv4.vs` and `ipvsadm -l --timeout` of a kernel that nobody configured.
pub fn ipvs(file: &File) -> Result<Judgement, Fault> {
    let value = read::json(file)?;
    let text = |key: &str| {
        value[key]
            .as_str()
            .ok_or_else(|| Fault::new(file.path(), format!("/{key}: expected a text")))
    };
    let kernel = Kernel::of(value.get("kernel").and_then(Value::as_str), file.path())?;
    let ipvs = &kernel.profile.ipvs;
    let mut table = Table::new("ipvs_env");
    for (key, value) in lines(text("ipvs_sysctl_defaults")?) {
        let ours = key
            .strip_prefix("net.ipv4.vs.")
            .and_then(|name| ipvs_default(name, ipvs));
        if let Some(ours) = ours {
            let mut cells = Cells::default();
            cells.same(key, value, ours);
            cells.count_as(&mut table, file, key.to_owned());
        }
    }
    // `Timeout (tcp tcpfin udp): 900 120 300`
    let timeouts = text("ipvsadm_timeout")?;
    let measured = timeouts.split_once(':').map_or("", |(_, numbers)| numbers);
    let measured: Vec<&str> = measured.split_whitespace().collect();
    let ours = [
        ("tcp", ipvs.timeout_established),
        ("tcpfin", ipvs.timeout_fin_wait),
    ];
    for (i, (name, ours)) in ours.into_iter().enumerate() {
        let mut cells = Cells::default();
        cells.same(name, measured.get(i).copied().unwrap_or(""), ours.as_secs());
        cells.count_as(&mut table, file, format!("ipvsadm --set, {name}"));
    }
    not_empty(table, file, "no sysctl of net.ipv4.vs that the simulator has")
}

fn ipvs_default(name: &str, config: &IpvsConfig) -> Option<String> {
    Some(match name {
        "conn_reuse_mode" => config.conn_reuse_mode.to_string(),
        "conntrack" => bit(config.conntrack).to_owned(),
        "expire_nodest_conn" => bit(config.expire_nodest_conn).to_owned(),
        _ => return None,
    })
}

fn not_empty(table: Table, file: &File, why: &str) -> Result<Judgement, Fault> {
    if table.rows == 0 {
        return Err(Fault::new(file.path(), why));
    }
    Ok(Judgement::of_table(table))
}
