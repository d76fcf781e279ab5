//! A segment that is predicted skips the checks, and so does one that is sent alone: they must do what they would have done
//! with them.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::{Due, FourTuple, Host, Reaction, Socket, SocketOptions, State};
use super::{CLIENT, SERVER, SeqNum, SimDuration, SimTime, config};
use crate::engine::KernelTimers;
use crate::model::tcp::{HostClock, TcpConfig, TsRecent};
use crate::wire::{Flags, Options, Packet, Timestamps};

const ONE_SECOND: SimTime = SimTime::from_nanos(1_000_000_000);

/// A socket in some synchronized state, its numbers in order but otherwise anyhow.
fn socket(dice: &[u32; 24], host: &Host<'_>) -> Socket {
    let options = SocketOptions {
        reads_at_once: dice[0].is_multiple_of(2),
        no_delay: dice[1].is_multiple_of(2),
        ..SocketOptions::NONE
    };
    let tuple = FourTuple::new(CLIENT, SERVER);
    let mut socket = Socket::connect(tuple, &options, host, SimTime::ZERO);
    let states = [
        State::Established,
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
        State::SynReceived,
    ];
    socket.state = states[dice[2] as usize % states.len()];
    (socket.wscale_ok, socket.due) = (!dice[3].is_multiple_of(4), Due::NOTHING);
    if socket.wscale_ok {
        (socket.rcv_wscale, socket.snd_wscale) = (7, 7);
    } else {
        (socket.rcv_wscale, socket.snd_wscale) = (0, 0);
    }
    socket.snd_una = socket.iss + 1 + dice[4] % 3_000;
    socket.write_end = socket.snd_una + dice[5] % 4 * 700;
    let closing = !matches!(socket.state, State::Established | State::CloseWait);
    socket.fin_wanted = closing && socket.state != State::SynReceived;
    socket.snd_max = socket.write_end + u32::from(socket.fin_wanted && !dice[6].is_multiple_of(3));
    socket.snd_nxt = if dice[7].is_multiple_of(5) {
        socket.snd_una
    } else {
        socket.snd_max
    };
    (socket.peer_window, socket.max_window) = (dice[8] % 70_000, 70_000);
    socket.irs = SeqNum(dice[9]);
    socket.rcv_nxt = socket.irs + 1 + dice[10] % 5_000;
    socket.rcv_wup = socket.rcv_nxt - dice[11] % 3 * 40;
    socket.copied = socket.rcv_nxt - dice[12] % 3 * 30;
    socket.fin_received = matches!(socket.state, State::CloseWait | State::LastAck | State::Closing);
    if socket.fin_received && dice[12].is_multiple_of(3) {
        socket.copied = socket.rcv_nxt - 1;
    }
    socket.rcv_wnd = dice[13] % 4 * 20_000;
    socket.rcv_shutdown = socket.fin_received || dice[14].is_multiple_of(5);
    socket.orphan = dice[15].is_multiple_of(3);
    socket.ts_recent = (!dice[16].is_multiple_of(4)).then_some(TsRecent {
        val: dice[16] % 3 * 1_000,
        at: SimTime::ZERO,
    });
    socket.dup_acks = (dice[17] % 4) as u8;
    socket.in_recovery = dice[18].is_multiple_of(5);
    socket.recover = socket.snd_una - 1 + dice[18] % 900;
    (socket.quick_acks, socket.pingpong) = ((dice[19] % 4) as u8, dice[19] % 8 > 3);
    socket.sampling = dice[20].is_multiple_of(2);
    socket.sample_seq = socket.snd_una;
    socket.ato = SimDuration::from_millis(u64::from(dice[21] % 3 * 40));
    socket.loss_probe_sent = dice[22].is_multiple_of(5);
    if dice[23].is_multiple_of(4) {
        // It has what few sockets have.
        let _ = socket.extra_mut();
    }
    socket
}

/// A segment near what the socket expects.
fn segment(dice: &[u32; 8], socket: &Socket) -> Packet {
    let flags = [
        Flags::ACK,
        Flags::ACK,
        Flags::ACK.with(Flags::PSH),
        Flags::FIN_ACK,
        Flags::RST_ACK,
        Flags::SYN_ACK,
        Flags::FIN,
    ];
    let near = |seq: SeqNum, die: u32| match die % 8 {
        0 => seq - 1,
        1 => seq + 1,
        2 => seq + 100_000,
        _ => seq,
    };
    let in_flight = socket.snd_max.distance_from(socket.snd_una).cast_unsigned();
    let ack = match dice[3] % 4 {
        0 => socket.snd_una,
        1 => socket.snd_una + in_flight / 2,
        _ => socket.snd_max,
    };
    Packet {
        tuple: FourTuple::new(SERVER, CLIENT),
        seq: near(socket.rcv_nxt, dice[1]),
        ack: near(ack, dice[2] / 8),
        payload_len: [0, 0, 1, 200, 1_448, 65_000][dice[4] as usize % 6],
        window: dice[5] % 70_000,
        timestamps: (!dice[6].is_multiple_of(4)).then_some(Timestamps {
            val: 900 + dice[6] % 200,
            ecr: dice[7] % 2 * 100,
        }),
        flags: flags[dice[0] as usize % flags.len()],
        options: Options::NONE,
        tag: 7,
    }
}

/// Timers and clocks of some host.
const TIMERS: KernelTimers = KernelTimers {
    hz: 250,
    phase: SimDuration::from_millis(3),
};
const CLOCK: HostClock = HostClock {
    isn_secret: 1,
    ts_secret: 2,
    uptime: SimDuration::from_secs(3),
    wall_ticks: 4,
};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    })
}

#[test]
fn what_goes_in_one_segment_is_what_the_checks_would_let_go() {
    let config = TcpConfig::NEWEST;
    let host = Host {
        config: &config,
        timers: &TIMERS,
        clock: &CLOCK,
    };
    let (cases, alone) = (4_096, Cell::new(0));
    let outcome = runner(cases).run(&any::<[u32; 24]>(), |dice| {
        let socket = socket(&dice, &host);
        if socket.has_unsent() {
            alone.set(alone.get() + u32::from(socket.snd_nxt == socket.snd_una));
            for any_cwnd in [false, true] {
                let checked = socket.next_data_checked(any_cwnd);
                prop_assert_eq!(socket.next_data(any_cwnd), checked);
            }
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(alone.get() > cases / 20, "only {} were alone", alone.get());
}

#[test]
fn a_predicted_segment_does_what_the_checked_one_does() {
    let config = TcpConfig {
        syn_retry: config().syn_retry,
        ..TcpConfig::NEWEST
    };
    let host = Host {
        config: &config,
        timers: &TIMERS,
        clock: &CLOCK,
    };
    let (cases, predicted) = (4_096, Cell::new(0));
    let dice = (any::<[u32; 24]>(), any::<[u32; 8]>());
    let outcome = runner(cases).run(&dice, |(socket_dice, segment_dice)| {
        let mut fast = socket(&socket_dice, &host);
        let seg = segment(&segment_dice, &fast);
        predicted.set(predicted.get() + u32::from(fast.is_predicted(&seg)));
        let mut slow = fast.clone();
        let (mut by_fast, mut by_slow) = (Reaction::default(), Reaction::default());
        fast.in_synchronized(&seg, &host, ONE_SECOND, &mut by_fast);
        let next = slow.check(&seg, &host, ONE_SECOND, &mut by_slow);
        slow.follow(next, &seg, &host, ONE_SECOND, &mut by_slow);
        prop_assert_eq!(by_fast, by_slow);
        prop_assert_eq!(fast, slow);
        Ok(())
    });
    outcome.unwrap();
    assert!(
        predicted.get() > cases / 20,
        "only {} were predicted",
        predicted.get()
    );
}
