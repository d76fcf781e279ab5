//! The tables on the models' pages are what the code does: each is made here from the code and compared with its page.
//!
//! `UPDATE_STATE_TABLES=1 cargo test --test state_tables` writes them into the pages. A table stands between
//! `<!-- NAME: generated -->` and `<!-- end of NAME -->`.

use std::fmt::Write as _;
use std::fs;

#[path = "state_tables/tcp.rs"]
mod tcp;

use fivetuple::model::conntrack::{
    Collection, ConntrackConfig, Direction, PacketClass, State, Timeouts, Transition, transition,
};
use fivetuple::model::ipvs::{
    IpvsConfig, IpvsState, Known, NodestExpiry, PacketConntrack, ReuseDrop, ServerState, Side, on_known,
};
use fivetuple::model::nat::{Found, PortChoice, PortUse, Query, SearchEra, choose, search_range};
use fivetuple::profile::Profile;
use fivetuple::units::PortRange;
use fivetuple::wire::Flags;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Compares the table of that name with its page, or writes it there.
fn check(page: &str, name: &str, table: &str) {
    let path = format!("docs/models/{page}.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (begin, end) = (
        format!("<!-- {name}: generated -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (shown, after) = rest.split_once(&end)?;
        Some((before, shown, after))
    });
    let (before, shown, after) =
        parts.unwrap_or_else(|| panic!("{path} has no place for the table \"{name}\": {begin}{end}"));
    if shown == table {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_STATE_TABLES").is_some(),
        "{path}: the table \"{name}\" is not what the code does; \
         UPDATE_STATE_TABLES=1 cargo test --test state_tables -- --test-threads 1 writes\n{table}"
    );
    fs::write(&path, format!("{before}{begin}{table}{end}{after}"))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// A table of cells; the first row is the head.
fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        writeln!(text, "| {} |", row.join(" | ")).expect("a string takes everything");
        if number == 0 {
            writeln!(text, "|{}", "---|".repeat(row.len())).expect("a string takes everything");
        }
    }
    text
}

fn words<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).to_vec()
}

/// A head and a row for each item.
fn rows<T>(head: Vec<String>, items: impl IntoIterator<Item = T>, row: impl Fn(T) -> Vec<String>) -> String {
    let mut all = vec![head];
    all.extend(items.into_iter().map(row));
    table(&all)
}

const CLASSES: [(&str, PacketClass); 5] = [
    ("SYN", PacketClass::Syn),
    ("SYN-ACK", PacketClass::SynAck),
    ("FIN", PacketClass::Fin),
    ("ACK", PacketClass::Ack),
    ("RST", PacketClass::Rst),
];

/// Two letters per state, so that the tables fit.
const fn short(state: State) -> &'static str {
    match state {
        State::None => "no",
        State::SynSent => "SS",
        State::SynRecv => "SR",
        State::Established => "ES",
        State::FinWait => "FW",
        State::CloseWait => "CW",
        State::LastAck => "LA",
        State::TimeWait => "TW",
        State::Close => "CL",
        State::SynSent2 => "S2",
    }
}

#[test]
fn conntrack_transitions() {
    let mut head = vec!["from, segment".to_owned()];
    head.extend(State::ALL.map(|state| short(state).to_owned()));
    let directions = [("SLB", Direction::Original), ("pod", Direction::Reply)];
    let segments = directions
        .into_iter()
        .flat_map(|(who, direction)| CLASSES.map(|class| (who, direction, class)));
    let shown = rows(head, segments, |(who, direction, (name, class))| {
        let mut row = vec![format!("{who} {name}")];
        row.extend(State::ALL.map(|state| {
            String::from(match transition(direction, class, state) {
                Transition::To(to) => short(to),
                Transition::Invalid => "-",
                Transition::Ignore => "pass",
            })
        }));
        row
    });
    check("conntrack", "transitions", &shown);
}

#[test]
fn conntrack_timeouts() {
    let head = words(["state", "in the tables", "seconds", "closing"]);
    let shown = rows(head, &State::ALL[1..], |&state| {
        vec![
            state.name().into(),
            short(state).into(),
            Timeouts::KERNEL.of(state).as_secs().to_string(),
            yes_no(state.can_early_drop()),
        ]
    });
    check("conntrack", "timeouts", &shown);
}

fn yes_no(yes: bool) -> String {
    String::from(if yes { "yes" } else { "no" })
}

/// Profiles that answer alike stand together.
fn by_profile(name: &str, value: impl Fn(&Profile) -> String) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for profile in &Profile::ALL {
        let value = value(profile);
        match groups.iter_mut().find(|(of, _)| *of == value) {
            Some((_, profiles)) => profiles.push(profile.name),
            None => groups.push((value, vec![profile.name])),
        }
    }
    let groups = groups
        .iter()
        .map(|(value, profiles)| format!("{value}: {}", profiles.join(", ")));
    vec![format!("`{name}`"), groups.collect::<Vec<_>>().join("; ")]
}

#[test]
fn conntrack_switches() {
    type Switch = (&'static str, fn(&ConntrackConfig) -> String);
    let switches: [Switch; 11] = [
        ("syn_repeat_refreshes", |c| yes_no(c.syn_repeat_refreshes)),
        ("rst_must_be_exact", |c| yes_no(c.rst_must_be_exact)),
        ("inexact_rst_is_unacknowledged", |c| {
            yes_no(c.inexact_rst_is_unacknowledged)
        }),
        ("rst_in_closing_believed", |c| yes_no(c.rst_in_closing_believed)),
        ("rst_after_ignored_ack_passes", |c| {
            yes_no(c.rst_after_ignored_ack_passes)
        }),
        ("any_segment_reinits_window", |c| {
            yes_no(c.any_segment_reinits_window)
        }),
        ("old_segments_ignored", |c| yes_no(c.old_segments_ignored)),
        ("collection", |c| {
            String::from(match c.collection {
                Collection::Timers => "timers",
                Collection::Slices => "slices",
                Collection::Cycles => "cycles",
            })
        }),
        ("chain_limit", |c| {
            c.chain_limit.map_or("none".into(), |limit| {
                format!("{} to {}", limit.least, limit.least + limit.span - 1)
            })
        }),
        ("buckets", |c| c.buckets.to_string()),
        ("max_entries", |c| c.max_entries.to_string()),
    ];
    let shown = rows(words(["switch", "value: profiles"]), switches, |(name, value)| {
        by_profile(name, |profile| value(&profile.conntrack))
    });
    check("conntrack", "switches", &shown);
}

#[test]
fn ipvs_transitions() {
    let states = &IpvsState::ALL[..9];
    let short = |state: IpvsState| state.name().split('_').map(|word| &word[..1]).collect::<String>();
    let letters = |state: IpvsState| match state {
        IpvsState::None => "no".to_owned(),
        IpvsState::Established => "ES".to_owned(),
        IpvsState::Close => "CL".to_owned(),
        state => short(state),
    };
    // SYN_SENT and SYN_RECV, CLOSE_WAIT and the rest have initials of their own.
    let segments = [
        ("SYN", Flags::SYN),
        ("FIN", Flags::FIN_ACK),
        ("ACK", Flags::ACK),
        ("RST", Flags::RST),
    ];
    let mut head = vec!["from, segment".to_owned()];
    head.extend(states.iter().map(|&state| letters(state)));
    let sides = [("SLB", Side::Client), ("pod", Side::Pod)];
    let lines = sides
        .into_iter()
        .flat_map(|(who, side)| segments.map(|segment| (who, side, segment)));
    let shown = rows(head, lines, |(who, side, (name, flags))| {
        let mut row = vec![format!("{who} {name}")];
        row.extend(states.iter().map(|state| letters(state.next(side, flags))));
        row
    });
    check("ipvs", "transitions", &shown);

    let config = Profile::DEFAULT.ipvs;
    let head = words([
        "state",
        "in the tables",
        "seconds",
        "a SYN begins a new connection",
    ]);
    let shown = rows(head, states, |&state| {
        vec![
            state.name().into(),
            letters(state),
            state.timeout(&config).as_secs().to_string(),
            yes_no(state.expects_new_connection()),
        ]
    });
    check("ipvs", "timeouts", &shown);
}

/// What ipvs does with the SYN of a known tuple, by kernel era.
#[test]
fn ipvs_known_tuples() {
    let gone = |weight, available| ServerState { weight, available };
    let servers = [
        ("there", gone(1, true)),
        ("weight 0", gone(0, true)),
        ("removed", gone(1, false)),
    ];
    let eras = [
        ("4.19", ReuseDrop::Always, NodestExpiry::NextPacket, true),
        (
            "5.10 and later",
            ReuseDrop::IfConfirmed,
            NodestExpiry::Removal,
            false,
        ),
    ];
    let mut all = vec![words([
        "state",
        "pod",
        "`conn_reuse_mode`",
        "`expire_nodest_conn`",
        "conntrack entry",
        "4.19",
        "5.10 and later",
    ])];
    for (state, server) in [IpvsState::Established, IpvsState::TimeWait]
        .into_iter()
        .flat_map(|state| servers.map(|server| (state, server)))
    {
        for (mode, nodest) in [(0, false), (0, true), (1, false), (1, true)] {
            for (ct, conntrack) in [
                ("new", PacketConntrack::Unconfirmed),
                ("in the table", PacketConntrack::Confirmed),
                ("none", PacketConntrack::None),
            ] {
                let answers = eras.map(|(_, reuse_drop, nodest_expiry, weight_zero_needs_reuse_mode)| {
                    let config = IpvsConfig {
                        conn_reuse_mode: mode,
                        expire_nodest_conn: nodest,
                        reuse_drop,
                        nodest_expiry,
                        weight_zero_needs_reuse_mode,
                        ..Profile::DEFAULT.ipvs
                    };
                    match on_known(&config, state, server.1, Flags::SYN, conntrack) {
                        Known::Use => "same pod",
                        Known::Reschedule => "scheduled afresh",
                        Known::ExpireAndDrop => "both entries end, dropped",
                        Known::Drop => "dropped",
                    }
                });
                let mut row = words([state.name(), server.0, "", "", ct]);
                row[2] = mode.to_string();
                row[3] = u8::from(nodest).to_string();
                row.extend(answers.map(String::from));
                all.push(row);
            }
        }
    }
    for column in [4, 2, 3, 0, 1] {
        all = merge(&all, column);
    }
    check("ipvs", "known tuples", &table(&all));
}

/// Rows that differ in one column only become one, with the values of that column in a list.
fn merge(rows: &[Vec<String>], column: usize) -> Vec<Vec<String>> {
    let mut merged: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let alike = |other: &&mut Vec<String>| {
            let mut others = other.iter().zip(row).enumerate();
            others.all(|(place, (a, b))| place == column || a == b)
        };
        match merged.iter_mut().find(alike) {
            Some(first) => first[column] = format!("{}, {}", first[column], row[column]),
            None => merged.push(row.clone()),
        }
    }
    merged
}

/// A pool without a free port, which counts.
#[derive(Default)]
struct FullPool {
    tested: u32,
    evictable: u32,
}

impl PortUse for FullPool {
    fn is_used(&mut self, _port: u16) -> bool {
        self.tested += 1;
        true
    }
    fn may_evict(&mut self, _port: u16) -> bool {
        self.evictable += 1;
        false
    }
}

#[test]
fn nat_ranges_and_searches() {
    let classes = [1, 511, 512, 1023, 1024, 65535];
    let head = words(["source port", "searched without `--to-ports`", "ports"]);
    let shown = rows(head, classes, |port| {
        let range = search_range(port, None);
        vec![
            port.to_string(),
            format!("{}-{}", range.first(), range.last()),
            range.count().to_string(),
        ]
    });
    check("nat", "ranges", &shown);

    let eras = [
        ("4.19", SearchEra::WholeRange, false),
        ("5.10, 6.1", SearchEra::Bounded, false),
        ("6.6 and later", SearchEra::Bounded, true),
    ];
    let sizes = [1, 2, 32, 33, 128, 129, 1000, 64_512];
    let lines = sizes.into_iter().flat_map(|size| eras.map(|era| (size, era)));
    let head = words(["ports", "kernel", "tested", "of these, may be evicted", "then"]);
    let shown = rows(head, lines, |(size, (name, search, evicts))| {
        let mut pool = FullPool::default();
        let to_ports = PortRange::new((65_536 - size) as u16, u16::MAX);
        let query = Query {
            source_port: 40_000,
            choice: PortChoice::RandomFully,
            to_ports,
            search,
            allocator: None,
            evicts,
            keyed_start: 0,
        };
        let found = choose(&query, &mut pool, &mut 0, &mut ChaCha8Rng::seed_from_u64(1));
        let then = match found {
            Found::Unchecked(_) => "another is taken unchecked",
            Found::Exhausted => "dropped",
            Found::Free(_) | Found::Evict(_) => unreachable!("no port of this pool is free"),
        };
        vec![
            size.to_string(),
            name.into(),
            pool.tested.to_string(),
            pool.evictable.to_string(),
            then.into(),
        ]
    });
    check("nat", "searches", &shown);
}
