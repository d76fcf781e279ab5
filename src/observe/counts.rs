//! Counters of one simulated second, and their sums.

use crate::vocab::{Cause, ReleasePath};

/// Counts of events. Every field adds up over seconds and replications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that arrived.
    pub requests_started: u64,
    /// Ended requests by [`crate::vocab::Status::ALL`].
    pub by_status: [u64; 6],
    /// Failed requests by [`Cause::ALL`].
    pub causes: [u64; Cause::ALL.len()],
    /// Failed requests to which a cause contributed without being the primary one.
    pub contributing: [u64; Cause::ALL.len()],
    /// Failed requests whose primary cause is a collision, by release path.
    pub failed_by_path: [u64; ReleasePath::COUNT],
    /// Answered requests that took the plan's `slow_after` or longer, by primary cause.
    pub slow_causes: [u64; Cause::ALL.len()],
    /// Such requests to which a cause contributed without being the primary one.
    pub slow_contributing: [u64; Cause::ALL.len()],
    /// Such requests whose primary cause is a collision, by release path.
    pub slow_by_path: [u64; ReleasePath::COUNT],
    /// Upstream connects begun.
    pub connects_started: u64,
    /// Upstream connects established.
    pub established: u64,
    /// Upstream connects timed out.
    pub timed_out: u64,
    /// Upstream connects refused with RST.
    pub refused: u64,
    /// Upstream connects that the client's leaving ended.
    pub abandoned: u64,
    /// Established after 0.9 s or more.
    pub slow: u64,
    /// Distinct (pod, source, port, ISN) that arrived at a pod.
    pub attempts: u64,
    /// Attempts that met TIME_WAIT.
    pub time_wait_hits: u64,
    /// Of these, accepted by the TIME_WAIT rule.
    pub recycled: u64,
    /// Of these, answered by a bare ACK.
    pub bare_acks: u64,
    /// Of these, refused in silence.
    pub no_answer: u64,
    /// Attempts that met a FIN_WAIT2 timewait.
    pub fin_wait2_hits: u64,
    /// TIME_WAITs killed by the caller's RST.
    pub rst_kills: u64,
    /// RSTs with the exact sequence of a pod's TIME_WAIT under 60 s old, the first of each: who only sees the wire
    /// takes them for its end, whatever `tcp_rfc1337` makes of them.
    pub exact_rsts: u64,
    /// SYNs repeated on the same mapping, as the pod sees them.
    pub syn_retransmits: u64,
    /// Hits by release path.
    pub release_paths: [u64; ReleasePath::COUNT],
    /// SYNs for which the node found no port.
    pub snat_search_failures: u64,
    /// Conntrack entries evicted by the port search.
    pub snat_evictions: u64,
    /// Entries that clashed when confirmed (`insert_failed`).
    pub insert_failed: u64,
    /// Upstream connects whose first SYN a node dropped, the rule against repeated SYNs left out.
    pub first_syns_dropped: u64,
    /// Repeated SYNs that a node dropped, the same rule left out.
    pub later_syns_dropped: u64,
    /// SYNs dropped by ipvs.
    pub ipvs_syn_drops: u64,
    /// SYNs dropped because the conntrack table was full (`drop`).
    pub conntrack_full_drops: u64,
    /// `early_drop`.
    pub early_drop: u64,
    /// `invalid`: packets that conntrack could not place.
    pub invalid: u64,
    /// Packets lost on links.
    pub link_losses: u64,
    /// Packets that found no room in the queue in front of a link.
    pub queue_overflows: u64,
    /// Packets sent on links.
    pub packets_sent: u64,
    /// Packets that reached a host.
    pub packets_delivered: u64,
    /// Segments that pods refused by PAWS (`TcpExtPAWSEstab`, `TcpExtPAWSTimewait` from 6.18 on).
    pub paws_rejected: u64,
    /// ACKs that the pods' rate limit held back (`TcpExtTCPACKSkippedTimeWait`).
    pub acks_skipped_time_wait: u64,
    /// Sockets of pods that entered TIME_WAIT (`TcpExtTW`).
    pub time_waits: u64,
    /// `TcpExtTCPTimeWaitOverflow` of pods.
    pub time_wait_overflow: u64,
    /// `TcpExtListenOverflows` of pods.
    pub listen_overflows: u64,
    /// `TcpExtListenDrops` of pods.
    pub listen_drops: u64,
    /// `TcpExtTCPReqQFullDrop` of pods.
    pub req_q_full_drop: u64,
    /// `TcpExtTCPReqQFullDoCookies` of pods.
    pub req_q_full_do_cookies: u64,
    /// `TcpExtSyncookiesSent` of pods.
    pub syncookies_sent: u64,
    /// `TcpExtSyncookiesRecv` of pods.
    pub syncookies_recv: u64,
    /// `TcpExtTCPTimeouts` of the SLB.
    pub slb_timeouts: u64,
    /// `TcpExtTCPSynRetrans` of the SLB.
    pub slb_syn_retrans: u64,
    /// `TcpOutRsts` of the SLB.
    pub slb_out_rsts: u64,
    /// SNAT ports used again for the same pod after an earlier connection, hit or not.
    pub port_reuses: u64,
    /// SLB tuples reopened.
    pub tuple_reopens: u64,
    /// Connections that clients opened to the SLB.
    pub client_connects: u64,
    /// Requests that went to the SLB on a connection that had served others.
    pub client_connection_reuses: u64,
    /// Of these, those that met a close of the SLB and were sent again.
    pub client_keepalive_races: u64,
    /// Operations that clients began, where they may try again.
    pub operations_started: u64,
    /// Operations that ended with a whole answer of status 200.
    pub operations_succeeded: u64,
    /// Of these, after more than one try.
    pub operations_succeeded_after_retry: u64,
    /// Operations whose last try failed.
    pub operations_failed: u64,
    /// Requests that were another try.
    pub retries: u64,
    /// Health checks of the SLB that found their backend well.
    pub checks_passed: u64,
    /// Health checks of the SLB that did not.
    pub checks_failed: u64,
    /// Backends that checks took out of a host's upstream.
    pub check_falls: u64,
    /// Backends that checks put back.
    pub check_rises: u64,
    /// Probes of kubelets that found their pod well.
    pub probes_passed: u64,
    /// Probes of kubelets that did not.
    pub probes_failed: u64,
}

/// Levels at the end of a second, summed over hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauges {
    /// `nf_conntrack_count`: entries in the nodes' tables, the background left out.
    pub conntrack_entries: u64,
    /// Of these, entries whose timeout has not run out.
    pub conntrack_alive: u64,
    /// ipvs connections.
    pub ipvs_entries: u64,
    /// Pod sockets in TIME_WAIT.
    pub pod_time_wait: u64,
    /// SNAT ports in use, the largest (node, pod) pool.
    pub snat_ports_in_use: u64,
}

/// One simulated second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Second {
    /// What happened in it.
    pub counts: Counts,
    /// Levels at its end.
    pub gauges: Gauges,
}

impl Counts {
    /// Every number, in a fixed order.
    pub fn fields_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let Self {
            requests_started,
            by_status,
            causes,
            contributing,
            failed_by_path,
            slow_causes,
            slow_contributing,
            slow_by_path,
            connects_started,
            established,
            timed_out,
            refused,
            abandoned,
            slow,
            attempts,
            time_wait_hits,
            recycled,
            bare_acks,
            no_answer,
            fin_wait2_hits,
            rst_kills,
            exact_rsts,
            syn_retransmits,
            release_paths,
            snat_search_failures,
            snat_evictions,
            insert_failed,
            first_syns_dropped,
            later_syns_dropped,
            ipvs_syn_drops,
            conntrack_full_drops,
            early_drop,
            invalid,
            link_losses,
            queue_overflows,
            packets_sent,
            packets_delivered,
            paws_rejected,
            acks_skipped_time_wait,
            time_waits,
            time_wait_overflow,
            listen_overflows,
            listen_drops,
            req_q_full_drop,
            req_q_full_do_cookies,
            syncookies_sent,
            syncookies_recv,
            slb_timeouts,
            slb_syn_retrans,
            slb_out_rsts,
            port_reuses,
            tuple_reopens,
            client_connects,
            client_connection_reuses,
            client_keepalive_races,
            operations_started,
            operations_succeeded,
            operations_succeeded_after_retry,
            operations_failed,
            retries,
            checks_passed,
            checks_failed,
            check_falls,
            check_rises,
            probes_passed,
            probes_failed,
        } = self;
        let single = [
            requests_started,
            connects_started,
            established,
            timed_out,
            refused,
            abandoned,
            slow,
            attempts,
            time_wait_hits,
            recycled,
            bare_acks,
            no_answer,
            fin_wait2_hits,
            rst_kills,
            exact_rsts,
            syn_retransmits,
            snat_search_failures,
            snat_evictions,
            insert_failed,
            first_syns_dropped,
            later_syns_dropped,
            ipvs_syn_drops,
            conntrack_full_drops,
            early_drop,
            invalid,
            link_losses,
            queue_overflows,
            packets_sent,
            packets_delivered,
            paws_rejected,
            acks_skipped_time_wait,
            time_waits,
            time_wait_overflow,
            listen_overflows,
            listen_drops,
            req_q_full_drop,
            req_q_full_do_cookies,
            syncookies_sent,
            syncookies_recv,
            slb_timeouts,
            slb_syn_retrans,
            slb_out_rsts,
            port_reuses,
            tuple_reopens,
            client_connects,
            client_connection_reuses,
            client_keepalive_races,
            operations_started,
            operations_succeeded,
            operations_succeeded_after_retry,
            operations_failed,
            retries,
            checks_passed,
            checks_failed,
            check_falls,
            check_rises,
            probes_passed,
            probes_failed,
        ];
        single
            .into_iter()
            .chain(by_status)
            .chain(causes)
            .chain(contributing)
            .chain(failed_by_path)
            .chain(slow_causes)
            .chain(slow_contributing)
            .chain(slow_by_path)
            .chain(release_paths)
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, mut rhs: Self) {
        for (sum, number) in self.fields_mut().zip(rhs.fields_mut()) {
            *sum += *number;
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |mut total, counts| {
            total += counts;
            total
        })
    }
}
