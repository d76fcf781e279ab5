//! `ipvs_states`, `ipvs_conn_reuse` and `ipvs_stray_rst`: ipvs and conntrack together, packet by packet.

use super::super::bench::{self, Bench, Flow, NODE, NODE_PORT, Step, pod};
use super::super::read::{self, CsvRow};
use super::super::{Fault, File, Judgement, Kernel, Table};
use super::cells::{Cells, READ_AFTER, bit, conntrack_listed, flag, has_error, ipvs_listed};
use super::pod::{Pod, answer};
use super::release;
use crate::model::ipvs::IpvsConfig;
use crate::model::nat::{PortChoice, SnatMode};
use crate::model::node::{Hop, NodeConfig, NodeProxy, NodeVerdict};
use crate::profile::Profile;
use crate::units::{PortRange, SeqNum, SimDuration};
use crate::wire::{Flags, Packet};

/// A node with ipvs, `MASQUERADE --random-fully` and so many pods.
pub fn node_config(profile: &Profile, ipvs: IpvsConfig, pods: u32) -> NodeConfig {
    let mut config = bench::node_config(profile, SnatMode::Masquerade(PortChoice::RandomFully), None);
    config.proxy = NodeProxy::Ipvs(ipvs);
    config.services[0].backends = (0..pods).map(pod).collect();
    config
}

/// The kernel's ipvs with the switches that the row has columns for.
pub fn ipvs_of_row(row: &CsvRow<'_>, profile: &Profile) -> Result<IpvsConfig, Fault> {
    let mut ipvs = bench::ipvs_config(profile);
    if row.find("conn_reuse_mode").is_some() {
        ipvs.conn_reuse_mode = row.number("conn_reuse_mode")?;
    }
    for (column, switch) in [
        ("vs_conntrack", &mut ipvs.conntrack),
        ("expire_nodest_conn", &mut ipvs.expire_nodest_conn),
    ] {
        if row.find(column).is_some() {
            *switch = flag(row, column)?;
        }
    }
    Ok(ipvs)
}

/// `ipvs_states`: the rows of a case are one connection, in order.
pub fn states(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("ipvs_states");
    let mut current: Option<(String, Bench, Flow)> = None;
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        let case = row.get("case")?;
        if current.as_ref().is_none_or(|(name, ..)| name != case) {
            let config = node_config(kernel.profile, ipvs_of_row(&row, kernel.profile)?, 1);
            current = Some((case.to_owned(), Bench::new(config, 1), Flow::new(1, 33_000, 1000)));
        }
        let Some((_, bench, flow)) = current.as_mut() else {
            continue;
        };
        state_row(&row, bench, flow)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// Where a packet went: `to_pod1`, `to_slb`, `NOT forwarded`.
fn went(verdict: Option<NodeVerdict>) -> String {
    match verdict {
        Some(NodeVerdict::Forward { to: Hop::Pod(n), .. }) => format!("to_pod{}", n + 1),
        Some(NodeVerdict::Forward { to: Hop::Outside, .. }) => "to_slb".to_owned(),
        _ => "NOT forwarded".to_owned(),
    }
}

fn state_row(row: &CsvRow<'_>, bench: &mut Bench, flow: &mut Flow) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let step = Step::parse(row.get("step")?).ok_or_else(|| row.fault("step", "a packet of SLB or pod"))?;
    let verdict = flow.send(bench, step);
    cells.same("packet", row.get("packet")?, went(verdict));
    bench.wait(READ_AFTER);
    let ipvs = ipvs_listed(bench, flow);
    cells.listed("ipvs_state_expire", row.get("ipvs_state_expire")?, ipvs);
    let conntrack = conntrack_listed(bench, flow);
    let column = "conntrack_state_timeout";
    cells.listed(column, row.get(column)?, conntrack);
    Ok(cells)
}

/// `ipvs_conn_reuse`: the SLB's address and port again while the ipvs entry is in TIME_WAIT, after its pod was left
/// alone, drained or removed; again a second later if the SYN was dropped.
pub fn conn_reuse(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("ipvs_conn_reuse");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        reuse_row(&row, kernel.profile)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// The SYN again, and the listings, come a second after the last packet: so long is listened for it behind the node.
const LISTEN: SimDuration = SimDuration::from_secs(1);

fn reuse_row(row: &CsvRow<'_>, profile: &Profile) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let mut bench = Bench::new(node_config(profile, ipvs_of_row(row, profile)?, 2), 1);
    let mut first = Flow::new(1, 33_000, 1000);
    first.run(&mut bench, &bench::POD_CLOSES_FIRST);
    bench.wait(READ_AFTER);
    listings(&mut cells, row, ["state_before", "ct_before"], &bench, &first)?;
    let old = pod(first.pod.unwrap_or(0)).endpoint;
    match row.get("old_rs")? {
        "alive" => {}
        "weight0" => {
            bench.node.set_weight(NODE_PORT, old, 0);
        }
        "removed" => {
            bench.node.remove_backend(NODE_PORT, old, bench.now);
        }
        _ => return Err(row.fault("old_rs", "alive, weight0 or removed")),
    }
    let mut second = first.again();
    for (outcome, same) in [
        ("first_syn", "first_syn_snat_port_same"),
        ("retransmitted_syn_1s", "retrans_snat_port_same"),
    ] {
        if row.get(outcome)?.is_empty() {
            continue;
        }
        let verdict = Step::parse("SLB SYN").and_then(|syn| second.send(&mut bench, syn));
        cells.same(outcome, row.get(outcome)?, went(verdict));
        let kept = second.port().map(|port| Some(port) == first.port());
        let kept = kept.map_or("", |kept| if kept { "True" } else { "False" });
        cells.same(same, row.get(same)?, kept);
        bench.wait(LISTEN);
    }
    listings(&mut cells, row, ["state_after", "ct_after"], &bench, &second)?;
    Ok(cells)
}

/// The flow's lines in both listings, against the columns for ipvs and conntrack.
pub fn listings(
    cells: &mut Cells,
    row: &CsvRow<'_>,
    [ipvs, conntrack]: [&str; 2],
    bench: &Bench,
    flow: &Flow,
) -> Result<(), Fault> {
    cells.listed(ipvs, row.get(ipvs)?, ipvs_listed(bench, flow));
    cells.listed(conntrack, row.get(conntrack)?, conntrack_listed(bench, flow));
    Ok(())
}

/// `ipvs_stray_rst`: an RST of the SLB after an orderly close, by its distance from what the pod expects.
pub fn stray_rst(file: &File) -> Result<Judgement, Fault> {
    let mut table = Table::new("ipvs_stray_rst");
    for row in read::csv(file)? {
        if has_error(&row) {
            table.skip();
            continue;
        }
        let kernel = Kernel::of(row.find("kernel"), file.path())?;
        stray_row(&row, kernel.profile)?.count(&mut table, file, &row);
    }
    Ok(Judgement::of_table(table))
}

/// The only port of a row's range.
const PORT: u16 = 42_000;
/// When the listings were read, and when the pod's TIME_WAIT was looked for, in seconds after the RST.
const LISTED_AT: f64 = 1.0;
const LAST_LOOK: f64 = 14.0;

/// A flow through the node that the pod closed first, and the pod's TIME_WAIT.
struct Closed {
    bench: Bench,
    flow: Flow,
    pod: Pod,
}

impl Closed {
    fn new(row: &CsvRow<'_>, profile: &Profile) -> Result<Self, Fault> {
        let mut config = node_config(profile, ipvs_of_row(row, profile)?, 1);
        match row.get("path")? {
            "ipvs" => {}
            "iptables DNAT" => config.proxy = NodeProxy::Iptables,
            _ => return Err(row.fault("path", "ipvs or iptables DNAT")),
        }
        config.snat.to_ports = PortRange::new(PORT, PORT);
        config.conntrack.be_liberal = flag(row, "be_liberal")?;
        let (mut bench, mut flow) = (Bench::new(config, 1), Flow::new(1, 33_000, 5_000_000));
        flow.run(&mut bench, &bench::POD_CLOSES_FIRST);
        bench.wait(SimDuration::from_millis(200));
        let pod = Pod::time_wait_between(profile.tcp, flow.slb_next, flow.pod_next);
        Ok(Self { bench, flow, pod })
    }

    /// What reaches the pod of a packet, and what the pod answers if it belongs to the TIME_WAIT's tuple.
    fn send(&mut self, packet: &Packet) -> (Option<Packet>, Option<Packet>) {
        let NodeVerdict::Forward {
            packet,
            to: Hop::Pod(_),
        } = self.bench.send(packet)
        else {
            return (None, None);
        };
        let same = Some(packet.tuple) == self.flow.seen;
        let answer = same.then(|| self.pod.deliver(&packet, self.bench.now));
        (Some(packet), answer.flatten())
    }
}

fn stray_row(row: &CsvRow<'_>, profile: &Profile) -> Result<Cells, Fault> {
    let mut cells = Cells::default();
    let mut closed = Closed::new(row, profile)?;
    let flags = match row.get("rst")? {
        "none" => None,
        "R" => Some(Flags::RST),
        "RA" => Some(Flags::RST_ACK),
        _ => return Err(row.fault("rst", "none, R or RA")),
    };
    if let Some(flags) = flags {
        let offset: i64 = row.number("rst_seq_minus_rcv_nxt")?;
        let flow = &closed.flow;
        let seq = SeqNum(flow.slb_next.0.wrapping_add(offset as u32));
        let rst = bench::segment(flow.tuple(), flags, seq, flow.pod_next);
        let (reached, _) = closed.send(&rst);
        let source = reached.map(|packet| packet.tuple.src.ip);
        cells.same(
            "rst_was_snated",
            row.get("rst_was_snated")?,
            bit(source == Some(NODE)),
        );
        let measured = row.get("pod_saw")?;
        let flags = measured.split(' ').next().unwrap_or(measured);
        let ours = if source.is_some() {
            row.get("rst")?
        } else {
            "nothing"
        };
        cells.same("pod_saw", flags, ours);
    }
    let mut listed = closed.bench.clone();
    listed.wait(SimDuration::from_secs_f64(LISTED_AT));
    let columns = ["ipvs_after", "conntrack_after"];
    listings(&mut cells, row, columns, &listed, &closed.flow)?;
    let gone = release::watch(&mut closed.bench, &closed.flow, LAST_LOOK, &mut |_, _| {});
    // Without ipvs there is nothing to look at in that column.
    let ends = [
        ("ipvs_gone_after_s", gone.ipvs),
        ("conntrack_gone_after_s", gone.conntrack),
    ];
    for (column, ours) in ends.into_iter().skip(usize::from(row.get("path")? != "ipvs")) {
        release::compare_end(&mut cells, column, row.get(column)?, ours, &[]);
    }
    let column = "conntrack_just_before_gone";
    gone.compare_before_end(
        &mut cells,
        column,
        row.get(column)?,
        row.get("conntrack_gone_after_s")?,
    );
    let column = "pod_time_wait_alive_at_14s";
    cells.same(column, row.get(column)?, bit(closed.pod.holds_time_wait()));
    // Another caller tried until it had the port, or for good: dead entries had time to be collected. Its SYN is one that a
    // surviving TIME_WAIT refuses.
    let other = Flow::new(2, 34_000, (closed.flow.slb_next - 1_000).0);
    closed.bench.wait(SimDuration::from_secs(20));
    let syn = bench::segment(other.tuple(), Flags::SYN, other.slb_next, SeqNum(0));
    let (reached, said) = closed.send(&syn);
    let column = "other_tuple_got_the_same_snat_port";
    cells.same(column, row.get(column)?, bit(reached.is_some()));
    let said = match reached {
        Some(_) => answer(said.as_ref()),
        None => "never got this port (SYN dropped)",
    };
    cells.same("pod_answer_to_it", row.get("pod_answer_to_it")?, said);
    Ok(cells)
}
