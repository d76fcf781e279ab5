//! Who is to blame: the one primary cause of a request that failed or was slow, and what contributed.
//!
//! Pure: the world collects what a request met and how long it waited for what; here it is weighed.
//!
//! 1. An error (500, 502, 503) is put down to the first trouble of the connection that ended in it, lost packets left out,
//!    for they are sent again; what an earlier connect met and overcame contributes.
//! 2. A wait for a response that could not come, because the pod is gone, is put down to that. Any other is put down to the
//!    pod if the wait for its response alone exceeds the limit and the pod had the request for half of that or more: to the
//!    queue for its workers or to its service, whichever took more of it.
//! 3. Otherwise to the first trouble on the way.
//! 4. Without trouble to the pod, if it had the request for half of the time or more, else to the delays of the path.
//!
//! What else was met contributes; so does the pod if it had the request for a tenth of the limit.

use crate::units::SimDuration;
use crate::vocab::{Cause, Causes, ReleasePath};

/// What a request has met so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Troubles {
    /// All of it.
    met: Causes,
    first: Option<Cause>,
    /// The first one since the connection was established, or the backend was changed, that is not a lost packet: what came
    /// before is overcome, and what is lost is sent again.
    decisive: Option<Cause>,
    /// Of the first refusal.
    release_path: Option<ReleasePath>,
}

impl Troubles {
    /// One more.
    pub fn note(&mut self, cause: Cause) {
        self.met = self.met.with(cause);
        self.first.get_or_insert(cause);
        if !matches!(cause, Cause::LinkLoss | Cause::QueueOverflow) {
            self.decisive.get_or_insert(cause);
        }
    }

    /// A refusal by a pod's old socket, whose port was free because of `path`.
    pub fn note_collision(&mut self, cause: Cause, path: ReleasePath) {
        self.note(cause);
        self.release_path.get_or_insert(path);
    }

    /// The upstream connection stands, or another one is tried.
    pub fn overcome(&mut self) {
        self.decisive = None;
    }
}

/// How a request came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// It ended by an error, not by somebody's patience.
    pub error: bool,
    /// The patience that ended it, or the time from which on it counts as slow.
    pub limit: SimDuration,
    /// Time since it began.
    pub total: SimDuration,
    /// Time since it was sent on an established upstream connection; zero: it was not.
    pub waited: SimDuration,
    /// Of this, waiting for a worker of the pod.
    pub queued: SimDuration,
    /// Of this, in the hands of a worker.
    pub served: SimDuration,
}

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// The one cause.
    pub primary: Cause,
    /// What else had a part in it; never the primary cause.
    pub contributing: Causes,
    /// If the primary cause is a collision: why the port was free.
    pub release_path: Option<ReleasePath>,
}

/// Weighs it. See the [module](self).
pub fn blame(troubles: &Troubles, course: &Course) -> Blame {
    let at_pod = course.queued + course.served;
    let pod = if course.queued >= course.served {
        Cause::WorkerQueue
    } else {
        Cause::SlowService
    };
    let half_of = |time: SimDuration| at_pod > SimDuration::ZERO && at_pod.saturating_mul(2) >= time;
    let nobody_there = troubles.decisive.filter(|cause| cause.leaves_no_answer());
    let primary = if let (false, Some(gone)) = (course.error, nobody_there) {
        gone
    } else if course.error {
        troubles.decisive.or(troubles.first).unwrap_or(Cause::SlowPath)
    } else if course.waited >= course.limit && half_of(course.waited) {
        pod
    } else if let Some(first) = troubles.first {
        first
    } else if half_of(course.total) {
        pod
    } else {
        Cause::SlowPath
    };
    let mut contributing = troubles.met;
    if !course.error && at_pod.saturating_mul(10) >= course.limit {
        contributing = contributing.with(pod);
    }
    Blame {
        primary,
        contributing: contributing.without(primary),
        release_path: troubles
            .release_path
            .filter(|_| matches!(primary, Cause::TimeWaitCollision | Cause::FinWait2Collision)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> SimDuration {
        SimDuration::from_millis(millis)
    }

    fn impatient(waited: u64, queued: u64, served: u64) -> Course {
        Course {
            error: false,
            limit: ms(1_000),
            total: ms(1_000),
            waited: ms(waited),
            queued: ms(queued),
            served: ms(served),
        }
    }

    fn troubles(list: &[Cause]) -> Troubles {
        let mut troubles = Troubles::default();
        for &cause in list {
            troubles.note(cause);
        }
        troubles
    }

    #[test]
    fn the_first_trouble_explains_a_wait_unless_the_response_alone_took_too_long() {
        use Cause::{LinkLoss, SlowPath, SlowService, TimeWaitCollision, WorkerQueue};
        for (met, waited, queued, served, primary, contributing) in [
            (
                &[TimeWaitCollision, LinkLoss][..],
                0,
                0,
                0,
                TimeWaitCollision,
                &[LinkLoss][..],
            ),
            (&[TimeWaitCollision], 900, 0, 50, TimeWaitCollision, &[]),
            (
                &[TimeWaitCollision],
                900,
                0,
                100,
                TimeWaitCollision,
                &[SlowService],
            ),
            (
                &[TimeWaitCollision],
                1_000,
                0,
                499,
                TimeWaitCollision,
                &[SlowService],
            ),
            (
                &[TimeWaitCollision],
                1_000,
                0,
                500,
                SlowService,
                &[TimeWaitCollision],
            ),
            (
                &[TimeWaitCollision],
                1_000,
                499,
                500,
                SlowService,
                &[TimeWaitCollision],
            ),
            (
                &[TimeWaitCollision],
                1_000,
                500,
                499,
                WorkerQueue,
                &[TimeWaitCollision],
            ),
            (&[], 0, 0, 0, SlowPath, &[]),
            (&[], 999, 0, 499, SlowPath, &[SlowService]),
            (&[], 999, 0, 500, SlowService, &[]),
            (&[], 999, 300, 200, WorkerQueue, &[]),
        ] {
            let verdict = blame(&troubles(met), &impatient(waited, queued, served));
            assert_eq!(verdict.primary, primary, "{met:?} {waited} {queued} {served}");
            assert_eq!(
                verdict.contributing.iter().collect::<Vec<_>>(),
                contributing,
                "{met:?} {waited} {queued} {served}"
            );
        }
    }

    #[test]
    fn who_waits_for_a_pod_that_is_gone_does_not_wait_for_its_service() {
        let mut met = troubles(&[Cause::TimeWaitCollision]);
        met.overcome();
        met.note(Cause::PodGone);
        let verdict = blame(&met, &impatient(1_000, 0, 1_000));
        assert_eq!(verdict.primary, Cause::PodGone);
    }

    #[test]
    fn an_error_is_put_down_to_the_connection_that_ended_in_it() {
        let error = Course {
            error: true,
            ..impatient(1_000, 0, 1_000)
        };
        let mut met = troubles(&[Cause::TimeWaitCollision]);
        assert_eq!(
            blame(&met, &error).primary,
            Cause::TimeWaitCollision,
            "the connect itself failed"
        );
        met.overcome();
        met.note(Cause::LinkLoss);
        met.note(Cause::Reset);
        let verdict = blame(&met, &error);
        assert_eq!(verdict.primary, Cause::Reset);
        assert_eq!(
            verdict.contributing.iter().collect::<Vec<_>>(),
            [Cause::TimeWaitCollision, Cause::LinkLoss]
        );
        let lost = troubles(&[Cause::LinkLoss]);
        assert_eq!(
            blame(&lost, &error).primary,
            Cause::LinkLoss,
            "the kernel gave up"
        );
    }

    #[test]
    fn only_a_collision_has_a_release_path_and_it_is_that_of_the_first_refusal() {
        let mut met = Troubles::default();
        met.note_collision(Cause::TimeWaitCollision, ReleasePath::ORPHAN_BY_REOPEN);
        met.note_collision(Cause::TimeWaitCollision, ReleasePath::STRAY_RST);
        let verdict = blame(&met, &impatient(0, 0, 0));
        assert_eq!(verdict.release_path, Some(ReleasePath::ORPHAN_BY_REOPEN));
        assert_eq!(blame(&met, &impatient(1_000, 0, 1_000)).release_path, None);
    }

    proptest! {
        #[test]
        fn the_primary_cause_never_contributes_and_nothing_that_was_met_is_lost(
            met in prop::collection::vec(0..Cause::ALL.len(), 0..5),
            error: bool,
            (total, waited, queued, served) in (0u64..3_000, 0u64..3_000, 0u64..3_000, 0u64..3_000),
        ) {
            let met: Vec<Cause> = met.into_iter().map(|index| Cause::ALL[index]).collect();
            let course = Course {
                error,
                limit: ms(1_000),
                total: ms(total),
                waited: ms(waited),
                queued: ms(queued),
                served: ms(served),
            };
            let verdict = blame(&troubles(&met), &course);
            prop_assert!(!verdict.contributing.contains(verdict.primary));
            let named = verdict.contributing.with(verdict.primary);
            prop_assert!(met.iter().all(|&cause| named.contains(cause)));
        }
    }
}
