//! `a2_through_node`: a SYN meets the pod's TIME_WAIT through DNAT and MASQUERADE to one forced port; the caller answers
//! the bare ACK with an RST and repeats its SYN.

use super::super::bench::{self, Bench, Flow, NODE, segment};
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cells::{Cells, READ_AFTER, bit, conntrack_listed, flag, has_error};
use super::pod::{Pod, RCV_NXT, SND_NXT, TS_RECENT, answer, isn_kind, with_tsval};
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::node::{Hop, NodeVerdict};
use crate::model::tcp::TcpConfig;
use crate::profile::Profile;
use crate::units::{PortRange, SeqNum, SimDuration};
use crate::wire::{Flags, Packet};

/// Half a round trip, and from an answer to the caller's reaction.
const STEP: SimDuration = SimDuration::from_millis(1);

/// Judges the file.
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("a2_through_node");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        judge_row(&row, kernel.profile)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// Caller, node and pod.
struct Path {
    bench: Bench,
    flow: Flow,
    pod: Pod,
}

/// What a packet of the caller led to.
#[derive(Default)]
struct Passed {
    /// As the pod saw it.
    at_pod: Option<Packet>,
    /// The pod's answer, as the pod sent it and as the caller got it.
    sent: Option<Packet>,
    back: Option<Packet>,
}

impl Path {
    fn new(row: &CsvRow<'_>, profile: &Profile, has_ts: bool) -> Result<Self, Fault> {
        let port: u16 = row.number("snat_port")?;
        let range = PortRange::new(port, port);
        let mut node = bench::node_config(profile, SnatMode::Masquerade(PortChoice::RandomFully), range);
        node.conntrack.be_liberal = flag(row, "be_liberal")?;
        node.conntrack.drop_invalid = flag(row, "invalid_drop")?;
        let tcp = TcpConfig {
            rfc1337: flag(row, "rfc1337")?,
            ..profile.tcp
        };
        Ok(Self {
            bench: Bench::new(node, 1),
            flow: Flow::new(1, 33_000, 0),
            pod: Pod::in_time_wait(tcp, has_ts),
        })
    }

    /// The caller sends; whatever the pod answers comes back through the node.
    fn send(&mut self, packet: &Packet) -> Passed {
        let mut passed = Passed::default();
        self.bench.wait(STEP);
        if let NodeVerdict::Forward {
            packet,
            to: Hop::Pod(_),
        } = self.bench.send(packet)
        {
            passed.at_pod = Some(packet);
            passed.sent = self.pod.deliver(&packet, self.bench.now);
        }
        if let Some(sent) = passed.sent
            && let NodeVerdict::Forward {
                packet,
                to: Hop::Outside,
            } = self.bench.send(&sent)
        {
            passed.back = Some(packet);
        }
        passed
    }

    fn packet(&self, flags: Flags, seq: SeqNum) -> Packet {
        segment(self.flow.tuple(), flags, seq, SeqNum(0))
    }

    /// The entry as the files write it a little later, with its time replaced by the measured one if that is right;
    /// the clock does not move, as the next packet follows at once.
    fn listed(&self, cells: &mut Cells, row: &CsvRow<'_>, column: &str) -> Result<(), Fault> {
        let measured = row.get(column)?;
        let mut later = self.bench.clone();
        later.wait(READ_AFTER);
        let entry = later.conntrack(&self.flow);
        let unreplied = entry.is_some_and(|entry| !entry.tracker.seen_reply);
        let (shown, flagged) = match measured.strip_suffix("/UNREPLIED") {
            Some(shown) => (shown, true),
            None => (measured, false),
        };
        cells.listed(column, shown, conntrack_listed(&later, &self.flow));
        cells.check(
            flagged == unreplied,
            column,
            measured,
            if unreplied { "UNREPLIED" } else { "replied to" },
        );
        Ok(())
    }
}

/// `in:S out:SA` as the pod saw it.
fn seen(passed: &Passed) -> String {
    let came = passed.at_pod.map_or("", |_| "in:S");
    match passed.sent.map(|sent| sent.flags) {
        None => came.to_owned(),
        Some(Flags::SYN_ACK) => format!("{came} out:SA"),
        Some(Flags::ACK) => format!("{came} out:A"),
        Some(flags) => format!("{came} out:{flags:?}"),
    }
}

fn judge_row(row: &CsvRow<'_>, profile: &Profile) -> Result<Cells, Fault> {
    let tsval = match row.get("case")? {
        "no_ts" => None,
        "ts_older" => Some(TS_RECENT - 1000),
        "ts_equal" => Some(TS_RECENT),
        "ts_newer" => Some(TS_RECENT + 1000),
        _ => return Err(row.fault("case", "no_ts, ts_older, ts_equal or ts_newer")),
    };
    let mut cells = Cells::default();
    let mut path = Path::new(row, profile, tsval.is_some())?;
    let offset: i64 = row.number("seq_off")?;
    let seq = SeqNum(RCV_NXT.0.wrapping_add(offset as u32));
    let syn = with_tsval(path.packet(Flags::SYN, seq), tsval);
    let first = path.send(&syn);
    cells.same("pod_saw", row.get("pod_saw")?, seen(&first));
    let source = first.at_pod.map(|packet| packet.tuple.src);
    let source = source.filter(|src| src.ip == NODE).map_or(0, |src| src.port);
    cells.same("snat_port", row.get("snat_port")?, source);
    cells.same("slb_saw", row.get("slb_saw")?, answer(first.back.as_ref()));
    let Some(back) = first.back else {
        return Ok(cells);
    };
    let column = "ack_minus_tw_rcv_nxt";
    cells.same(column, row.get(column)?, back.ack.distance_from(RCV_NXT));
    let column = "seq_minus_tw_snd_nxt";
    let (measured, predicted) = (row.get(column)?, back.seq.distance_from(SND_NXT).to_string());
    if back.flags == Flags::SYN_ACK {
        cells.same(column, isn_kind(measured), isn_kind(&predicted));
        path.listed(&mut cells, row, "ct_after_syn")?;
        return Ok(cells);
    }
    cells.same(column, measured, predicted);
    path.listed(&mut cells, row, "ct_after_syn")?;
    let rst = path.send(&path.packet(Flags::RST, back.ack));
    cells.same(
        "rst_reached_pod",
        row.get("rst_reached_pod")?,
        bit(rst.at_pod.is_some()),
    );
    path.listed(&mut cells, row, "ct_after_rst")?;
    cells.same(
        "tw_after_rst",
        row.get("tw_after_rst")?,
        bit(path.pod.holds_time_wait()),
    );
    let again = path.send(&syn);
    let column = "syn_retrans_slb_saw";
    cells.same(column, row.get(column)?, answer(again.back.as_ref()));
    cells.same("pod_saw3", row.get("pod_saw3")?, seen(&again));
    path.listed(&mut cells, row, "ct_after_retrans")?;
    Ok(cells)
}
