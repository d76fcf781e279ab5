//! The balance of ports between conntrack and the pod's memory, solved in small steps of time from a cold start.
//!
//! A port is virgin, held by conntrack after a success (with its age), held in CLOSE after a refusal, or free and
//! perhaps still remembered by the pod (with its age). Fresh connects and the retries after refusals draw among the
//! ports that conntrack does not hold. Unlike the stationary formulas this keeps what happens in the first minutes,
//! the hits that consume orphans, and short hold, reopening and stray RSTs at the same time.
//!
//! The kernel's search starts at a random port and goes upward to the first free one, so a free port behind a run of
//! held ones is found more often. A port released early, out of the middle of such a run, has a longer run before it
//! than other free ports; see [`ORPHAN_PULL`]. Ports released by their own timer have a slightly shorter one, which is
//! left out: on measured rows it lowers h by 0.3 % with a fifth of the ports held and by 2 % with two thirds held.
//!
//! It is a mean-field model, exact as N grows; no eviction, no failing search.

use std::collections::VecDeque;

use super::Inputs;
use super::forms::CLOSE_HOLD;
use super::patience::Patience;

/// What a refusal does to the TIME_WAIT that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalEffect {
    /// The caller's RST kills it.
    Kills,
    /// It stays, its timer runs on: refused by sequence number, `tcp_rfc1337` = 1 or the RST lost behind the node.
    Keeps,
    /// It stays and starts anew: refused by timestamp, no RST that kills.
    Rearms,
}

/// How much more often the search finds a port released early than another free one: `1 + ORPHAN_PULL x busy share`.
/// From draws of the same search: 1.2 at a busy share of 0.3, 1.4 at 0.5, 1.45 at 0.65, 1.7 at 0.9, whatever the age at
/// which the port was released.
pub const ORPHAN_PULL: f64 = 0.7;

/// How the SLB comes back to its own tuples within conntrack's hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reopening {
    /// Never, or too late to matter.
    Never,
    /// Each connect takes any of `tuples` at random; `connects` per second go to the node.
    Random {
        /// Tuples really used.
        tuples: f64,
        /// Connects per second of the SLB to the node.
        connects: f64,
    },
    /// A walk that starts anew every `key` seconds (Linux 5.10.185 and later): within a key's time no tuple comes twice,
    /// otherwise as at random.
    Rekeyed {
        /// Tuples really used.
        tuples: f64,
        /// Connects per second of the SLB to the node.
        connects: f64,
        /// Seconds between new starts.
        key: f64,
    },
    /// A walk over the ports returns every `period` seconds; with `chance` it then opens the same tuple.
    Walk {
        /// Seconds of one walk.
        period: f64,
        /// Chance that a walk's return is the same address and destination.
        chance: f64,
    },
}

/// RSTs after the close that shorten conntrack's hold but not the pod's memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrayRst {
    /// Share of the closes.
    pub share: f64,
    /// Hold of those, seconds.
    pub hold: f64,
}

/// The model, ready to solve.
#[derive(Debug, Clone)]
pub struct Renewal<'a> {
    inputs: &'a Inputs,
    dt: f64,
}

/// Averages over the counted time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solution {
    /// Hits per attempt.
    pub h: f64,
    /// Refusals per attempt.
    pub p: f64,
    /// P(every SYN before the patience ends is refused) per fresh connect.
    pub impatient: Option<f64>,
    /// Attempts, in all.
    pub attempts: f64,
    /// Hits, in all.
    pub hits: f64,
    /// Most ports held by conntrack at once.
    pub max_busy: f64,
    /// The ports ran out.
    pub exhausted: bool,
}

/// Ports by age since the success that used them, in cells of one step; the front is the youngest.
type Ages = VecDeque<f64>;

/// Ports by what holds or remembers them.
struct State {
    /// Held after a success, for the full hold.
    held: Ages,
    /// Held after a success that a stray RST followed.
    held_short: Ages,
    /// Free after the whole hold; the pod may remember.
    idle: Ages,
    /// Free before the hold was over: orphans, while the pod may remember.
    orphans: Ages,
    /// Held in CLOSE after a refusal that killed the TIME_WAIT, by age of the refusal.
    closing: Ages,
    /// The same where the TIME_WAIT lives on: for each step of the refusal its ports by age.
    closing_remembered: VecDeque<Vec<f64>>,
}

impl<'a> Renewal<'a> {
    /// The model of `inputs`.
    pub fn of(inputs: &'a Inputs) -> Self {
        // A tenth of a second resolves every hold of interest; very short holds get finer steps.
        let shortest = inputs.hold.min(inputs.memory.0).max(0.05);
        Self {
            inputs,
            dt: (shortest / 20.0).min(0.1),
        }
    }

    fn cells(&self, seconds: f64) -> usize {
        (seconds / self.dt).round().max(1.0) as usize
    }

    /// Chance that the pod still remembers at `age`: the timer wheel spreads the ends evenly.
    fn remembers(&self, age: f64) -> f64 {
        let (shortest, longest) = self.inputs.memory;
        if age <= shortest {
            1.0
        } else if age >= longest {
            0.0
        } else {
            (longest - age) / (longest - shortest)
        }
    }

    fn empty_state(&self) -> State {
        let zeros = |seconds: f64| Ages::from(vec![0.0; self.cells(seconds)]);
        let remembered = self.cells(self.inputs.memory.1 + self.dt);
        // The caller's next SYN comes from the same tuple: it deletes the CLOSE entry and draws another port.
        let close = self.cells(self.inputs.retry_after.unwrap_or(CLOSE_HOLD).min(CLOSE_HOLD));
        let keeps = self.inputs.refusal_effect != RefusalEffect::Kills;
        State {
            held: zeros(self.inputs.hold),
            held_short: zeros(self.inputs.stray_rst.map_or(self.dt, |stray| stray.hold)),
            idle: Ages::from(vec![0.0; remembered]),
            orphans: Ages::from(vec![0.0; remembered]),
            closing: Ages::from(vec![0.0; close]),
            closing_remembered: (0..if keeps { close } else { 0 })
                .map(|_| vec![0.0; remembered])
                .collect(),
        }
    }

    /// Solves from the cold start and averages between `from` and `until`. `None` if nothing is counted.
    pub fn solve(&self, from: f64, until: f64) -> Option<Solution> {
        // Ten minutes on, everything is stationary: conntrack's 120 s and the pod's 62 s have passed several times.
        let horizon = (600.0 + self.inputs.hold).max(from + 60.0);
        let last = until.min(horizon);
        let remembered: Vec<f64> = (0..self.cells(self.inputs.memory.1 + self.dt))
            .map(|cell| self.remembers((cell as f64 + 0.5) * self.dt))
            .collect();
        let (mut state, mut sums) = (self.empty_state(), Sums::default());
        for step in 0..self.cells(last) {
            let now = (step as f64 + 0.5) * self.dt;
            let weight = match () {
                () if now < from => 0.0,
                // The last step stands for the rest of a long run.
                () if now + self.dt >= last && until > last => 1.0 + (until - last) / self.dt,
                () => 1.0,
            };
            self.step(&mut state, &remembered, weight, &mut sums);
        }
        (sums.attempts > 0.0).then(|| Solution {
            h: sums.hits / sums.attempts,
            p: sums.refusals / sums.attempts,
            impatient: self.inputs.patience.map(|_| sums.impatient / sums.fresh),
            attempts: sums.attempts,
            hits: sums.hits,
            max_busy: sums.max_busy,
            exhausted: sums.exhausted,
        })
    }

    /// One step of time: draw, then age.
    fn step(&self, state: &mut State, remembered: &[f64], weight: f64, sums: &mut Sums) {
        let inputs = self.inputs;
        let busy = state.busy();
        sums.max_busy = sums.max_busy.max(busy);
        let free = inputs.ports - busy;
        if free < 1.0 {
            sums.exhausted = true;
            return;
        }
        let known = |ages: &Ages| ages.iter().zip(remembered).map(|(n, g)| n * g).sum::<f64>();
        let pull = self.pull(busy);
        let orphans: f64 = state.orphans.iter().sum();
        // What the orphans draw more, the other free ports draw less.
        let others = (free - pull * orphans).max(0.0) / (free - orphans).max(1e-9);
        let h = ((pull * known(&state.orphans) + others * known(&state.idle)) / free).min(1.0);
        let p = inputs.refused * h;
        // Each refusal is followed by another attempt, unless the caller gives up.
        let attempts = match inputs.retry_after {
            Some(_) => inputs.fresh_rate / (1.0 - p).max(0.01),
            None => inputs.fresh_rate,
        };
        sums.add(
            weight * self.dt,
            inputs.fresh_rate,
            attempts,
            h,
            p,
            inputs.patience,
        );

        let picks = attempts * self.dt / free;
        let keeps = inputs.refusal_effect != RefusalEffect::Kills;
        let mut refused_by_age = vec![0.0; if keeps { remembered.len() } else { 0 }];
        let mut killed = 0.0;
        for (ages, weight) in [(&mut state.idle, others), (&mut state.orphans, pull)] {
            let picked = -(-picks * weight).exp_m1();
            for (cell, ports) in ages.iter_mut().enumerate() {
                let drawn = *ports * picked;
                *ports -= drawn;
                let refusal = drawn * remembered[cell] * inputs.refused;
                match inputs.refusal_effect {
                    RefusalEffect::Kills => killed += refusal,
                    RefusalEffect::Keeps => refused_by_age[cell] += refusal,
                    RefusalEffect::Rearms => refused_by_age[0] += refusal,
                }
            }
        }
        self.reopen(state);
        state.age(
            attempts * (1.0 - p) * self.dt,
            inputs.stray_rst.map_or(0.0, |stray| stray.share),
            killed,
            keeps.then_some(refused_by_age),
        );
    }

    /// How much more often than another free port an orphan is found. Where nearly every port is released at the same
    /// age, as after a stray RST on every close, none stands out.
    fn pull(&self, busy: f64) -> f64 {
        let orderly = 1.0 - self.inputs.stray_rst.map_or(0.0, |stray| stray.share);
        1.0 + ORPHAN_PULL * orderly * busy / self.inputs.ports
    }

    /// Moves the ports whose tuple the SLB reopens from conntrack to the orphans.
    fn reopen(&self, state: &mut State) {
        let orphans = &mut state.orphans;
        let mut release = |held: &mut Ages, cell: usize, share: f64| {
            let released = held[cell] * share;
            held[cell] -= released;
            if let Some(orphans) = orphans.get_mut(cell) {
                *orphans += released;
            }
        };
        match self.inputs.reopening {
            Reopening::Never => {}
            Reopening::Random { tuples, connects } => {
                let share = -(-connects * self.dt / tuples).exp_m1();
                for held in [&mut state.held, &mut state.held_short] {
                    for cell in 0..held.len() {
                        release(held, cell, share);
                    }
                }
            }
            Reopening::Rekeyed {
                tuples,
                connects,
                key,
            } => {
                let share = -(-connects * self.dt / tuples).exp_m1();
                for held in [&mut state.held, &mut state.held_short] {
                    for cell in 0..held.len() {
                        // The share of the pairs at this distance in time that lie under different keys.
                        let apart = ((cell as f64 + 0.5) * self.dt / key).min(1.0);
                        release(held, cell, share * apart);
                    }
                }
            }
            Reopening::Walk { period, chance } => {
                let step = self.cells(period);
                for held in [&mut state.held, &mut state.held_short] {
                    for cell in (step..held.len()).step_by(step) {
                        release(held, cell, chance);
                    }
                }
            }
        }
    }
}

impl State {
    /// B: ports that conntrack holds.
    fn busy(&self) -> f64 {
        let remembered: f64 = self.closing_remembered.iter().flatten().sum();
        let sum = |ages: &Ages| ages.iter().sum::<f64>();
        sum(&self.held) + sum(&self.held_short) + sum(&self.closing) + remembered
    }

    /// Everything grows older by a step; what leaves a hold becomes idle at the age that it has.
    fn age(&mut self, successes: f64, stray_share: f64, killed: f64, remembered: Option<Vec<f64>>) {
        for free in [&mut self.idle, &mut self.orphans] {
            free.push_front(0.0);
            free.pop_back();
        }
        let held = [
            (&mut self.held, 1.0 - stray_share, &mut self.idle),
            (&mut self.held_short, stray_share, &mut self.orphans),
        ];
        for (held, share, free) in held {
            held.push_front(successes * share);
            let released = held.pop_back().unwrap_or(0.0);
            if let Some(cell) = free.get_mut(held.len()) {
                *cell += released;
            }
        }
        self.closing.push_front(killed);
        self.closing.pop_back();
        if let Some(by_age) = remembered {
            self.closing_remembered.push_front(by_age);
            let waited = self.closing_remembered.len() - 1;
            for (age, ports) in self
                .closing_remembered
                .pop_back()
                .into_iter()
                .flatten()
                .enumerate()
            {
                if let Some(cell) = self.idle.get_mut(age + waited) {
                    *cell += ports;
                }
            }
        }
    }
}

/// Sums over the counted time.
#[derive(Debug, Default)]
struct Sums {
    fresh: f64,
    attempts: f64,
    hits: f64,
    refusals: f64,
    impatient: f64,
    max_busy: f64,
    exhausted: bool,
}

impl Sums {
    fn add(&mut self, seconds: f64, fresh: f64, attempts: f64, h: f64, p: f64, patience: Option<Patience>) {
        self.fresh += seconds * fresh;
        self.attempts += seconds * attempts;
        self.hits += seconds * attempts * h;
        self.refusals += seconds * attempts * p;
        if let Some(patience) = patience {
            self.impatient += seconds * fresh * p.powi(patience.syns());
        }
    }
}
