//! What the laboratory sent in each of its named cases, and to bring an entry into a state.

/// What to say of a name that is not here.
pub const EXPECTED: &str = "a case or state that the laboratory's README names";

const OPENED: [&str; 3] = ["SLB SYN", "pod SYN-ACK", "SLB ACK"];
const ASKED: [&str; 4] = ["SLB SYN", "pod SYN-ACK", "SLB ACK", "SLB request"];
const ANSWERED: [&str; 6] = [
    "SLB SYN",
    "pod SYN-ACK",
    "SLB ACK",
    "SLB request",
    "pod response",
    "SLB ACK",
];

/// The steps of a case; `None`: no such case. A remark in brackets after the name belongs to the name.
pub fn steps(case: &str) -> Option<Vec<&'static str>> {
    let (before, more): (&[&'static str], &[&'static str]) = match case {
        "half_open" | "half_open_syn_only" | "half_open(SYN only)" | "SYN_SENT" => (&OPENED[..1], &[]),
        "synack_only" | "syn_synack_only" | "SYN_RECV" => (&OPENED[..2], &[]),
        "syn_then_pod_rst(closed port)" => (&OPENED[..1], &["pod RST"]),
        "ESTABLISHED" => (&OPENED, &[]),
        "CLOSE_client_rst" => (&OPENED, &["SLB RST"]),
        "CLOSE_pod_rst" => (&OPENED, &["pod RST"]),
        "request_unanswered" => (&ASKED, &[]),
        "pod_closes_first_fin_with_data" => (&ASKED, &["pod response+FIN", "SLB FIN+ACK", "pod ACK"]),
        "established" | "established_idle" => (&ANSWERED, &[]),
        "slb_rst" | "slb_rst_established" | "CLOSE" => (&ANSWERED, &["SLB RST"]),
        "pod_rst" | "pod_rst_established" => (&ANSWERED, &["pod RST"]),
        "pod_closes_first" | "TIME_WAIT" => (&ANSWERED, &["pod FIN", "SLB ACK", "SLB FIN", "pod ACK"]),
        "pod_closes_first_then_slb_rst" | "time_wait_then_slb_rst" => (
            &ANSWERED,
            &["pod FIN", "SLB ACK", "SLB FIN", "pod ACK", "SLB RST"],
        ),
        "slb_closes_first" => (&ANSWERED, &["SLB FIN", "pod ACK", "pod FIN", "SLB ACK"]),
        "simultaneous_close" => (&ANSWERED, &["pod FIN", "SLB FIN", "pod ACK", "SLB ACK"]),
        "pod_fin_then_slb_rst" => (&ANSWERED, &["pod FIN", "SLB ACK", "SLB RST"]),
        "pod_fin_only" | "pod_fin_only(slb silent)" | "pod_fin_slb_silent" | "FIN_WAIT" => {
            (&ANSWERED, &["pod FIN"])
        }
        "pod_fin_slb_ack(slb never closes)" | "pod_fin_slb_ack_only" | "CLOSE_WAIT" => {
            (&ANSWERED, &["pod FIN", "SLB ACK"])
        }
        "slb_fin_only" | "slb_fin_only(pod silent)" => (&ANSWERED, &["SLB FIN"]),
        "pod_fin_slb_fin_no_last_ack" | "last_ack_pod_silent" | "LAST_ACK" => {
            (&ANSWERED, &["pod FIN", "SLB ACK", "SLB FIN"])
        }
        "refused_syn(bare ACK, RST)" | "syn_bare_ack_rst(refused SYN)" => {
            (&OPENED[..1], &["pod bare ACK", "SLB RST"])
        }
        "refused_syn_rst_lost(bare ACK only)" => (&OPENED[..1], &["pod bare ACK"]),
        _ => return None,
    };
    Some([before, more].concat())
}

/// The steps that bring an ipvs connection into the state of that name; `None`: none do in NAT mode.
pub fn steps_into_ipvs(state: &str) -> Option<Vec<&'static str>> {
    match state {
        "SYN_RECV" => steps("half_open"),
        "CLOSE_WAIT" => steps("slb_fin_only"),
        "ESTABLISHED" | "FIN_WAIT" | "TIME_WAIT" | "CLOSE" => steps(state),
        _ => None,
    }
}
