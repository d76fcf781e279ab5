//! The conntrack tracker against measured kernels: every step of every case of the laboratory's tables.
//!
//! `tests/lab` keeps the laboratory's layout; what the columns mean is said where they are read. Names of steps are
//! turned into segments as two endpoints would send them; the tracker then has to show what `conntrack -L` showed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use fivetuple::model::conntrack::{ConntrackConfig, Direction, State, Timeouts, TrackVerdict, Tracker};
use fivetuple::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use fivetuple::wire::{Flags, Options, Packet};

use Direction::{Original, Reply};
use TrackVerdict::{Accept, AcceptAndDelete, Ignore, Invalid, Reopen};

/// conntrack as the profile of a kernel has it: what users get is what is judged.
fn kernel(name: &str) -> ConntrackConfig {
    fivetuple::profile::find(name)
        .unwrap_or_else(|| panic!("no profile {name}"))
        .conntrack
}

/// One row, by column name.
type Row = BTreeMap<String, String>;

fn read(path: &str) -> Vec<Row> {
    let path = format!("{}/tests/lab/{path}", env!("CARGO_MANIFEST_DIR"));
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_path(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let rows: Result<Vec<Row>, _> = reader.deserialize().collect();
    let rows = rows.unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(!rows.is_empty(), "{path} is empty");
    rows
}

const SLB_ISN: u32 = 0xffff_ff00;
const POD_ISN: u32 = 0x7fff_ffc0;
const REQUEST: u32 = 100;
const RESPONSE: u32 = 300;
/// The largest window without scaling; the laboratory's raw packets announced no more.
const WINDOW: u32 = 65_535;
/// Between two segments.
const PAUSE: SimDuration = SimDuration::from_millis(300);
/// From a segment to the reading of the listing: the undisturbed readings are all a fraction of a second old.
const READ_AFTER: SimDuration = SimDuration::from_millis(100);

fn segment(flags: Flags, seq: u32, ack: u32, payload_len: u32) -> Packet {
    let endpoint = |last, port| Endpoint {
        ip: Ipv4Addr::new(10, 10, 0, last),
        port,
    };
    Packet {
        tuple: FourTuple {
            src: endpoint(1, 40_000),
            dst: endpoint(254, 30_080),
        },
        seq: SeqNum(seq),
        ack: SeqNum(if flags.ack() { ack } else { 0 }),
        payload_len,
        window: WINDOW,
        timestamps: None,
        flags,
        options: Options::NONE,
        tag: 0,
    }
}

/// Both ends of a connection and the entry between them.
struct Connection {
    config: ConntrackConfig,
    entry: Option<Tracker>,
    now: SimTime,
    /// Next sequence numbers of SLB and pod.
    next: [u32; 2],
    /// Last segment of each kind, for duplicates.
    sent: BTreeMap<String, (Direction, Packet)>,
}

impl Connection {
    fn new(config: ConntrackConfig) -> Self {
        Self {
            config,
            entry: None,
            now: SimTime::ZERO + SimDuration::from_secs(1000),
            next: [SLB_ISN, POD_ISN],
            sent: BTreeMap::new(),
        }
    }

    /// The segment that a step's name stands for: who sends, then what.
    fn segment_of(&mut self, step: &str) -> (Direction, Packet) {
        let (who, what) = step.split_once(' ').expect("a step names its sender");
        let direction = match who {
            "SLB" => Original,
            "pod" => Reply,
            _ => panic!("unknown sender in {step}"),
        };
        let (flags, payload_len) = match what {
            "SYN" => (Flags::SYN, 0),
            "SYN-ACK" => (Flags::SYN_ACK, 0),
            "ACK" => (Flags::ACK, 0),
            "request" => (Flags::ACK, REQUEST),
            "response" => (Flags::ACK, RESPONSE),
            "FIN" | "FIN+ACK" => (Flags::FIN_ACK, 0),
            "response+FIN" => (Flags::FIN_ACK, RESPONSE),
            "RST" => (Flags::RST, 0),
            _ => panic!("unknown segment in {step}"),
        };
        let me = direction as usize;
        let packet = segment(flags, self.next[me], self.next[1 - me], payload_len);
        // A closed port knows no sequence number and answers a SYN with 0.
        let packet = if flags.rst() && direction == Reply && self.next[1] == POD_ISN {
            segment(Flags::RST_ACK, 0, self.next[0], 0)
        } else {
            packet
        };
        self.next[me] = self.next[me].wrapping_add(packet.sequence_space());
        self.sent.insert(step.to_owned(), (direction, packet));
        (direction, packet)
    }

    fn step(&mut self, step: &str) -> TrackVerdict {
        let (direction, packet) = self.segment_of(step);
        self.now += PAUSE;
        self.arrive(direction, &packet)
    }

    /// Passes a segment as the node does: an expired entry is invisible, and a reopened tuple is looked up again.
    fn arrive(&mut self, direction: Direction, packet: &Packet) -> TrackVerdict {
        self.entry = self.entry.filter(|entry| !entry.is_expired(self.now));
        let Some(entry) = &mut self.entry else {
            self.entry = Tracker::open(&self.config, packet, self.now);
            return if self.entry.is_some() { Accept } else { Invalid };
        };
        let verdict = entry.on_packet(&self.config, direction, packet, self.now);
        if matches!(verdict, Reopen | AcceptAndDelete) {
            self.entry = None;
        }
        if verdict == Reopen {
            self.arrive(direction, packet);
        }
        verdict
    }

    /// Whole seconds left when the listing is read.
    fn left(&self) -> u64 {
        let read_at = self.now + READ_AFTER;
        self.entry
            .map_or(0, |entry| entry.expires.since(read_at).as_secs())
    }

    fn state(&self) -> &'static str {
        self.entry.map_or("-", |entry| entry.state.name())
    }

    fn flag(&self) -> &'static str {
        match self.entry {
            Some(entry) if entry.assured => "ASSURED",
            Some(entry) if !entry.seen_reply => "UNREPLIED",
            _ => "",
        }
    }

    /// The pod closes first; both FINs are acknowledged.
    fn close_in_order(&mut self) {
        for step in [
            "SLB SYN",
            "pod SYN-ACK",
            "SLB ACK",
            "SLB request",
            "pod response",
            "SLB ACK",
            "pod FIN",
            "SLB ACK",
            "SLB FIN",
            "pod ACK",
        ] {
            assert_eq!(self.step(step), Accept, "{step}");
        }
        assert_eq!(self.state(), "TIME_WAIT");
    }
}

/// The emulated kernels were read up to two seconds late.
fn within_two_seconds(measured: &str, got: u64) -> bool {
    let measured: u64 = measured.parse().expect("whole seconds");
    measured.abs_diff(got) <= 2
}

/// What a duplicate in TIME_WAIT is: the segment that its sender had sent before.
fn late_segment(case: &str, connection: &Connection) -> (Direction, Packet) {
    let sent = |step: &str| connection.sent[step];
    match case {
        "tw_refresh_dup_slb_fin" => sent("SLB FIN"),
        "tw_refresh_dup_slb_ack" => sent("SLB ACK"),
        "tw_refresh_dup_pod_fin" => sent("pod FIN"),
        "tw_refresh_dup_pod_ack" => sent("pod ACK"),
        "tw_refresh_new_syn_same_tuple_seq_after" => {
            let seq = connection.next[0].wrapping_add(100_000);
            (Original, segment(Flags::SYN, seq, 0, 0))
        }
        "tw_refresh_new_syn_same_tuple_seq_before" => {
            let seq = connection.next[0].wrapping_sub(100_000);
            (Original, segment(Flags::SYN, seq, 0, 0))
        }
        _ => panic!("unknown case {case}"),
    }
}

#[test]
fn states_timeouts_and_flags_after_every_segment_are_the_measured_ones() {
    for (path, config) in [
        ("D/d_states_timeouts.csv", kernel("6.18")),
        ("4.19/D/d_states_timeouts.csv", kernel("4.19")),
    ] {
        let mut cases: BTreeMap<String, Connection> = BTreeMap::new();
        let rows = read(path);
        for row in &rows {
            let (case, step) = (&row["case"], &row["step"]);
            let connection = cases
                .entry(case.clone())
                .or_insert_with(|| Connection::new(config));
            let verdict = if let Some(before) = step.strip_prefix("before: TIME_WAIT ") {
                assert_eq!(connection.state(), "TIME_WAIT", "{path}: {case}");
                let left: u64 = before.parse().expect("whole seconds");
                connection.now += SimDuration::from_secs(connection.left().saturating_sub(left));
                let (direction, packet) = late_segment(case, connection);
                connection.arrive(direction, &packet)
            } else {
                connection.step(step)
            };
            let at = format!("{path}: {case}: {step}");
            // Every segment was forwarded, and none of them untranslated.
            assert!(row["packet_result"].starts_with("forwarded"), "{at}");
            assert_ne!(verdict, Invalid, "{at}");
            let replaced = row["packet_result"].contains("new=");
            assert_eq!(verdict == Reopen, replaced, "{at}");
            let got = (connection.state(), connection.flag());
            assert_eq!(got, (row["state"].as_str(), row["flag"].as_str()), "{at}");
            let left = connection.left();
            assert!(
                within_two_seconds(&row["timeout_left_s"], left),
                "{at}: {left} s left"
            );
        }
        assert_eq!((rows.len(), cases.len()), (176, 22), "{path}");
    }
}

#[test]
fn entries_vanish_when_the_tracker_says_so() {
    // The poll began late: the entry that was gone at once bounds from below when the earlier cases were first seen.
    const GONE_AT_ONCE: &str = "syn_then_pod_rst(closed port)";
    for path in ["D/d_vanish.csv", "4.19/D/d_vanish.csv"] {
        let rows = read(path);
        let first_poll = rows
            .iter()
            .find(|row| row["case"] == GONE_AT_ONCE)
            .expect("the row");
        let first_poll: f64 = first_poll["vanished_after_s"].parse().expect("seconds");
        let mut judged = 0;
        for row in rows.iter().filter(|row| row["case"] != GONE_AT_ONCE) {
            let state = State::ALL
                .into_iter()
                .find(|state| state.name() == row["last_state"]);
            let life = Timeouts::KERNEL.of(state.expect("a state")).as_secs_f64();
            let measured: f64 = row["vanished_after_s"].parse().expect("seconds");
            if life > first_poll {
                judged += 1;
                assert!((measured - life).abs() <= 1.5, "{path}: {row:?}");
            } else {
                assert!(measured >= life, "{path}: {row:?}");
            }
        }
        assert!(judged >= 8, "{path}: {judged} rows judged");
    }
}

#[test]
fn the_default_timeouts_are_those_of_the_measured_kernels() {
    for path in ["D/d_sysctls.txt", "4.19/D/d_sysctls.txt"] {
        let full = format!("{}/tests/lab/{path}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(full).expect("the file is there");
        let sysctl = |name: &str| {
            let line = text.lines().find_map(|line| {
                let (key, value) = line.split_once(" = ")?;
                (key.strip_prefix("net.netfilter.nf_conntrack_tcp_")? == name).then_some(value)
            });
            line.unwrap_or_else(|| panic!("{path}: {name}"))
                .parse::<u64>()
                .expect("a number")
        };
        let defaults = Timeouts::KERNEL;
        for state in State::ALL {
            // SYN_SENT2 has no sysctl.
            if !matches!(state, State::None | State::SynSent2) {
                let name = format!("timeout_{}", state.name().to_lowercase());
                assert_eq!(sysctl(&name), defaults.of(state).as_secs(), "{path}: {name}");
            }
        }
        assert_eq!(sysctl("timeout_max_retrans"), defaults.max_retrans.as_secs());
        assert_eq!(
            sysctl("timeout_unacknowledged"),
            defaults.unacknowledged.as_secs()
        );
        assert_eq!(sysctl("max_retrans"), u64::from(kernel("6.18").max_retrans));
        assert_eq!(sysctl("loose"), u64::from(kernel("6.18").loose));
    }
}

/// `STATE/seconds`, with `/UNREPLIED` where no reply was seen.
#[track_caller]
fn assert_listed(connection: &Connection, listed: &str, at: &str) {
    let mut parts = listed.split('/');
    let state = parts.next().expect("a state");
    let left = parts.next().expect("seconds");
    assert_eq!(connection.state(), state, "{at}");
    let got = connection.left();
    assert!(within_two_seconds(left, got), "{at}: {got} s left of {listed}");
    if parts.next() == Some("UNREPLIED") {
        assert_eq!(connection.flag(), "UNREPLIED", "{at}");
    }
}

/// A SYN meets the pod's TIME_WAIT on a forced port: accepted, or refused with a bare ACK that the caller answers with
/// an RST, and then repeats.
#[test]
fn a_refused_syn_its_bare_ack_and_the_rst_pass_the_node_as_measured() {
    for (path, config, judged) in [
        ("A/a2_through_node.csv", kernel("6.18"), 222),
        ("4.19/A/a2_through_node.csv", kernel("4.19"), 20),
        ("5.10/A/a2_through_node.csv", kernel("5.10"), 20),
    ] {
        let rows = read(path);
        let rows: Vec<_> = rows.iter().filter(|row| row["error"].is_empty()).collect();
        assert_eq!(rows.len(), judged, "{path}");
        for row in rows {
            let at = format!("{path}: {row:?}");
            let config = ConntrackConfig {
                be_liberal: row["be_liberal"] == "1",
                ..config
            };
            let (rcv_nxt, snd_nxt) = (0x1234_5678_u32, POD_ISN);
            let offset: i32 = row["seq_off"].parse().expect("an offset");
            let syn = segment(Flags::SYN, rcv_nxt.wrapping_add_signed(offset), 0, 0);
            let syn_ack = segment(Flags::SYN_ACK, snd_nxt.wrapping_add(65_537), syn.end_seq().0, 0);

            let mut node = Connection::new(config);
            assert_eq!(node.arrive(Original, &syn), Accept, "{at}");
            if row["slb_saw"] == "SYNACK" {
                assert_eq!(node.arrive(Reply, &syn_ack), Accept, "{at}");
                assert_listed(&node, &row["ct_after_syn"], &at);
                continue;
            }
            assert_eq!(row["slb_saw"], "ACK", "{at}");
            let bare_ack = segment(Flags::ACK, snd_nxt, rcv_nxt, 0);
            assert_eq!(node.arrive(Reply, &bare_ack), Ignore, "{at}");
            assert_listed(&node, &row["ct_after_syn"], &at);
            assert_eq!(node.flag(), "", "{at}");

            let rst = segment(Flags::RST, rcv_nxt, 0, 0);
            let passed = node.arrive(Original, &rst) == Accept;
            assert_eq!(passed, row["rst_reached_pod"] == "1", "{at}");
            assert_listed(&node, &row["ct_after_rst"], &at);

            assert_eq!(node.arrive(Original, &syn), Reopen, "{at}");
            if row["syn_retrans_slb_saw"] == "SYNACK" {
                assert_eq!(node.arrive(Reply, &syn_ack), Accept, "{at}");
            }
            assert_listed(&node, &row["ct_after_retrans"], &at);
        }
    }
}

#[test]
fn conntrack_beside_ipvs_shows_the_measured_states() {
    for path in [
        "4.19/ipvs/ipvs_states_4.19.108.csv",
        "ipvs/ipvs_states_5.10.0-32-amd64.csv",
    ] {
        let mut cases: BTreeMap<String, Connection> = BTreeMap::new();
        let rows = read(path);
        for row in &rows {
            let (case, step) = (&row["case"], &row["step"]);
            let at = format!("{path}: {case}: {step}");
            let connection = cases
                .entry(case.clone())
                .or_insert_with(|| Connection::new(kernel("4.19")));
            // The refused SYN: the pod remembers another connection, whose end lies beyond the SYN.
            let old_rcv_nxt = SLB_ISN.wrapping_add(1000);
            let (verdict, want) = match (case.as_str(), step.as_str()) {
                ("syn_bare_ack_rst(refused SYN)", "pod bare ACK") => {
                    let bare_ack = segment(Flags::ACK, POD_ISN, old_rcv_nxt, 0);
                    (connection.arrive(Reply, &bare_ack), Ignore)
                }
                ("syn_bare_ack_rst(refused SYN)", "SLB RST") => {
                    let rst = segment(Flags::RST, old_rcv_nxt, 0, 0);
                    (connection.arrive(Original, &rst), Accept)
                }
                _ => (connection.step(step), Accept),
            };
            assert_eq!(verdict, want, "{at}");
            assert_ne!(row["packet"], "", "{at}");
            assert_listed(connection, &row["conntrack_state_timeout"], &at);
        }
        assert_eq!((rows.len(), cases.len()), (65, 10), "{path}");
    }
}

/// An RST of the SLB after an orderly close, by its distance from what the pod expects.
#[test]
fn a_stray_rst_closes_the_entry_or_is_invalid_as_measured() {
    for (path, config, judged) in [
        ("4.19/ipvs/ipvs_stray_rst_4.19.108.csv", kernel("4.19"), 44),
        ("6.18/rst/ipvs_stray_rst_6.18.44-fc-v669.csv", kernel("6.18"), 22),
    ] {
        let rows = read(path);
        assert_eq!(rows.len(), judged, "{path}");
        for row in &rows {
            let at = format!("{path}: {row:?}");
            let mut node = Connection::new(ConntrackConfig {
                be_liberal: row["be_liberal"] == "1",
                ..config
            });
            node.close_in_order();
            let flags = match row["rst"].as_str() {
                "none" => None,
                "R" => Some(Flags::RST),
                "RA" => Some(Flags::RST_ACK),
                other => panic!("unknown RST {other}"),
            };
            if let Some(flags) = flags {
                let offset: i32 = row["rst_seq_minus_rcv_nxt"].parse().expect("an offset");
                let rst = segment(flags, node.next[0].wrapping_add_signed(offset), node.next[1], 0);
                let verdict = node.arrive(Original, &rst);
                // Only what belongs to the entry is translated.
                let want = if row["rst_was_snated"] == "1" {
                    Accept
                } else {
                    Invalid
                };
                assert_eq!(verdict, want, "{at}");
            }
            assert_listed(&node, &row["conntrack_after"], &at);
        }
    }
}
