//! The CSV files: one row per attempt, per request, per second. Columns are documented in `docs/results-reference.md`,
//! and a test holds page and header together.

use csv::Writer;

use crate::observe::{AttemptRecord, Observations, RequestRecord};
use crate::spec::Plan;
use crate::units::SimTime;
use crate::vocab::{Cause, ReleasePath};

/// A CSV file as text, with its rows counted.
#[derive(Debug)]
pub(super) struct Table {
    /// File name.
    pub name: &'static str,
    /// Content.
    pub text: Vec<u8>,
    /// Rows without the header.
    pub rows: u64,
    /// Rows that the caps left out.
    pub left_out: u64,
}

/// Header of `attempts.csv`.
pub(super) const ATTEMPTS: &str = "replication,at_s,pod,source,isn,slb_source,slb_destination,request,syns_sent,status,\
    connect_started_s,request_ended_s,hit,answer,rule,reuse_gap_s,release_path,previous_slb_source,released_at_s,\
    old_ipvs_undisturbed,previous_rewritten";
/// Header of `requests.csv`.
pub(super) const REQUESTS: &str = "replication,request,clients,started_s,ended_s,status,cause,contributing,release_path,connect_s,syns_sent,slb_source,slb_destination";
/// Header of `series.csv`.
pub(super) const SERIES: &str = "replication,second,requests_started,status_200,status_499,status_500,status_502,\
    status_503,status_504,connects_started,established,timed_out,refused,abandoned,slow,attempts,time_wait_hits,recycled,\
    bare_acks,no_answer,fin_wait2_hits,rst_kills,syn_retransmits,snat_search_failures,snat_evictions,insert_failed,\
    ipvs_syn_drops,conntrack_full_drops,early_drop,link_losses,queue_overflows,tuple_reopens,conntrack_entries,\
    ipvs_entries,pod_time_wait,snat_ports_in_use,retries";

/// The three tables, each of at most `cap` rows.
pub(super) fn tables(
    plan: &Plan,
    observations: &[Observations],
    cap: usize,
) -> Result<[Table; 3], csv::Error> {
    let attempts = observations.iter().flat_map(|o| {
        o.attempts
            .iter()
            .map(move |record| attempt(plan, o.replication, record))
    });
    let requests = observations.iter().flat_map(|o| {
        o.requests
            .iter()
            .map(move |record| request(plan, o.replication, record))
    });
    let series = observations.iter().flat_map(seconds);
    let left_out = |of: fn(&Observations) -> u64| observations.iter().map(of).sum::<u64>();
    Ok([
        table(
            "attempts.csv",
            ATTEMPTS,
            attempts,
            left_out(|o| o.attempts_left_out),
            cap,
        )?,
        table(
            "requests.csv",
            REQUESTS,
            requests,
            left_out(|o| o.requests_left_out),
            cap,
        )?,
        table("series.csv", SERIES, series, 0, cap)?,
    ])
}

fn table(
    name: &'static str,
    header: &str,
    rows: impl Iterator<Item = Vec<String>>,
    left_out: u64,
    cap: usize,
) -> Result<Table, csv::Error> {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(header.split(','))?;
    let (mut written, mut beyond) = (0, 0);
    for row in rows {
        if written < cap as u64 {
            writer.write_record(&row)?;
            written += 1;
        } else {
            beyond += 1;
        }
    }
    let text = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    Ok(Table {
        name,
        text,
        rows: written,
        left_out: left_out + beyond,
    })
}

/// Exact decimal seconds.
fn time(at: SimTime) -> String {
    decimal(at.as_nanos())
}

fn decimal(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn or_empty<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map(text).unwrap_or_default()
}

fn attempt(plan: &Plan, replication: u32, record: &AttemptRecord) -> Vec<String> {
    let mut row = vec![
        replication.to_string(),
        time(record.at),
        plan.pods
            .get(record.pod as usize)
            .map_or_else(|| record.pod.to_string(), |pod| pod.name.clone()),
        record.source.to_string(),
        record.isn.to_string(),
        record.slb_tuple.src.to_string(),
        record.slb_tuple.dst.to_string(),
        if record.request == AttemptRecord::CHECK {
            String::new()
        } else {
            record.request.to_string()
        },
        record.syns_sent.to_string(),
        or_empty(record.status, |status| status.code().to_string()),
        time(record.connect_started),
        or_empty(record.request_ended, time),
        u8::from(record.hit.is_some()).to_string(),
    ];
    match record.hit {
        Some(hit) => row.extend([
            hit.answer.name().to_owned(),
            hit.rule.name().to_owned(),
            decimal(hit.reuse_gap.as_nanos()),
            hit.path.name(),
            hit.previous_tuple.src.to_string(),
            or_empty(hit.released_at, time),
            u8::from(hit.old_ipvs_undisturbed).to_string(),
            u8::from(hit.previous_rewritten).to_string(),
        ]),
        None => row.extend(std::iter::repeat_n(String::new(), 8)),
    }
    row
}

fn request(plan: &Plan, replication: u32, record: &RequestRecord) -> Vec<String> {
    vec![
        replication.to_string(),
        record.request.to_string(),
        plan.clients
            .get(record.population as usize)
            .map_or_else(|| record.population.to_string(), |clients| clients.name.clone()),
        time(record.started),
        time(record.ended),
        record.status.code().to_string(),
        or_empty(record.cause, |cause| cause.name().to_owned()),
        record
            .contributing
            .iter()
            .map(Cause::name)
            .collect::<Vec<_>>()
            .join(" "),
        or_empty(record.release_path, ReleasePath::name),
        or_empty(record.connect_time, |time| decimal(time.as_nanos())),
        record.syns_sent.to_string(),
        or_empty(record.slb_tuple, |tuple| tuple.src.to_string()),
        or_empty(record.slb_tuple, |tuple| tuple.dst.to_string()),
    ]
}

fn seconds(observations: &Observations) -> impl Iterator<Item = Vec<String>> {
    let replication = observations.replication;
    observations.seconds.iter().enumerate().map(move |(second, row)| {
        let (c, g) = (&row.counts, &row.gauges);
        let mut fields = vec![
            replication.to_string(),
            second.to_string(),
            c.requests_started.to_string(),
        ];
        fields.extend(c.by_status.iter().map(u64::to_string));
        fields.extend(
            [
                c.connects_started,
                c.established,
                c.timed_out,
                c.refused,
                c.abandoned,
                c.slow,
                c.attempts,
                c.time_wait_hits,
                c.recycled,
                c.bare_acks,
                c.no_answer,
                c.fin_wait2_hits,
                c.rst_kills,
                c.syn_retransmits,
                c.snat_search_failures,
                c.snat_evictions,
                c.insert_failed,
                c.ipvs_syn_drops,
                c.conntrack_full_drops,
                c.early_drop,
                c.link_losses,
                c.queue_overflows,
                c.tuple_reopens,
                g.conntrack_entries,
                g.ipvs_entries,
                g.pod_time_wait,
                g.snat_ports_in_use,
                c.retries,
            ]
            .map(|count| count.to_string()),
        );
        fields
    })
}
