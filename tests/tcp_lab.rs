//! The TCP model beside measured kernels: every row of the laboratory's groups A, P and S that is about TCP alone.
//!
//! A: what a pod's TIME_WAIT, FIN_WAIT2 or ESTABLISHED does with a segment. P: source ports of connect(). S: when a
//! caller repeats its SYN. `docs/models/` says how many rows agree.

mod common;
#[path = "tcp_lab/ports.rs"]
mod ports;
#[path = "tcp_lab/syn_retry.rs"]
mod syn_retry;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use common::{Row, lab_rows, lab_text};
use fivetuple::engine::{KernelTimers, mix64};
use fivetuple::model::tcp::{
    End, Gate, Host, HostClock, Socket, SocketOptions, Substate, TcpConfig, TimeWait, TimestampMode,
    TsRecent, Verdict,
};
use fivetuple::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use fivetuple::wire::{Flags, Options, Packet, Timestamps};

const CALLER: Endpoint = Endpoint::new(Ipv4Addr::new(10, 10, 0, 1), 40000);
const POD: Endpoint = Endpoint::new(Ipv4Addr::new(10, 20, 0, 2), 8080);
const RCV_NXT: SeqNum = SeqNum(3_000_000_000);
const SND_NXT: SeqNum = SeqNum(4_294_900_000);
const TS_RECENT: u32 = 2_147_000_000;

/// TCP as the profile of a kernel has it: what users get is what is judged.
fn kernel(name: &str) -> TcpConfig {
    fivetuple::profile::find(name)
        .unwrap_or_else(|| panic!("no profile {name}"))
        .tcp
}

fn clock(secret: u64) -> HostClock {
    HostClock {
        isn_secret: mix64(secret),
        ts_secret: mix64(secret ^ 1),
        uptime: SimDuration::from_secs(86_400),
        wall_ticks: 12_345,
    }
}

fn timers(phase_nanos: u64) -> KernelTimers {
    KernelTimers {
        hz: 250,
        phase: SimDuration::from_nanos(phase_nanos),
    }
}

fn ms(millis: u64) -> SimTime {
    SimTime::ZERO + SimDuration::from_millis(millis)
}

fn after(secs: f64) -> SimTime {
    SimTime::ZERO + SimDuration::from_secs_f64(secs)
}

/// A segment from the caller to the pod.
fn segment(flags: Flags, seq: SeqNum, ack: SeqNum, tsval: Option<u32>) -> Packet {
    Packet {
        tuple: FourTuple::new(CALLER, POD),
        seq,
        ack,
        payload_len: 0,
        window: 64240,
        timestamps: tsval.map(|val| Timestamps { val, ecr: 0 }),
        flags,
        options: Options::NONE,
        tag: 0,
    }
}

/// What holds the tuple at the pod.
enum Holder {
    Nothing,
    Socket(Socket),
    TimeWait(TimeWait),
}

/// A pod with a listener and one tuple, as the laboratory's TUN device saw it.
struct Pod {
    config: TcpConfig,
    timers: KernelTimers,
    clock: HostClock,
    holder: Holder,
    /// Whether the last segment restarted the timer of a timewait socket.
    restarted: bool,
}

impl Pod {
    fn new(config: TcpConfig, holder: Holder) -> Self {
        Self {
            config,
            timers: timers(0),
            clock: clock(7),
            holder,
            restarted: false,
        }
    }

    /// A TIME_WAIT that recorded `TS_RECENT`, or no timestamp, at time zero.
    fn in_time_wait(config: TcpConfig, has_ts: bool) -> Self {
        let ts_recent = has_ts.then_some(TsRecent {
            val: TS_RECENT,
            at: SimTime::ZERO,
        });
        let tw = TimeWait {
            substate: Substate::TimeWait,
            rcv_nxt: RCV_NXT,
            snd_nxt: SND_NXT,
            rcv_wnd: 65160,
            ts_recent,
            ts_offset: 0,
            last_oow_ack: None,
        };
        Self::new(config, Holder::TimeWait(tw))
    }

    /// Takes a segment and returns what the pod sends: at most one segment in all these cases.
    fn deliver(&mut self, seg: &Packet, now: SimTime) -> Option<Packet> {
        let host = Host {
            config: &self.config,
            timers: &self.timers,
            clock: &self.clock,
        };
        let tuple = seg.tuple.reversed();
        self.restarted = false;
        match &mut self.holder {
            Holder::Nothing => self.listen(seg, None, now),
            Holder::Socket(socket) => {
                let reaction = socket.on_segment(seg, Some(Gate::default()), &host, now);
                let sent = reaction.reply.or_else(|| socket.next_segment(tuple, &host, now));
                match reaction.end {
                    Some(End::Closed) => self.holder = Holder::Nothing,
                    Some(End::TimeWait(tw, _)) => self.holder = Holder::TimeWait(tw),
                    None => {}
                }
                sent
            }
            Holder::TimeWait(tw) => {
                let verdict = tw.on_segment(seg, &self.config, now);
                tw.apply(verdict, seg, now);
                match verdict {
                    Verdict::Swallow { restart } => {
                        self.restarted = restart;
                        None
                    }
                    Verdict::Kill => {
                        self.holder = Holder::Nothing;
                        None
                    }
                    Verdict::AcceptSyn(_) => {
                        let isn = tw.recycled_isn(&self.config);
                        self.listen(seg, isn, now)
                    }
                    Verdict::Ack { restart, .. } => {
                        self.restarted = restart;
                        let ack = Packet {
                            tuple,
                            payload_len: 0,
                            timestamps: None,
                            ..segment(Flags::ACK, tw.snd_nxt, tw.rcv_nxt, None)
                        };
                        tw.may_ack(seg, &self.config, now).then_some(ack)
                    }
                    Verdict::Reset => {
                        self.holder = Holder::Nothing;
                        seg.reset()
                    }
                    Verdict::EnterTimeWait => None,
                }
            }
        }
    }

    fn listen(&mut self, seg: &Packet, isn: Option<SeqNum>, now: SimTime) -> Option<Packet> {
        if seg.flags != Flags::SYN {
            return seg.reset();
        }
        let host = Host {
            config: &self.config,
            timers: &self.timers,
            clock: &self.clock,
        };
        let tuple = seg.tuple.reversed();
        let mut socket = Socket::accept(seg, tuple, isn, &SocketOptions::NONE, &host, now);
        let syn_ack = socket.next_segment(tuple, &host, now);
        self.holder = Holder::Socket(socket);
        syn_ack
    }

    fn is_free(&self) -> bool {
        matches!(self.holder, Holder::Nothing)
    }
}

/// The laboratory's word for an answer.
fn answer(sent: Option<&Packet>) -> &'static str {
    match sent.map(|packet| packet.flags) {
        None => "none",
        Some(Flags::SYN_ACK) => "SYNACK",
        Some(Flags::ACK) => "ACK",
        Some(flags) if flags.rst() => "RST",
        Some(_) => "other",
    }
}

fn delta(row: &Row, column: &str) -> Option<u32> {
    (row.get(column) != "absent").then(|| TS_RECENT.wrapping_add(row.int(column) as u32))
}

// ---- A: TIME_WAIT ----

/// What the model says in every column of one row of the matrix.
fn matrix_row(row: &Row, config: TcpConfig) -> BTreeMap<&'static str, String> {
    let config = TcpConfig {
        rfc1337: row.flag("rfc1337"),
        ..config
    };
    let mut pod = Pod::in_time_wait(config, row.flag("tw_has_ts"));
    let now = after(row.float("age_s"));
    let seq = SeqNum(RCV_NXT.0.wrapping_add(row.int("seq_off") as u32));
    let syn = segment(Flags::SYN, seq, SeqNum(0), delta(row, "syn_ts_delta"));
    let first = pod.deliver(&syn, now);
    let mut said = BTreeMap::from([("answer", answer(first.as_ref()).to_owned())]);
    let Some(first) = first else { return said };
    said.insert(
        "seq_minus_tw_snd_nxt",
        first.seq.distance_from(SND_NXT).to_string(),
    );
    said.insert(
        "ack_minus_tw_rcv_nxt",
        first.ack.distance_from(RCV_NXT).to_string(),
    );
    said.insert("ack_minus_synseq", first.ack.distance_from(seq).to_string());
    if first.flags == Flags::SYN_ACK {
        return said;
    }
    if row.opt("repeat_syn_at_once").is_some() {
        let again = pod.deliver(&syn, now + SimDuration::from_millis(1));
        said.insert("repeat_syn_at_once", answer(again.as_ref()).to_owned());
    }
    let rst = segment(Flags::RST, first.ack, SeqNum(0), None);
    assert_eq!(
        pod.deliver(&rst, now + SimDuration::from_millis(2)),
        None,
        "{}: an RST is never answered",
        row.at
    );
    // The laboratory's last SYN has a timestamp a little later than the refused one: by more than 1, by less than 1000.
    let later = syn.timestamps.map(|ts| ts.val.wrapping_add(50));
    let last = pod.deliver(
        &segment(Flags::SYN, seq, SeqNum(0), later),
        now + SimDuration::from_millis(3),
    );
    said.insert("syn_after_rst", answer(last.as_ref()).to_owned());
    if let Some(last) = last {
        said.insert(
            "syn_after_rst_seq_minus_tw_snd_nxt",
            last.seq.distance_from(SND_NXT).to_string(),
        );
    }
    said
}

/// Rows that agree, and rows left out: those with an error, and the answers that the laboratory missed.
fn judge_matrix(file: &str, config: TcpConfig) -> (usize, usize) {
    let (mut agree, mut skipped) = (0, 0);
    for row in lab_rows(file) {
        if row.opt("error").is_some() || row.get("answer") == "none" {
            skipped += 1;
            continue;
        }
        let said = matrix_row(&row, config);
        for (column, value) in &said {
            let measured = row.opt(column).unwrap_or("");
            if column.ends_with("seq_minus_tw_snd_nxt") && said["answer"] == "SYNACK" || measured == "65537" {
                // An ordinary ISN comes from a clock and a secret: all one can say is that it is not the recycled one.
                assert_eq!(measured == "65537", value == "65537", "{}: {column}", row.at);
            } else if *column != "syn_after_rst_seq_minus_tw_snd_nxt" {
                assert_eq!(measured, value, "{}: {column}", row.at);
            }
        }
        agree += 1;
    }
    (agree, skipped)
}

#[test]
fn time_wait_answers_every_syn_as_measured() {
    for (name, file, expected) in [
        ("6.18", "A/a1_direct_matrix.csv", (2160, 0)),
        ("4.19", "4.19/A/a1_direct_matrix.csv", (2160, 0)),
        ("5.10", "5.10/A/a1_direct_matrix.csv", (717, 3)),
    ] {
        assert_eq!(judge_matrix(file, kernel(name)), expected, "{name}");
    }
}

#[test]
fn only_an_exact_rst_kills_time_wait_and_rfc1337_forbids_it() {
    for (name, file) in [
        ("6.18", "A/a1_rst_kill.csv"),
        ("4.19", "4.19/A/a1_rst_kill.csv"),
        ("5.10", "5.10/A/a1_rst_kill.csv"),
    ] {
        let rows = lab_rows(file);
        assert_eq!(rows.len(), 180, "{name}");
        for row in rows {
            let config = TcpConfig {
                rfc1337: row.flag("rfc1337"),
                ..kernel(name)
            };
            let mut pod = Pod::in_time_wait(config, row.flag("tw_has_ts"));
            let seq = SeqNum(RCV_NXT.0.wrapping_add(row.int("rst_seq_off") as u32));
            let rst = segment(Flags::RST, seq, SeqNum(0), delta(&row, "rst_ts_delta"));
            let said = pod.deliver(&rst, ms(1_000));
            assert_eq!(answer(said.as_ref()), row.get("answer_to_rst"), "{}", row.at);
            assert_eq!(pod.is_free(), row.flag("killed"), "{}", row.at);
            // A SYN that a surviving TIME_WAIT refuses: old sequence number, no timestamp.
            let syn = segment(Flags::SYN, RCV_NXT - 1, SeqNum(0), None);
            let said = pod.deliver(&syn, ms(2_000));
            assert_eq!(
                answer(said.as_ref()),
                row.get("later_refusable_syn_answer"),
                "{}",
                row.at
            );
        }
    }
}

#[test]
fn refused_syns_are_answered_once_in_500_ms() {
    for (name, file) in [
        ("6.18", "A/a1_ack_ratelimit.csv"),
        ("4.19", "4.19/A/a1_ack_ratelimit.csv"),
        ("5.10", "5.10/A/a1_ack_ratelimit.csv"),
    ] {
        let rows = lab_rows(file);
        assert_eq!(rows.len(), 40, "{name}");
        for row in rows {
            let mut pod = Pod::in_time_wait(kernel(name), false);
            let syn = segment(Flags::SYN, RCV_NXT - 1, SeqNum(0), None);
            assert_eq!(
                answer(pod.deliver(&syn, ms(100)).as_ref()),
                row.get("first"),
                "{}",
                row.at
            );
            let second = ms(100) + SimDuration::from_secs_f64(row.float("gap_s"));
            assert_eq!(
                answer(pod.deliver(&syn, second).as_ref()),
                row.get("second"),
                "{}",
                row.at
            );
        }
    }
}

/// A pod's connection that the caller opened at time zero, without timestamps.
fn established(name: &str) -> (Pod, SeqNum, SeqNum) {
    let mut pod = Pod::new(kernel(name), Holder::Nothing);
    let syn_ack = pod
        .deliver(&segment(Flags::SYN, RCV_NXT - 1, SeqNum(0), None), ms(0))
        .expect("a SYN-ACK");
    assert_eq!(
        pod.deliver(&segment(Flags::ACK, RCV_NXT, syn_ack.seq + 1, None), ms(1)),
        None
    );
    (pod, RCV_NXT, syn_ack.seq + 1)
}

/// The same after the pod's application has closed and the caller has acknowledged the FIN.
fn orphan(name: &str) -> (Pod, SeqNum, SeqNum) {
    let (mut pod, rcv_nxt, snd_nxt) = established(name);
    let Holder::Socket(socket) = &mut pod.holder else {
        unreachable!("just established")
    };
    let host = Host {
        config: &pod.config,
        timers: &pod.timers,
        clock: &pod.clock,
    };
    let closing = socket.close(FourTuple::new(POD, CALLER), &host, ms(2));
    assert_eq!(closing.end, None);
    let fin = socket
        .next_segment(FourTuple::new(POD, CALLER), &host, ms(2))
        .expect("a FIN");
    assert_eq!((fin.flags, fin.seq), (Flags::FIN_ACK, snd_nxt));
    assert_eq!(
        pod.deliver(&segment(Flags::ACK, rcv_nxt, snd_nxt + 1, None), ms(3)),
        None
    );
    let Holder::TimeWait(tw) = &pod.holder else {
        panic!("an orphan's FIN_WAIT2 is a timewait socket")
    };
    assert_eq!(tw.substate, Substate::FinWait2);
    (pod, rcv_nxt, snd_nxt + 1)
}

#[test]
fn established_and_fin_wait2_answer_a_syn_as_measured() {
    for (name, file) in [
        ("6.18", "A/a1_other_pod_states.csv"),
        ("4.19", "4.19/A/a1_other_pod_states.csv"),
        ("5.10", "5.10/A/a1_other_pod_states.csv"),
    ] {
        let rows = lab_rows(file);
        assert_eq!(rows.len(), 42, "{name}");
        for row in rows {
            let is_established = row.get("state") == "ESTABLISHED";
            let (mut pod, rcv_nxt, snd_nxt) = if is_established {
                established(name)
            } else {
                orphan(name)
            };
            let seq = SeqNum(rcv_nxt.0.wrapping_add(row.int("seq_off") as u32));
            let syn = segment(Flags::SYN, seq, SeqNum(0), None);
            let said = pod.deliver(&syn, ms(1_000)).expect("an answer");
            assert_eq!(answer(Some(&said)), row.get("answer"), "{}", row.at);
            let ack = i64::from(said.ack.distance_from(rcv_nxt));
            assert_eq!(ack, row.int("ack_minus_rcv_nxt"), "{}", row.at);
            if said.flags.rst() {
                // Measured: sequence number 0, so any distance; and the FIN_WAIT2 is gone.
                assert!(said.seq == SeqNum(0) && pod.is_free(), "{}", row.at);
                continue;
            }
            let seq_off = i64::from(said.seq.distance_from(snd_nxt));
            assert_eq!(seq_off, row.int("seq_minus_snd_nxt"), "{}", row.at);
            assert_eq!(
                pod.deliver(&segment(Flags::RST, said.ack, SeqNum(0), None), ms(1_001)),
                None
            );
            let last = pod.deliver(&syn, ms(1_002));
            assert_eq!(answer(last.as_ref()), row.get("syn_after_rst"), "{}", row.at);
        }
    }
}

/// How many of 5 TIME_WAIT sockets were alive at t seconds, per stimulus at 40 s.
#[derive(serde::Deserialize)]
struct TimerRestart {
    alive: BTreeMap<String, BTreeMap<u64, usize>>,
}

/// Whether the stimulus restarts the timer, as the model decides.
fn restarts(stimulus: &str, name: &str) -> bool {
    let has_ts = stimulus == "paws_refused";
    let mut pod = Pod::in_time_wait(kernel(name), has_ts);
    let seg = match stimulus {
        "none" => return false,
        "seq_refused_no_ts" => segment(Flags::SYN, RCV_NXT - 100, SeqNum(0), None),
        "paws_refused" => segment(Flags::SYN, RCV_NXT + 100, SeqNum(0), Some(TS_RECENT - 1000)),
        "exact_ack" => segment(Flags::ACK, RCV_NXT, SND_NXT, None),
        "dup_fin" => segment(Flags::FIN_ACK, RCV_NXT - 1, SND_NXT, None),
        other => panic!("unknown stimulus {other}"),
    };
    pod.deliver(&seg, ms(40_000));
    assert!(!pod.is_free());
    pod.restarted
}

#[test]
fn time_wait_lives_as_long_as_measured_in_some_phase_of_the_wheel() {
    for (name, file) in [
        ("6.18", "A/a1_tw_timer_restart.json"),
        ("4.19", "4.19/A/a1_tw_timer_restart.json"),
    ] {
        let measured: TimerRestart = serde_json::from_str(&lab_text(file)).expect("as documented");
        assert_eq!(measured.alive.len(), 5);
        for (stimulus, alive) in &measured.alive {
            let restart = restarts(stimulus, name);
            // Five sockets were made one after the other and counted a little after the whole second: on the emulated
            // kernel by up to 0.2 s. One batch shares the wheel.
            let explains = |phase_ms: u64, gap_ms: u64, lag_ms: u64| {
                let wheel = timers(phase_ms * 1_000_000);
                let armed = |i: u64| {
                    if restart {
                        ms(40_000 + i * gap_ms)
                    } else {
                        ms(i * gap_ms)
                    }
                };
                let ends = [0, 1, 2, 3, 4].map(|i| wheel.expiry(armed(i), SimDuration::from_secs(60)));
                let count = |t: u64| ends.iter().filter(|&&end| end > ms(t * 1_000 + lag_ms)).count();
                alive.iter().all(|(&t, &n)| count(t) == n)
            };
            let found = (0..2048).step_by(4).any(|phase| {
                [0, 5, 20, 50]
                    .iter()
                    .any(|&gap| [0, 50, 100, 200].iter().any(|&lag| explains(phase, gap, lag)))
            });
            assert!(found, "{name}, {stimulus}: no phase of the wheel explains it");
        }
    }
}

/// `[source address, source port, tsval, seconds]` of each SYN.
type Offsets = BTreeMap<String, Vec<(Ipv4Addr, u16, u32, f64)>>;

/// By address: the largest distance between two offsets, in milliseconds.
fn spread(offsets: &[(Ipv4Addr, u32)]) -> BTreeMap<Ipv4Addr, u32> {
    let mut widest = BTreeMap::new();
    for &(ip, a) in offsets {
        for &(_, b) in offsets.iter().filter(|other| other.0 == ip) {
            let distance = a.wrapping_sub(b).cast_signed().unsigned_abs();
            let entry = widest.entry(ip).or_insert(0);
            *entry = distance.max(*entry);
        }
    }
    widest
}

#[test]
fn timestamp_offsets_are_constant_per_address_pair_or_differ_per_port_as_measured() {
    for (name, file) in [
        ("6.18", "A/a0_tsval_offsets_6.18.json"),
        ("4.19", "4.19/A/a0_tsval_offsets_4.19.108.json"),
        ("5.10", "5.10/A/a0_tsval_offsets_5.10.0-32-amd64.json"),
    ] {
        let measured: Offsets = serde_json::from_str(&lab_text(file)).expect("as documented");
        for (mode, timestamps) in [
            ("tcp_timestamps=1", TimestampMode::RandomOffset),
            ("tcp_timestamps=2", TimestampMode::NoOffset),
        ] {
            let config = TcpConfig {
                timestamps,
                ..kernel(name)
            };
            let syns = &measured[mode];
            assert_eq!(syns.len(), 24);
            let seen: Vec<_> = syns
                .iter()
                .map(|&(ip, _, val, at)| (ip, val.wrapping_sub((at * 1e3) as u64 as u32)))
                .collect();
            let modelled: Vec<_> = syns
                .iter()
                .map(|&(ip, port, ..)| {
                    let tuple = FourTuple::new(Endpoint::new(ip, port), POD);
                    (ip, clock(3).timestamp_offset(tuple, &config))
                })
                .collect();
            let per_port = name == "6.18" && timestamps == TimestampMode::RandomOffset;
            for (ip, measured) in spread(&seen) {
                let modelled = spread(&modelled)[&ip];
                // The clock of the captures is good to some tens of milliseconds on emulated CPUs.
                assert_eq!(
                    measured > 100,
                    per_port,
                    "{name} {mode} {ip}: measured spread {measured}"
                );
                assert_eq!(
                    modelled > 0,
                    per_port,
                    "{name} {mode} {ip}: modelled spread {modelled}"
                );
            }
        }
    }
}
