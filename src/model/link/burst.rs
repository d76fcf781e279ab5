//! Losses in bursts: the channel of Gilbert and Elliott (E. N. Gilbert, Bell System Technical Journal 39, 1960; E. O. Elliott,
//! 42, 1963). It is in one of two states, each with its own chance to lose a packet, and may change after each packet.

/// The state in which packets are lost; what is lost outside is the link's own `loss`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Chance after each packet outside that a burst begins (`p`).
    pub begins: f64,
    /// Chance after each packet inside that it ends (`r`): one over the mean length.
    pub ends: f64,
    /// Chance that a packet inside is lost (`1-h`).
    pub loss: f64,
}

impl Burst {
    /// Bursts of `length` packets on average, with such losses inside and outside that a share of `mean` is lost in the
    /// long run. `None`: no chances do that.
    pub fn of(mean: f64, length: f64, inside: f64, outside: f64) -> Option<Self> {
        if length < 1.0 || !(outside < mean && mean < inside) {
            return None;
        }
        let ends = 1.0 / length;
        // The share of packets inside a burst; the chain's balance gives the chance to enter one.
        let share = (mean - outside) / (inside - outside);
        let begins = share / (1.0 - share) * ends;
        (begins <= 1.0).then_some(Self {
            begins,
            ends,
            loss: inside,
        })
    }

    /// Share of the packets that are lost in the long run, with a chance of `outside` outside bursts.
    pub fn mean_loss(&self, outside: f64) -> f64 {
        let share = self.begins / (self.begins + self.ends);
        share * self.loss + (1.0 - share) * outside
    }

    /// Whether a packet is lost, and whether the next one finds a burst. `inside`: this one does. `loss` and `change` are
    /// uniform in `[0, 1)`.
    pub fn step(&self, inside: bool, outside_loss: f64, loss: f64, change: f64) -> (bool, bool) {
        if inside {
            (loss < self.loss, change >= self.ends)
        } else {
            (loss < outside_loss, change < self.begins)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn unit(rng: &mut ChaCha8Rng) -> f64 {
        (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Share lost, mean length of a stay inside, and mean run of losses, over so many packets.
    fn measure(burst: Burst, outside: f64, packets: u32) -> (f64, f64, f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut lost, mut within, mut stays, mut runs) = (0_u32, 0_u32, 0_u32, 0_u32);
        let (mut inside, mut was_inside, mut was_lost) = (false, false, false);
        for _ in 0..packets {
            within += u32::from(inside);
            stays += u32::from(inside && !was_inside);
            was_inside = inside;
            let (gone, next) = burst.step(inside, outside, unit(&mut rng), unit(&mut rng));
            lost += u32::from(gone);
            runs += u32::from(gone && !was_lost);
            was_lost = gone;
            inside = next;
        }
        let share = |count: u32, of: u32| f64::from(count) / f64::from(of);
        (share(lost, packets), share(within, stays), share(lost, runs))
    }

    #[test]
    fn mean_and_length_are_what_was_asked_for() {
        // (mean, length, inside, outside)
        for (mean, length, inside, outside) in [
            (0.01, 5.0, 1.0, 0.0),
            (0.001, 20.0, 1.0, 0.0),
            (0.05, 10.0, 0.5, 0.01),
            (0.2, 1.0, 1.0, 0.0),
        ] {
            let burst = Burst::of(mean, length, inside, outside).unwrap();
            assert!((burst.mean_loss(outside) - mean).abs() < 1e-12);
            let (lost, stay, _) = measure(burst, outside, 4_000_000);
            // Bursts are few: some 1000 of them at the second row, so 3 % is one standard deviation of its sum.
            assert!((lost / mean - 1.0).abs() < 0.1, "{lost} of {mean}");
            assert!((stay / length - 1.0).abs() < 0.1, "{stay} of {length}");
        }
    }

    #[test]
    fn losses_come_in_runs_of_the_bursts_length() {
        let burst = Burst::of(0.01, 5.0, 1.0, 0.0).unwrap();
        let (lost, _, run) = measure(burst, 0.0, 2_000_000);
        assert!((4.9..5.1).contains(&run), "{run}");
        assert!((0.0095..0.0105).contains(&lost), "{lost}");
        // The same loss, each packet for itself: runs of 1 / (1 - 0.01).
        let single = Burst::of(0.01, 1.0 / 0.99, 1.0, 0.0).unwrap();
        assert!(
            (single.begins - 0.01).abs() < 1e-12,
            "the same chance inside and out"
        );
    }

    #[test]
    fn what_no_chances_do_is_refused() {
        for (mean, length, inside, outside) in [
            (0.0, 5.0, 1.0, 0.0),
            (1.0, 5.0, 1.0, 0.0),
            (0.6, 1.0, 1.0, 0.0),
            (0.01, 0.5, 1.0, 0.0),
            (0.01, 5.0, 0.01, 0.0),
            (0.01, 5.0, 1.0, 0.02),
            (f64::NAN, 5.0, 1.0, 0.0),
        ] {
            assert_eq!(Burst::of(mean, length, inside, outside), None, "{mean} {length}");
        }
    }
}
