//! sysctl, and the suites' script that sets them by their files.

use super::Outcome;
use crate::conformance::machine::Machine;

/// Sysctls that make no difference to what is modelled, with the values for which that holds; empty: any value.
#[rustfmt::skip]
const NEUTRAL: &[(&str, &[&str])] = &[
    ("net.ipv4.tcp_wmem", &[]),
    ("net.ipv4.tcp_frto", &[]),
    ("net.ipv4.tcp_sack", &["1"]),
    ("net.ipv4.tcp_dsack", &[]),
    ("net.ipv4.tcp_fack", &[]),
    ("net.ipv4.tcp_reordering", &[]),
    ("net.ipv4.tcp_congestion_control", &["cubic", "reno"]),
    ("net.ipv4.tcp_early_retrans", &[]),
    ("net.ipv4.tcp_recovery", &[]),
    ("net.ipv4.tcp_tso_win_divisor", &[]),
    ("net.ipv4.tcp_ecn", &["0", "2"]),
    ("net.ipv4.tcp_ecn_option", &[]),
    ("net.ipv4.tcp_pacing_ss_ratio", &[]),
    ("net.ipv4.tcp_pacing_ca_ratio", &[]),
    ("net.ipv4.tcp_notsent_lowat", &["4294967295"]),
    ("net.ipv4.tcp_no_metrics_save", &[]),
    ("net.ipv4.tcp_window_scaling", &["1"]),
    ("net.ipv4.tcp_syncookies", &["1"]),
    // Cookies are options, and scripts with that option are not run.
    ("net.ipv4.tcp_fastopen", &[]),
    ("net.ipv4.tcp_fastopen_key", &[]),
    ("net.netfilter.nf_conntrack_log_invalid", &[]),
];

/// `sysctl [-q] [-w] NAME=VALUE...`.
pub(super) fn sysctl(args: &[String], machine: &mut Machine) -> Result<Outcome, String> {
    let options = ["-q", "-w", "-qw", "-wq", "-e"];
    for arg in args.iter().filter(|arg| !options.contains(&arg.as_str())) {
        let Some((name, value)) = arg.split_once('=') else {
            return Err(format!("sysctl {arg}"));
        };
        set(name.trim(), value.trim(), machine)?;
    }
    Ok(Outcome::default())
}

/// `set_sysctls.py /proc/sys/net/ipv4/NAME=VALUE...`.
pub(super) fn set_files(args: &[String], machine: &mut Machine) -> Result<Outcome, String> {
    for arg in args {
        let assignment = arg
            .strip_prefix("/proc/sys/")
            .and_then(|rest| rest.split_once('='));
        let Some((path, value)) = assignment else {
            return Err(format!("set_sysctls.py {arg}"));
        };
        set(&path.replace('/', "."), value.trim(), machine)?;
    }
    Ok(Outcome::default())
}

fn set(name: &str, value: &str, machine: &mut Machine) -> Result<(), String> {
    let neutral = NEUTRAL.iter().find(|(neutral, _)| *neutral == name);
    if neutral.is_some_and(|(_, values)| values.is_empty() || values.contains(&value)) {
        return Ok(());
    }
    match machine.set_sysctl(name, value) {
        Some(Ok(())) => Ok(()),
        Some(Err(expected)) => Err(format!("sysctl {name}={value}, expected {expected}")),
        None => Err(format!("sysctl {name}={value}")),
    }
}
