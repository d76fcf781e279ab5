//! Group A1: what a pod's TIME_WAIT, FIN_WAIT2 or ESTABLISHED does with a raw segment.

use std::net::Ipv4Addr;

use super::super::bench::segment;
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cells::{Cells, bit, flag, has_error};
use super::pod::{self, Pod, RCV_NXT, SND_NXT, TS_RECENT, answer, isn_kind, with_tsval};
use crate::model::tcp::TcpConfig;
use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Packet};

/// Caller and pod, without a node between them.
const TUPLE: FourTuple = FourTuple::new(
    Endpoint::new(Ipv4Addr::new(10, 10, 0, 1), 40_000),
    Endpoint::new(Ipv4Addr::new(10, 20, 0, 2), 8080),
);

fn syn(seq: SeqNum, tsval: Option<u32>) -> Packet {
    with_tsval(segment(TUPLE, Flags::SYN, seq, SeqNum(0)), tsval)
}

fn rst(seq: SeqNum, tsval: Option<u32>) -> Packet {
    with_tsval(segment(TUPLE, Flags::RST, seq, SeqNum(0)), tsval)
}

/// TCP of the row's kernel.
fn kernel(row: &CsvRow<'_>, file: &File) -> Result<Kernel, Fault> {
    Kernel::of(row.find("kernel"), file.path())
}

/// A column with a signed distance, added to a sequence number.
fn offset(row: &CsvRow<'_>, column: &str, from: SeqNum) -> Result<SeqNum, Fault> {
    let distance: i64 = row.number(column)?;
    Ok(SeqNum(from.0.wrapping_add(distance as u32)))
}

/// A column with a distance from the recorded timestamp, or `absent`.
fn tsval(row: &CsvRow<'_>, column: &str) -> Result<Option<u32>, Fault> {
    if row.get(column)? == "absent" {
        return Ok(None);
    }
    let distance: i64 = row.number(column)?;
    Ok(Some(TS_RECENT.wrapping_add(distance as u32)))
}

fn seconds(row: &CsvRow<'_>, column: &str) -> Result<SimDuration, Fault> {
    let value: f64 = row.number(column)?;
    if !(0.0..1e6).contains(&value) {
        return Err(row.fault(column, "seconds, from 0 on"));
    }
    Ok(SimDuration::from_secs_f64(value))
}

fn pod_of(row: &CsvRow<'_>, tcp: TcpConfig) -> Result<Pod, Fault> {
    let config = TcpConfig {
        rfc1337: flag(row, "rfc1337")?,
        ..tcp
    };
    Ok(Pod::in_time_wait(config, flag(row, "tw_has_ts")?))
}

/// `a1_direct_matrix`: a SYN meets TIME_WAIT; then the same SYN again at once, in some rows, an RST as a caller answers
/// the bare ACK, and the SYN once more.
pub fn direct_matrix(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("a1_direct_matrix");
    for row in read::csv(file)? {
        let kernel = kernel(&row, file)?;
        // On the emulated 5.10 some answers came after the listening had ended.
        let missed = kernel.profile.name == "5.10" && row.get("answer")? == "none";
        if has_error(&row) || missed {
            table.skip();
            continue;
        }
        matrix_row(&row, kernel.profile.tcp)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

fn matrix_row(row: &CsvRow<'_>, tcp: TcpConfig) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let mut pod = pod_of(row, tcp)?;
    let now = SimTime::ZERO + seconds(row, "age_s")?;
    let seq = offset(row, "seq_off", RCV_NXT)?;
    let refused = syn(seq, tsval(row, "syn_ts_delta")?);
    let first = pod.deliver(&refused, now);
    cells.same("answer", row.get("answer")?, answer(first.as_ref()));
    let Some(first) = first else {
        return Ok(cells);
    };
    let minus_snd_nxt = first.seq.distance_from(SND_NXT).to_string();
    let accepted = first.flags == Flags::SYN_ACK;
    let comparable = |text| if accepted { isn_kind(text) } else { text };
    cells.same(
        "seq_minus_tw_snd_nxt",
        comparable(row.get("seq_minus_tw_snd_nxt")?),
        comparable(&minus_snd_nxt),
    );
    let distances = [("ack_minus_tw_rcv_nxt", RCV_NXT), ("ack_minus_synseq", seq)];
    for (column, from) in distances {
        cells.same(column, row.get(column)?, first.ack.distance_from(from));
    }
    if accepted {
        return Ok(cells);
    }
    let later = |millis| now + SimDuration::from_millis(millis);
    if let Some(measured) = row.find("repeat_syn_at_once").filter(|cell| !cell.is_empty()) {
        let again = pod.deliver(&refused, later(1));
        cells.same("repeat_syn_at_once", measured, answer(again.as_ref()));
    }
    let said = pod.deliver(&rst(first.ack, None), later(2));
    cells.check(said.is_none(), "answer to the RST", "none", answer(said.as_ref()));
    // The last SYN was sent later, and its timestamp says so: by more than 1 ms, by less than 1 s.
    let later_ts = refused.timestamps.map(|ts| ts.val.wrapping_add(50));
    let last = pod.deliver(&syn(seq, later_ts), later(3));
    cells.same("syn_after_rst", row.get("syn_after_rst")?, answer(last.as_ref()));
    if let Some(last) = last.filter(|last| last.flags == Flags::SYN_ACK) {
        let predicted = last.seq.distance_from(SND_NXT).to_string();
        let column = "syn_after_rst_seq_minus_tw_snd_nxt";
        cells.same(column, isn_kind(row.get(column)?), isn_kind(&predicted));
    }
    Ok(cells)
}

/// `a1_rst_kill`: which RST removes TIME_WAIT; a SYN that it would refuse shows whether it is still there.
pub fn rst_kill(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("a1_rst_kill");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let mut cells = Cells::default();
        let mut pod = pod_of(&row, kernel(&row, file)?.profile.tcp)?;
        let seq = offset(&row, "rst_seq_off", RCV_NXT)?;
        let said = pod.deliver(&rst(seq, tsval(&row, "rst_ts_delta")?), pod::at(1_000));
        cells.same("answer_to_rst", row.get("answer_to_rst")?, answer(said.as_ref()));
        cells.same("killed", row.get("killed")?, bit(pod.is_free()));
        let said = pod.deliver(&syn(RCV_NXT - 1, None), pod::at(2_000));
        let column = "later_refusable_syn_answer";
        cells.same(column, row.get(column)?, answer(said.as_ref()));
        cells.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// `a1_ack_ratelimit`: two SYNs that are refused, so far apart.
pub fn ack_ratelimit(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("a1_ack_ratelimit");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let mut cells = Cells::default();
        let mut pod = Pod::in_time_wait(kernel(&row, file)?.profile.tcp, false);
        let start = pod::at(100);
        for (column, now) in [("first", start), ("second", start + seconds(&row, "gap_s")?)] {
            let said = pod.deliver(&syn(RCV_NXT - 1, None), now);
            cells.same(column, row.get(column)?, answer(said.as_ref()));
        }
        cells.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// `a1_other_pod_states`: a SYN meets ESTABLISHED, or the FIN_WAIT2 of a socket that its application has closed.
pub fn other_pod_states(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("a1_other_pod_states");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        other_state_row(&row, kernel(&row, file)?.profile.tcp)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

fn other_state_row(row: &CsvRow<'_>, tcp: TcpConfig) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let state = row.get("state")?;
    let orphan = match state {
        "ESTABLISHED" => false,
        "FIN_WAIT2" => true,
        _ => return Err(row.fault("state", "ESTABLISHED or FIN_WAIT2")),
    };
    let made = Pod::established(tcp, TUPLE, RCV_NXT).and_then(|(mut pod, next)| {
        let snd_nxt = if orphan {
            pod.orphan(TUPLE, RCV_NXT)
        } else {
            Some(next)
        };
        Some((pod, snd_nxt?))
    });
    let Some((mut pod, snd_nxt)) = made else {
        cells.check(false, "state", state, "never reached");
        return Ok(cells);
    };
    let refused = syn(offset(row, "seq_off", RCV_NXT)?, None);
    let said = pod.deliver(&refused, pod::at(1_000));
    cells.same("answer", row.get("answer")?, answer(said.as_ref()));
    let Some(said) = said else {
        return Ok(cells);
    };
    cells.same(
        "ack_minus_rcv_nxt",
        row.get("ack_minus_rcv_nxt")?,
        said.ack.distance_from(RCV_NXT),
    );
    if said.flags.rst() {
        // An RST to a segment without ACK has sequence number 0 (RFC 9293 section 3.5.2), at any distance from the rest.
        cells.check(said.seq == SeqNum(0), "sequence number of the RST", 0, said.seq.0);
        cells.check(pod.is_free(), "FIN_WAIT2 after the RST", "gone", "there");
        return Ok(cells);
    }
    let column = "seq_minus_snd_nxt";
    cells.same(column, row.get(column)?, said.seq.distance_from(snd_nxt));
    pod.deliver(&rst(said.ack, None), pod::at(1_001));
    let last = pod.deliver(&refused, pod::at(1_002));
    cells.same("syn_after_rst", row.get("syn_after_rst")?, answer(last.as_ref()));
    Ok(cells)
}
