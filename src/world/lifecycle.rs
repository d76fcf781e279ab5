//! Pods that come and go: processes that begin, are told to end, and end, and what of a pod then still answers.
//!
//! Who else learns of it, and when, is in [`super::endpoints`]. Rules, sources and limits: `docs/models/pods.md`.

use super::build::World;
use super::event::{Event, Handle};
use super::network::Ends;
use crate::engine::Class;
use crate::model::tcp::Owner;
use crate::spec::{ClosePolicy, GoneAnswer, OnSigterm, PodChange, PodEvent};
use crate::topology::{HostId, Role};
use crate::units::{SimDuration, SimTime};
use crate::vocab::Cause;
use crate::wire::Packet;

/// From the end of the last process to the end of the pod's network namespace: the kubelet looks once a second
/// (`plegRelistPeriod`, pkg/kubelet/kubelet.go).
const TEARDOWN: SimDuration = SimDuration::from_secs(1);

/// What of a pod is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The process listens.
    Running,
    /// The process has stopped to listen and finishes what it has.
    Finishing,
    /// There is no process; the kernel answers at the address.
    Stopped,
    /// The address answers nothing, or as [`GoneAnswer`] says.
    Gone,
}

impl World<'_> {
    /// Schedules what the scenario lets happen.
    pub fn schedule_pod_events(&mut self) {
        for (index, event) in self.plan.events.iter().enumerate() {
            let at = SimTime::ZERO + event.at;
            let host = HostId::new(Role::Pod, event.pod);
            self.schedule(at, Class::Timer, host, Event::Lifecycle { index: index as u32 });
        }
    }

    /// The scenario lets something happen to a pod.
    #[inline(never)]
    pub fn on_lifecycle(&mut self, index: u32) {
        let PodEvent { pod, what, .. } = self.plan.events[index as usize];
        match what {
            PodChange::Ready | PodChange::Drain | PodChange::Remove => self.announce(index),
            PodChange::Start => self.start_process(pod),
            PodChange::Terminate(OnSigterm::Finish) => self.finish_process(pod),
            PodChange::Terminate(OnSigterm::Ignore) => {}
            PodChange::Terminate(OnSigterm::Exit) | PodChange::Kill => self.end_pod(pod),
            PodChange::Exit => self.end_process(pod),
            PodChange::Crash => self.lose_sockets(pod, Presence::Stopped),
            PodChange::Vanish => self.lose_sockets(pod, Presence::Gone),
        }
    }

    /// A process begins to listen. What was said of the one before is over.
    fn start_process(&mut self, pod: usize) {
        if self.pods[pod].presence == Presence::Running {
            return;
        }
        if self.pods[pod].presence == Presence::Finishing {
            self.end_process(pod);
        }
        let listener = self.listen(pod);
        let host = &mut self.pods[pod];
        host.listener = listener;
        host.presence = Presence::Running;
        host.incarnation += 1;
    }

    /// SIGTERM: no new connection, and idle ones are closed; what is left is finished.
    fn finish_process(&mut self, pod: usize) {
        if self.pods[pod].presence != Presence::Running {
            return;
        }
        self.pods[pod].presence = Presence::Finishing;
        self.close_listener_of(pod);
        let host = HostId::new(Role::Pod, pod);
        for handle in self.stack_mut(host).handles() {
            if self.is_idle(host, handle) {
                self.close(host, handle);
                self.release_worker_if_closed(pod, handle);
            }
        }
        self.end_pod_if_finished(pod);
    }

    /// A process that finishes ends with its last connection.
    pub fn end_pod_if_finished(&mut self, pod: usize) {
        let host = &self.pods[pod];
        if host.presence == Presence::Finishing && host.busy == 0 {
            self.end_pod(pod);
        }
    }

    /// The process ends, and the pod after it.
    fn end_pod(&mut self, pod: usize) {
        if matches!(self.pods[pod].presence, Presence::Running | Presence::Finishing) {
            self.end_process(pod);
        }
        let incarnation = self.pods[pod].incarnation;
        let at = self.now() + TEARDOWN;
        let event = Event::Teardown {
            pod: pod as u32,
            incarnation,
        };
        self.schedule(at, Class::Timer, HostId::new(Role::Pod, pod), event);
    }

    /// A pod's network namespace ends, unless a process has begun in it again.
    #[inline(never)]
    pub fn on_teardown(&mut self, pod: usize, incarnation: u32) {
        let host = &self.pods[pod];
        if host.incarnation == incarnation && host.presence == Presence::Stopped {
            self.lose_sockets(pod, Presence::Gone);
        }
    }

    /// The process ends: the kernel closes its sockets, with a FIN, or an RST where data is unread (`exit_files()`,
    /// `tcp_close()`). Timewait sockets are the kernel's, and stay.
    fn end_process(&mut self, pod: usize) {
        let host = HostId::new(Role::Pod, pod);
        if !matches!(self.pods[pod].presence, Presence::Running | Presence::Finishing) {
            return;
        }
        self.note_requests_lost(pod);
        let listened = self.pods[pod].presence == Presence::Running;
        self.pods[pod].presence = Presence::Stopped;
        self.pods[pod].incarnation += 1;
        if listened {
            self.close_listener_of(pod);
        }
        for handle in self.stack_mut(host).handles() {
            let Some(sock) = self.sock_mut(host, handle) else {
                continue;
            };
            sock.app.accepted = false;
            sock.app.waiting_tag = None;
            sock.app.idle_deadline = SimTime::NEVER;
            if !sock.is_request() {
                self.close(host, handle);
            }
        }
        self.pods[pod].busy = 0;
    }

    /// Every socket of the pod is gone without a word.
    fn lose_sockets(&mut self, pod: usize, left: Presence) {
        self.note_requests_lost(pod);
        let place = self.place_of_pod(pod);
        self.stacks[place].lose_everything();
        let host = &mut self.pods[pod];
        host.presence = left;
        host.incarnation += 1;
        host.busy = 0;
        host.killed.clear();
    }

    /// Connections that nobody has accepted are reset.
    fn close_listener_of(&mut self, pod: usize) {
        let host = HostId::new(Role::Pod, pod);
        let now = self.now();
        let listener = self.pods[pod].listener;
        let resets = self.stack_mut(host).close_listener(listener, now);
        for reset in resets {
            self.note_trouble(reset.tag, Cause::PodGone);
            self.send(host, reset);
        }
    }

    /// The requests that a pod works on, or that are on their way to it on an open connection, get no answer.
    fn note_requests_lost(&mut self, pod: usize) {
        let host = HostId::new(Role::Pod, pod);
        for handle in self.stack_mut(host).handles() {
            if self.is_idle(host, handle) {
                continue;
            }
            if let Some(sock) = self.sock_mut(host, handle)
                && !sock.socket.is_closed_by_application()
            {
                let tag = sock.app.waiting_tag.unwrap_or(sock.socket.tag);
                self.note_trouble(tag, Cause::PodGone);
            }
        }
    }

    /// The process keeps the connection for further requests, and has none on it.
    fn is_idle(&mut self, host: HostId, handle: Handle) -> bool {
        self.sock_mut(host, handle).is_some_and(|sock| {
            sock.app.accepted && sock.app.waiting_tag.is_none() && sock.app.idle_deadline != SimTime::NEVER
        })
    }

    /// Closes a connection as the pod's policy has it.
    pub fn hang_up(&mut self, pod: usize, handle: Handle) {
        let host = HostId::new(Role::Pod, pod);
        if self.plan.pods[pod].close == ClosePolicy::Reset {
            self.abort(host, handle);
        } else {
            self.close(host, handle);
        }
    }

    /// A packet reaches the address of a pod that does not listen. True: nothing of the pod is there to take it.
    #[inline(never)]
    pub fn meets_nobody(&mut self, pod: usize, packet: &Packet, owner: Option<Owner>) -> bool {
        let stack = &self.stacks[self.place_of_pod(pod)];
        let is_connection = match owner {
            None => false,
            Some(Owner::TimeWait(_)) => true,
            // A request whose listener is closed goes when something reaches it.
            Some(Owner::Socket(handle)) => stack.sock(handle).is_some_and(|sock| !sock.is_request()),
        };
        if !is_connection {
            self.note_trouble(packet.tag, Cause::PodGone);
        }
        if self.pods[pod].presence != Presence::Gone {
            return false;
        }
        if self.plan.pods[pod].when_gone == GoneAnswer::Reset
            && let Some(reset) = packet.reset()
        {
            let host = HostId::new(Role::Pod, pod);
            if let Some(route) = self.route(host, reset.tuple.dst) {
                self.transmit(host, route, &reset, Ends::UNKNOWN);
            }
        }
        true
    }
}
