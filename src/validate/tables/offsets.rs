//! `a0_tsval_offsets`: of what the random offset of a caller's timestamps is a function.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

use super::super::bench::{NODE, NODE_PORT};
use super::super::{Fault, File, Judgement, Kernel, Table, read};
use super::cells::Cells;
use super::pod;
use crate::model::tcp::{TcpConfig, TimestampMode};
use crate::units::{Endpoint, FourTuple};

/// `[source address, source port, tsval, seconds]` of a SYN.
#[derive(Deserialize)]
struct Syn(Ipv4Addr, u16, Option<u32>, f64);

/// Offsets that differ by less, in milliseconds, are one: the SYNs of each address were stamped up to two seconds late,
/// and two random offsets are as close as this once in 200,000.
const SAME_WITHIN: u32 = 10_000;

/// Judges the file: per mode a row for each source address (one offset, or one per port?) and one for each address
/// after the first (the same as the first one's?).
pub fn judge(file: &File) -> Result<Judgement, Fault> {
    let value = read::json(file)?;
    let fault = |what: String| Fault::new(file.path(), what);
    let entries = value
        .as_object()
        .ok_or_else(|| fault("expected SYNs by tcp_timestamps=N".to_owned()))?;
    let kernel = Kernel::of(value["kernel"].as_str(), file.path())?;
    let mut table = Table::new("a0_tsval_offsets");
    for (key, syns) in entries
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "kernel" | "note"))
    {
        let timestamps = match key.strip_prefix("tcp_timestamps=") {
            Some("0") => TimestampMode::Off,
            Some("1") => TimestampMode::RandomOffset,
            Some("2") => TimestampMode::NoOffset,
            _ => return Err(fault(format!("/{key}: expected tcp_timestamps=0, 1 or 2"))),
        };
        let syns: Vec<Syn> = serde_json::from_value(syns.clone()).map_err(|error| {
            fault(format!(
                "/{key}: expected [address, port, tsval, seconds]: {error}"
            ))
        })?;
        let tcp = TcpConfig {
            timestamps,
            ..kernel.profile.tcp
        };
        let (measured, predicted) = (
            by_address(&syns, measured),
            by_address(&syns, |syn| modelled(syn, &tcp)),
        );
        let first = |offsets: &ByAddress| offsets.values().next().map(|offsets| offsets[0]);
        for (address, offsets) in &measured {
            let ours = &predicted[address];
            let mut cells = Cells::default();
            cells.same("offsets over the ports", spread(offsets), spread(ours));
            let beside = |offset, all| spread(&[offset, first(all).flatten()]);
            cells.same(
                "beside the first address's",
                beside(offsets[0], &measured),
                beside(ours[0], &predicted),
            );
            cells.count_as(&mut table, file, format!("{key} {address}"));
        }
    }
    Ok(Judgement::of_table(table))
}

/// Offsets in milliseconds, in the order of the SYNs; `None`: no timestamp.
type ByAddress = BTreeMap<Ipv4Addr, Vec<Option<u32>>>;

fn by_address(syns: &[Syn], offset: impl Fn(&Syn) -> Option<u32>) -> ByAddress {
    let mut all = ByAddress::new();
    for syn in syns {
        all.entry(syn.0).or_default().push(offset(syn));
    }
    all
}

fn measured(&Syn(_, _, tsval, seconds): &Syn) -> Option<u32> {
    tsval.map(|tsval| tsval.wrapping_sub((seconds * 1e3) as u64 as u32))
}

fn modelled(&Syn(address, port, ..): &Syn, tcp: &TcpConfig) -> Option<u32> {
    let tuple = FourTuple::new(Endpoint::new(address, port), Endpoint::new(NODE, NODE_PORT));
    (tcp.timestamps != TimestampMode::Off).then(|| pod::clock().timestamp_offset(tuple, tcp))
}

/// One offset, as many as SYNs, or no timestamps.
fn spread(offsets: &[Option<u32>]) -> &'static str {
    let same = |(a, b): (Option<u32>, Option<u32>)| match (a, b) {
        (Some(a), Some(b)) => a.wrapping_sub(b).cast_signed().unsigned_abs() < SAME_WITHIN,
        (a, b) => a == b,
    };
    let mut pairs =
        (0..offsets.len()).flat_map(|i| offsets[..i].iter().map(move |&earlier| (earlier, offsets[i])));
    if offsets.iter().all(Option::is_none) {
        "no timestamps"
    } else if pairs.clone().all(same) {
        "the same"
    } else if pairs.any(same) {
        "some the same"
    } else {
        "different"
    }
}
