//! `a1_tw_timer_restart`: how many TIME_WAIT sockets are alive some seconds after they were made, after a stimulus at
//! 40 s.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::super::bench::segment;
use super::super::{Fault, File, Judgement, Kernel, Table, read};
use super::cells::Cells;
use super::pod::{self, Pod, RCV_NXT, SND_NXT, TS_RECENT, with_tsval};
use crate::engine::KernelTimers;
use crate::model::tcp::{TcpConfig, time_wait_expiry};
use crate::units::{Endpoint, FourTuple, SimDuration};
use crate::wire::Flags;

/// When the stimulus comes, in milliseconds after the sockets were made.
const STIMULUS_MS: u64 = 40_000;
/// Sockets were made one after the other, and counted a little after the whole second: on emulated kernels up to this.
const GAPS_MS: [u64; 4] = [0, 5, 20, 50];
const LAGS_MS: [u64; 4] = [0, 50, 100, 200];

/// Alive sockets by second.
type Alive = BTreeMap<u64, u64>;

/// Judges the file: one row per stimulus, which agrees if one phase of the timer wheel explains every count.
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let value = read::json(file)?;
    let kernel = Kernel::of(value["kernel"].as_str(), file.path())?;
    let stimuli = value["alive"]
        .as_object()
        .ok_or_else(|| Fault::new(file.path(), "/alive: expected counts by stimulus and second"))?;
    let mut table = Table::new("a1_tw_timer_restart");
    for (stimulus, counts) in stimuli {
        let alive = alive(counts).ok_or_else(|| {
            Fault::new(
                file.path(),
                format!("/alive/{stimulus}: expected counts by second"),
            )
        })?;
        let tcp = &kernel.profile.tcp;
        let restarts = restarts(stimulus, tcp).ok_or_else(|| {
            let known = "none, seq_refused_no_ts, paws_refused, exact_ack or dup_fin";
            Fault::new(file.path(), format!("/alive/{stimulus}: expected {known}"))
        })?;
        let found = some_phase_explains(&alive, restarts, tcp);
        let predicted = if restarts {
            "restarted by it"
        } else {
            "not restarted"
        };
        let mut cells = Cells::default();
        cells.check(found, "alive", format!("{alive:?}"), predicted);
        cells.count_as(&mut table, file, stimulus.clone());
    }
    Ok(Judgement::of_table(table))
}

fn alive(counts: &Value) -> Option<Alive> {
    let counts = counts.as_object().filter(|counts| !counts.is_empty())?;
    counts
        .iter()
        .map(|(second, count)| Some((second.parse().ok()?, count.as_u64()?)))
        .collect()
}

/// Whether the stimulus restarts the timer, as the model decides; `None`: no such stimulus.
fn restarts(stimulus: &str, tcp: &TcpConfig) -> Option<bool> {
    let tuple = FourTuple::new(
        Endpoint::new(Ipv4Addr::new(10, 10, 0, 1), 40_000),
        Endpoint::new(Ipv4Addr::new(10, 20, 0, 2), 8080),
    );
    let older = Some(TS_RECENT - 1000);
    let (flags, seq, tsval) = match stimulus {
        "none" => return Some(false),
        "seq_refused_no_ts" => (Flags::SYN, RCV_NXT - 100, None),
        "paws_refused" => (Flags::SYN, RCV_NXT + 100, older),
        "exact_ack" => (Flags::ACK, RCV_NXT, None),
        "dup_fin" => (Flags::FIN_ACK, RCV_NXT - 1, None),
        _ => return None,
    };
    let mut pod = Pod::in_time_wait(*tcp, tsval.is_some());
    let packet = with_tsval(segment(tuple, flags, seq, SND_NXT), tsval);
    pod.deliver(&packet, pod::at(STIMULUS_MS));
    Some(pod.restarted && pod.holds_time_wait())
}

fn some_phase_explains(alive: &Alive, restarts: bool, tcp: &TcpConfig) -> bool {
    let sockets = alive.values().copied().max().unwrap_or(0);
    let armed = if restarts { STIMULUS_MS } else { 0 };
    let explains = |phase: SimDuration, gap: u64, lag: u64| {
        let wheel = KernelTimers { hz: tcp.hz, phase };
        let ends: Vec<_> = (0..sockets)
            .map(|i| time_wait_expiry(tcp, &wheel, pod::at(armed + i * gap), tcp.time_wait))
            .collect();
        alive.iter().all(|(&second, &count)| {
            let seen = pod::at(second * 1_000 + lag);
            ends.iter().filter(|&&end| end > seen).count() as u64 == count
        })
    };
    // The granule of a 60 s timer is 512 jiffies.
    let tick = 1_000_000_000 / u64::from(tcp.hz);
    (0..512).any(|jiffy| {
        let phase = SimDuration::from_nanos(jiffy * tick);
        GAPS_MS
            .iter()
            .any(|&gap| LAGS_MS.iter().any(|&lag| explains(phase, gap, lag)))
    })
}
