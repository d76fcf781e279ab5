//! A whole stack against a peer of which every segment is written by hand: tables of facts, one rule each.

use std::net::Ipv4Addr;

mod states;

use super::{Concerned, ListedState, ListenOptions, ListenerId, Owner, Stack};
use crate::engine::Handle;
use crate::model::tcp::socket::{How, Read, SocketError, SocketOptions, State};
use crate::model::tcp::testing::config;
use crate::model::tcp::{SegmentRules, SynCookies, TcpConfig};
use crate::units::{Endpoint, FourTuple, SeqNum, SimDuration, SimTime};
use crate::wire::{Flags, Options, Packet, Timestamps};

const PEER: Endpoint = Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), 40_000);
const HOST: Endpoint = Endpoint::new(Ipv4Addr::new(192, 0, 2, 2), 8080);
/// The peer's initial sequence number.
const IRS: SeqNum = SeqNum(5_000);

/// A stack with one listener, and what the peer knows.
struct Bench {
    stack: Stack<()>,
    now: SimTime,
    listener: ListenerId,
    /// Both sides have timestamps.
    timestamps: bool,
    /// The stack's initial sequence number.
    iss: SeqNum,
    handle: Handle,
}

impl Bench {
    fn new(config: TcpConfig) -> Self {
        Self::with(
            config,
            ListenOptions {
                backlog: 8,
                ..ListenOptions::default()
            },
        )
    }

    fn with(config: TcpConfig, options: ListenOptions) -> Self {
        let mut stack = Stack::new(config, 7);
        let listener = stack.listen(HOST, options, ());
        Self {
            stack,
            now: SimTime::ZERO + SimDuration::from_secs(1),
            listener,
            timestamps: false,
            iss: SeqNum(0),
            handle: Handle::NONE,
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now += SimDuration::from_millis(millis);
    }

    /// A segment of the peer: numbers relative to both initial ones.
    fn segment(&self, flags: Flags, seq: i64, len: u32, ack: i64) -> Packet {
        let at = |start: SeqNum, offset: i64| SeqNum(start.0.wrapping_add(offset as u32));
        let syn = flags.syn() && !flags.ack();
        Packet {
            tuple: FourTuple::new(PEER, HOST),
            seq: at(IRS, seq),
            ack: if flags.ack() { at(self.iss, ack) } else { SeqNum(0) },
            payload_len: len,
            window: 20_000,
            timestamps: self.timestamps.then_some(Timestamps { val: 500, ecr: 0 }),
            flags,
            options: Options {
                mss: if syn { 1460 } else { 0 },
                ..Options::NONE
            },
            tag: 0,
        }
    }

    /// Delivers a segment; what the stack sends.
    fn deliver(&mut self, packet: &Packet) -> Vec<Packet> {
        let outcome = self.stack.on_packet(packet, self.now);
        let mut sent: Vec<_> = outcome.reaction.reply.into_iter().collect();
        if let Concerned::Socket(handle) = outcome.to {
            sent.extend(self.drain(handle));
        }
        sent
    }

    fn send(&mut self, flags: Flags, seq: i64, len: u32, ack: i64) -> Vec<Packet> {
        self.deliver(&self.segment(flags, seq, len, ack))
    }

    fn drain(&mut self, handle: Handle) -> Vec<Packet> {
        std::iter::from_fn(|| self.stack.next_segment(handle, self.now)).collect()
    }

    /// Lets every timer up to `millis` from now fire; what the stack sends.
    fn run(&mut self, millis: u64) -> Vec<(SimTime, Packet)> {
        let end = self.now + SimDuration::from_millis(millis);
        let mut sent = Vec::new();
        while let Some((at, owner)) = self.stack.next_timer().filter(|(at, _)| *at <= end) {
            self.now = at;
            match owner {
                Owner::Socket(handle) => {
                    let reply = self.stack.on_timer(handle, at).reaction.reply;
                    sent.extend(
                        reply
                            .into_iter()
                            .chain(self.drain(handle))
                            .map(|packet| (at, packet)),
                    );
                }
                Owner::TimeWait(_) => self.stack.advance(at),
            }
        }
        self.now = end;
        sent
    }

    /// The peer's SYN; the stack's SYN-ACK is noted.
    fn request(&mut self) {
        let sent = self.send(Flags::SYN, 0, 0, 0);
        assert_eq!(labels(&sent), ["SA"]);
        self.iss = sent[0].seq;
    }

    /// An open connection that was accepted.
    fn open(&mut self) {
        self.request();
        assert_eq!(self.send(Flags::ACK, 1, 0, 1), []);
        self.handle = self.stack.accept(self.listener).expect("established");
    }

    /// An accepted connection in that state, reached by shutdown() so that the application still holds it. Returns
    /// what the peer would say next: its sequence number and its acknowledgment.
    fn bring_to(&mut self, state: State) -> (i64, i64) {
        self.open();
        let (mut seq, mut ack) = (1, 1);
        if matches!(state, State::CloseWait | State::LastAck) {
            self.send(Flags::FIN_ACK, 1, 0, 1);
            seq = 2;
        }
        if !matches!(state, State::Established | State::CloseWait) {
            self.stack
                .shutdown(self.handle, How::Write, self.now)
                .expect("open");
            assert_eq!(labels(&self.drain(self.handle)), ["FA"]);
        }
        if state == State::FinWait2 {
            self.send(Flags::ACK, 1, 0, 2);
            ack = 2;
        } else if state == State::Closing {
            assert_eq!(labels(&self.send(Flags::FIN_ACK, 1, 0, 1)), ["A"]);
            seq = 2;
        }
        assert_eq!(self.stack.state(self.handle), Some(state));
        self.run(50);
        (seq, ack)
    }

    /// A TIME_WAIT of the stack.
    fn time_wait() -> Self {
        let mut bench = Self::new(TcpConfig {
            recycled_isn_continues: true,
            ..config()
        });
        bench.bring_to(State::FinWait2);
        assert_eq!(labels(&bench.send(Flags::FIN_ACK, 1, 0, 2)), ["A"]);
        assert_eq!(bench.listed(), [ListedState::TimeWait]);
        bench.wait(1_000);
        bench
    }

    /// States as `ss` lists them, the listener left out.
    fn listed(&self) -> Vec<ListedState> {
        let all = self.stack.list().map(|(.., state)| state);
        all.filter(|state| *state != ListedState::Listen).collect()
    }
}

fn labels(sent: &[Packet]) -> Vec<&'static str> {
    let label = |packet: &Packet| match packet.flags.without(Flags::PSH) {
        Flags::SYN => "S",
        Flags::SYN_ACK => "SA",
        Flags::RST => "R",
        Flags::RST_ACK => "RA",
        Flags::FIN_ACK => "FA",
        Flags::ACK if packet.payload_len > 0 => "PA",
        Flags::ACK => "A",
        _ => "?",
    };
    sent.iter().map(label).collect()
}

// ---- LISTEN and nobody ----

#[test]
fn a_listener_answers_a_syn_resets_an_ack_and_ignores_the_rest() {
    for (flags, answer) in [
        (Flags::SYN, vec!["SA"]),
        (Flags::SYN.with(Flags::FIN), vec![]),
        (Flags::ACK, vec!["R"]),
        (Flags::SYN_ACK, vec!["R"]),
        (Flags::FIN_ACK, vec!["R"]),
        (Flags::RST, vec![]),
        (Flags::RST_ACK, vec![]),
        (Flags::FIN, vec![]),
        (Flags::NONE, vec![]),
        (Flags::SYN.with(Flags::RST), vec![]),
    ] {
        let mut bench = Bench::new(config());
        let sent = bench.send(flags, 0, 0, 77);
        assert_eq!(labels(&sent), answer, "{flags:?}");
    }
}

#[test]
fn where_nobody_listens_everything_but_an_rst_is_reset() {
    for (flags, answer) in [
        (Flags::SYN, Some((Flags::RST_ACK, SeqNum(0), IRS + 1))),
        (Flags::ACK, Some((Flags::RST, SeqNum(77), SeqNum(0)))),
        (Flags::FIN, Some((Flags::RST_ACK, SeqNum(0), IRS + 1))),
        (Flags::NONE, Some((Flags::RST_ACK, SeqNum(0), IRS))),
        (Flags::RST, None),
    ] {
        let mut bench = Bench::new(config());
        bench.stack.close_listener(bench.listener, bench.now);
        let sent = bench.send(flags, 0, 0, 77);
        let said = sent.first().map(|packet| (packet.flags, packet.seq, packet.ack));
        assert_eq!(said, answer, "{flags:?}");
    }
}

#[test]
fn closing_a_listener_resets_what_waits_for_accept_and_forgets_a_request_when_something_reaches_it() {
    let mut bench = Bench::new(config());
    bench.request();
    bench.send(Flags::ACK, 1, 0, 1);
    let resets = bench.stack.close_listener(bench.listener, bench.now);
    assert_eq!(labels(&resets), ["RA"]);
    assert_eq!(resets[0].seq, bench.iss + 1);
    assert_eq!(bench.listed(), []);

    let mut bench = Bench::new(config());
    bench.request();
    assert_eq!(bench.stack.close_listener(bench.listener, bench.now), []);
    assert_eq!(bench.listed(), [ListedState::Connection(State::SynReceived)]);
    assert_eq!(labels(&bench.send(Flags::ACK, 1, 0, 1)), ["R"]);
    assert_eq!(bench.listed(), []);
}

// ---- requests ----

#[test]
fn a_request_judges_the_ack_then_the_window_then_the_flags() {
    let new = SegmentRules::NEW;
    let old = SegmentRules::OLD;
    // (rules, flags, seq, ack, answer, request lives); the window is 64240 octets from 1 on.
    for (rules, flags, seq, ack, answer, lives) in [
        (new, Flags::ACK, 1, 2, vec!["R"], true),
        (new, Flags::ACK, 1, 0, vec!["R"], true),
        (new, Flags::RST_ACK, 1, 7, vec![], true),
        (new, Flags::RST, 1, 0, vec![], false),
        (new, Flags::RST_ACK, 1, 1, vec![], false),
        // RFC 5961: in the window but not exact is challenged; the right edge is in the window, beyond it is not.
        (new, Flags::RST, 2, 0, vec!["A"], true),
        (new, Flags::RST, 64_241, 0, vec!["A"], true),
        (new, Flags::RST, 64_242, 0, vec![], true),
        (old, Flags::RST, 2, 0, vec![], false),
        (old, Flags::RST, 64_242, 0, vec![], true),
        (new, Flags::ACK, 64_242, 1, vec!["A"], true),
        (new, Flags::SYN, 0, 0, vec!["SA"], true),
        (new, Flags::SYN, 5, 0, vec!["RA"], false),
        (new, Flags::SYN, -5, 0, vec!["A"], true),
        (new, Flags::FIN, 1, 0, vec![], true),
        (new, Flags::NONE, 1, 0, vec![], true),
    ] {
        let mut bench = Bench::new(TcpConfig { rules, ..config() });
        bench.request();
        bench.wait(600);
        let sent = bench.send(flags, seq, 0, ack);
        assert_eq!(labels(&sent), answer, "{flags:?} seq {seq} ack {ack}");
        let listed = bench.listed();
        assert_eq!(!listed.is_empty(), lives, "{flags:?} seq {seq} ack {ack}");
        assert_eq!(bench.stack.syn_queue_len(bench.listener), u32::from(lives));
    }
}

#[test]
fn a_full_accept_queue_drops_the_last_ack_or_resets_if_told_to() {
    for (abort, answer, lives) in [(false, vec![], true), (true, vec!["R"], false)] {
        let mut tcp = config();
        tcp.abort_on_overflow = abort;
        let mut bench = Bench::with(
            tcp,
            ListenOptions {
                backlog: 1,
                ..ListenOptions::default()
            },
        );
        // A request, and two connections that fill a queue of backlog 1.
        bench.request();
        let iss = bench.iss;
        for port in [1, 2] {
            let tuple = FourTuple::new(Endpoint::new(PEER.ip, port), HOST);
            let mine = |packet: Packet| Packet { tuple, ..packet };
            bench.iss = bench.deliver(&mine(bench.segment(Flags::SYN, 0, 0, 0)))[0].seq;
            assert_eq!(bench.deliver(&mine(bench.segment(Flags::ACK, 1, 0, 1))), []);
        }
        bench.iss = iss;
        assert_eq!(labels(&bench.send(Flags::ACK, 1, 0, 1)), answer);
        assert_eq!(bench.stack.counters.listen_overflows, 1);
        assert_eq!(bench.stack.syn_queue_len(bench.listener), u32::from(lives));
        // A SYN that meets the full queue is dropped.
        let syn = Packet {
            tuple: FourTuple::new(Endpoint::new(PEER.ip, 40_002), HOST),
            ..bench.segment(Flags::SYN, 0, 0, 0)
        };
        assert_eq!(bench.deliver(&syn), []);
        assert_eq!(bench.stack.counters.listen_overflows, 2);
    }
}

#[test]
fn deferred_accept_drops_bare_acks_until_data_comes() {
    let options = ListenOptions {
        backlog: 8,
        socket: SocketOptions {
            defer_accept: 2,
            ..SocketOptions::NONE
        },
    };
    let mut bench = Bench::with(config(), options);
    bench.request();
    assert_eq!(bench.send(Flags::ACK, 1, 0, 1), []);
    assert_eq!(bench.stack.counters.defer_accept_drop, 1);
    assert_eq!(bench.stack.accept(bench.listener), None);
    assert_eq!(labels(&bench.send(Flags::ACK, 1, 10, 1)), ["A"]);
    let handle = bench.stack.accept(bench.listener).expect("data opens it");
    assert_eq!(bench.stack.read(handle, 100), Ok(Read::Data(10)));
}

#[test]
fn a_full_syn_queue_answers_with_a_cookie_that_opens_the_connection_or_drops_as_the_sysctl_says() {
    for (cookies, answered) in [(SynCookies::WhenFull, true), (SynCookies::Never, false)] {
        let mut tcp = config();
        tcp.syncookies = cookies;
        let mut bench = Bench::with(
            tcp,
            ListenOptions {
                backlog: 1,
                ..ListenOptions::default()
            },
        );
        for port in [1, 2] {
            let tuple = FourTuple::new(Endpoint::new(PEER.ip, port), HOST);
            let syn = Packet {
                tuple,
                ..bench.segment(Flags::SYN, 0, 0, 0)
            };
            assert_eq!(labels(&bench.deliver(&syn)), ["SA"]);
        }
        bench.timestamps = true;
        let mut syn = bench.segment(Flags::SYN, 0, 0, 0);
        syn.options.window_scale = Some(9);
        let sent = bench.deliver(&syn);
        assert_eq!(!sent.is_empty(), answered);
        assert_eq!(
            bench.stack.syn_queue_len(bench.listener),
            2,
            "no request was made"
        );
        if !answered {
            assert_eq!(bench.stack.counters.req_q_full_drop, 1);
            continue;
        }
        bench.iss = sent[0].seq;
        let echo = sent[0].timestamps.expect("offered").val;
        let mut ack = bench.segment(Flags::ACK, 1, 0, 1);
        ack.timestamps = Some(Timestamps { val: 501, ecr: echo });
        let wrong = Packet {
            ack: ack.ack + 4_096,
            ..ack
        };
        assert_eq!(labels(&bench.deliver(&wrong)), ["R"]);
        assert_eq!(bench.deliver(&ack), []);
        let counters = bench.stack.counters;
        assert_eq!(
            (
                counters.syncookies_sent,
                counters.syncookies_recv,
                counters.syncookies_failed
            ),
            (1, 1, 1)
        );
        let handle = bench.stack.accept(bench.listener).expect("the cookie was right");
        let socket = &bench.stack.sock(handle).expect("alive").socket;
        assert_eq!(socket.peer_window_shift(), 9, "the timestamp remembers the scale");
    }
}

// ---- SYN_SENT ----

/// A stack that connects to the peer, and its SYN.
fn connecting() -> (Bench, Packet) {
    let mut bench = Bench::new(config());
    bench.handle = bench.stack.connect(FourTuple::new(HOST, PEER), (), bench.now);
    let syn = bench.drain(bench.handle)[0];
    bench.iss = syn.seq;
    bench.wait(100);
    (bench, syn)
}

#[test]
fn syn_sent_takes_what_answers_its_syn_and_resets_other_acks() {
    let refused = Some(SocketError::ConnRefused);
    // (flags, octets, ack, answer, state, error)
    for (flags, len, ack, answer, state, error) in [
        (Flags::SYN_ACK, 0, 1, vec!["A"], State::Established, None),
        // Data and FIN of the SYN-ACK are ignored: only the SYN is acknowledged.
        (Flags::SYN_ACK, 9, 1, vec!["A"], State::Established, None),
        (
            Flags::SYN_ACK.with(Flags::FIN),
            0,
            1,
            vec!["A"],
            State::Established,
            None,
        ),
        (Flags::RST_ACK, 0, 1, vec![], State::Closed, refused),
        (Flags::RST_ACK, 0, 9, vec![], State::SynSent, None),
        (Flags::RST, 0, 0, vec![], State::SynSent, None),
        (Flags::ACK, 0, 9, vec!["R"], State::SynSent, None),
        (Flags::SYN_ACK, 0, 0, vec!["R"], State::SynSent, None),
        (Flags::ACK, 0, 1, vec![], State::SynSent, None),
        (Flags::FIN, 0, 0, vec![], State::SynSent, None),
        (Flags::SYN, 0, 0, vec!["SA"], State::SynReceived, None),
        (
            Flags::SYN.with(Flags::FIN),
            0,
            0,
            vec!["SA"],
            State::SynReceived,
            None,
        ),
    ] {
        let (mut bench, _) = connecting();
        let sent = bench.send(flags, 0, len, ack);
        assert_eq!(labels(&sent), answer, "{flags:?} ack {ack}");
        assert_eq!(
            bench.stack.state(bench.handle),
            Some(state),
            "{flags:?} ack {ack}"
        );
        assert_eq!(bench.stack.take_error(bench.handle), error, "{flags:?} ack {ack}");
        if state == State::Established {
            assert_eq!(sent[0].ack, IRS + 1);
        }
    }
}

#[test]
fn a_bad_ack_in_syn_sent_is_reset_and_the_syn_comes_again_after_two_jiffies() {
    let (mut bench, syn) = connecting();
    let rst = bench.send(Flags::ACK, 0, 0, 4_000)[0];
    assert_eq!(
        (rst.flags, rst.seq, rst.ack),
        (Flags::RST, syn.seq + 4_000, SeqNum(0))
    );
    let from = bench.now;
    let again = bench.run(100);
    assert_eq!((again[0].1.flags, again[0].1.seq), (Flags::SYN, syn.seq));
    let gap = again[0].0.since(from);
    assert!(
        gap >= SimDuration::from_millis(8) && gap <= SimDuration::from_millis(12),
        "{gap}"
    );
}

#[test]
fn simultaneous_open_then_an_rst_is_a_reset_not_a_refusal() {
    let (mut bench, _) = connecting();
    assert_eq!(labels(&bench.send(Flags::SYN, 0, 0, 0)), ["SA"]);
    assert_eq!(bench.send(Flags::RST, 1, 0, 0), []);
    assert_eq!(bench.stack.take_error(bench.handle), Some(SocketError::ConnReset));
}

#[test]
fn the_crossing_syn_ack_opens_the_connection_where_the_kernel_takes_it() {
    for (rules, state) in [
        (SegmentRules::NEW, State::Established),
        (SegmentRules::OLD, State::SynReceived),
    ] {
        let (mut bench, _) = connecting();
        std::sync::Arc::make_mut(&mut bench.stack.config).rules = rules;
        bench.send(Flags::SYN, 0, 0, 0);
        assert_eq!(labels(&bench.send(Flags::SYN_ACK, 0, 0, 1)), ["A"]);
        assert_eq!(bench.stack.state(bench.handle), Some(state));
        bench.send(Flags::ACK, 1, 0, 1);
        assert_eq!(bench.stack.state(bench.handle), Some(State::Established));
    }
}

#[test]
fn close_and_shutdown_in_syn_sent_say_nothing_and_a_late_syn_ack_is_reset() {
    for shutdown in [false, true] {
        let (mut bench, _) = connecting();
        if shutdown {
            let outcome = bench
                .stack
                .shutdown(bench.handle, How::Both, bench.now)
                .expect("connecting");
            assert_eq!(outcome.reaction.reply, None);
        } else {
            assert_eq!(bench.stack.close(bench.handle, bench.now).reaction.reply, None);
        }
        assert_eq!(labels(&bench.send(Flags::SYN_ACK, 0, 0, 1)), ["R"]);
    }
}
