//! Decision tables: what the simulator does in each row must be what the kernel did.
//!
//! One file per kind of measurement. Each plays the row's packets on the bench, or to a pod, and compares every cell
//! that states a behaviour; what a cell means stands where it is read, and in the laboratory's README.

mod cases;
mod cells;
mod conntrack;
mod ipvs;
mod offsets;
mod pod;
mod port_clash;
mod ports;
mod release;
mod syn_retry;
mod syn_reuse;
mod sysctls;
mod through_node;
mod time_wait;
mod timer_restart;

use super::{Fault, File, Judgement, Kind};

type Judge = fn(&File) -> Result<Judgement, Fault>;

/// Judges by how the file's name begins and ends; `*_summary` and the like never match.
const JUDGES: [(&str, &str, Judge); 20] = [
    ("a0_tsval_offsets", ".json", offsets::judge),
    ("a1_ack_ratelimit", ".csv", time_wait::ack_ratelimit),
    ("a1_direct_matrix", ".csv", time_wait::direct_matrix),
    ("a1_other_pod_states", ".csv", time_wait::other_pod_states),
    ("a1_rst_kill", ".csv", time_wait::rst_kill),
    ("a1_tw_timer_restart", ".json", timer_restart::judge),
    ("a2_through_node", ".csv", through_node::judge),
    ("c2_single_port_clash", ".csv", port_clash::judge),
    ("c2q_", ".csv", port_clash::judge),
    ("d_states_timeouts", ".csv", conntrack::states_timeouts),
    ("d_sysctls", ".txt", sysctls::conntrack),
    ("d_vanish", ".csv", conntrack::vanish),
    ("ipvs_conn_reuse", ".csv", ipvs::conn_reuse),
    ("ipvs_env", ".json", sysctls::ipvs),
    ("ipvs_release", ".csv", release::judge),
    ("ipvs_states", ".csv", ipvs::states),
    ("ipvs_stray_rst", ".csv", ipvs::stray_rst),
    ("ipvs_syn_reuse_states", ".csv", syn_reuse::judge),
    ("p_ports", ".csv", ports::judge),
    ("s_syn_retry", ".csv", syn_retry::judge),
];

/// The judge of a file of this room; `None`: not of this room.
pub fn kind(_path: &str, name: &str) -> Option<Kind> {
    JUDGES
        .iter()
        .find(|(begins, ends, _)| name.starts_with(begins) && name.ends_with(ends))
        .map(|&(.., judge)| Kind::Table(judge))
}

#[cfg(test)]
mod tests;
