//! Every packaged table agrees in every row, and one changed cell is a miss.

use std::collections::BTreeMap;

use super::super::{Judgement, Source};
use super::*;

fn judged(file: &File) -> Option<Judgement> {
    match Kind::of(file.path()) {
        Kind::Table(judge) => Some(judge(file).unwrap_or_else(Judgement::of_fault)),
        _ => None,
    }
}

fn packaged(path: &str) -> File {
    let source = Source::packaged();
    let found = source.files().iter().find(|file| file.path() == path);
    found.unwrap_or_else(|| panic!("{path} is not packaged")).clone()
}

fn text(file: &File) -> String {
    String::from_utf8(file.bytes().to_vec()).expect("text")
}

#[test]
fn every_packaged_table_agrees_in_every_row() {
    let mut all = Judgement::default();
    for file in Source::packaged().files() {
        all.append(judged(file).unwrap_or_default());
    }
    assert_eq!(all.faults, []);
    assert_eq!(all.not_judged, []);
    for table in &all.tables {
        assert_eq!(table.misses, [], "{}", table.name);
    }
    // So that no row gets lost: rows, and rows left out.
    let counts: BTreeMap<_, _> = all.tables.iter().map(|t| (t.name, (t.rows, t.skipped))).collect();
    let expected = BTreeMap::from([
        ("a0_tsval_offsets", (12, 0)),
        ("a1_ack_ratelimit", (120, 0)),
        // Three answers that the laboratory missed on 5.10.
        ("a1_direct_matrix", (5037, 3)),
        ("a1_other_pod_states", (126, 0)),
        ("a1_rst_kill", (540, 0)),
        ("a1_tw_timer_restart", (10, 0)),
        // Two with an error.
        ("a2_through_node", (262, 2)),
        ("c2_single_port_clash", (623, 0)),
        ("d_states_timeouts", (352, 0)),
        ("d_sysctls", (27, 0)),
        ("d_vanish", (28, 0)),
        ("ipvs_conn_reuse", (60, 0)),
        ("ipvs_env", (10, 0)),
        ("ipvs_release", (62, 0)),
        ("ipvs_states", (130, 0)),
        ("ipvs_stray_rst", (66, 0)),
        ("p_ports", (154, 0)),
        // 6.18 without timestamps.
        ("s_syn_retry", (604, 223)),
    ]);
    assert_eq!(counts, expected);
}

/// Columns and what is written into them, one at a time.
type Changes = &'static [(&'static str, &'static str)];

/// The misses of a CSV file after one cell was changed.
fn misses_after(path: &str, line: usize, column: &str, cell: &str) -> usize {
    let file = packaged(path);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file.bytes());
    let headers = reader.headers().expect("headers").clone();
    let place = headers
        .iter()
        .position(|name| name == column)
        .expect("the column");
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(&headers).expect("written");
    for (i, record) in reader.records().enumerate() {
        let mut cells: Vec<String> = record.expect("a row").iter().map(str::to_owned).collect();
        if i + 2 == line {
            assert_ne!(cells[place], cell, "{path}: {column}: no change");
            cell.clone_into(&mut cells[place]);
        }
        writer.write_record(&cells).expect("written");
    }
    let bytes = writer.into_inner().expect("flushed");
    misses(&File::new(path, bytes))
}

fn misses(file: &File) -> usize {
    let judgement = judged(file).expect("a table");
    assert_eq!(judgement.faults, [], "{}", file.path());
    judgement.tables.iter().map(|table| table.misses.len()).sum()
}

#[test]
fn one_changed_cell_is_one_miss_in_whatever_column() {
    #[rustfmt::skip]
    let table: [(&str, usize, Changes); 17] = [
        ("A/a1_direct_matrix.csv", 2, &[("answer", "ACK"), ("seq_minus_tw_snd_nxt", "959709"),
            ("ack_minus_tw_rcv_nxt", "0"), ("ack_minus_synseq", "0"), ("seq_off", "-1")]),
        ("A/a1_direct_matrix.csv", 4, &[("repeat_syn_at_once", "ACK"), ("syn_after_rst", "ACK"),
            ("syn_after_rst_seq_minus_tw_snd_nxt", "65537"), ("rfc1337", "1")]),
        ("4.19/A/a1_direct_matrix.csv", 2, &[("seq_minus_tw_snd_nxt", "65537")]),
        ("A/a1_ack_ratelimit.csv", 2, &[("first", "none"), ("second", "ACK"), ("gap_s", "0.51")]),
        ("A/a1_rst_kill.csv", 2, &[("answer_to_rst", "ACK"), ("killed", "1"),
            ("later_refusable_syn_answer", "SYNACK"), ("rst_seq_off", "0")]),
        ("A/a1_other_pod_states.csv", 2, &[("answer", "RST"), ("seq_minus_snd_nxt", "1"),
            ("ack_minus_rcv_nxt", "1"), ("syn_after_rst", "none")]),
        ("A/a2_through_node.csv", 2, &[("pod_saw", "in:S out:SA"), ("slb_saw", "none"),
            ("ack_minus_tw_rcv_nxt", "1"), ("seq_minus_tw_snd_nxt", "1"), ("ct_after_syn", "SYN_RECV/59"),
            ("ct_after_syn", "SYN_SENT/119/UNREPLIED"), ("rst_reached_pod", "0"), ("ct_after_rst", "CLOSE/6"),
            ("tw_after_rst", "1"), ("syn_retrans_slb_saw", "none"), ("pod_saw3", "in:S"),
            ("ct_after_retrans", "-"), ("rfc1337", "1"), ("seq_off", "1")]),
        ("C/c2_single_port_clash.csv", 2, &[("conntrack_state", "SYN_RECV"), ("snat_port", "45000"),
            ("forwarded", "1"), ("old_entry_still_there", "0"), ("d_insert_failed", "0"), ("d_drop", "0")]),
        ("5.10/C/c2q_single_port_clash_5.10.0-32-amd64.csv", 9, &[("forwarded", "1"), ("kernel", "6.18.44")]),
        ("D/d_states_timeouts.csv", 11, &[("packet_result", "dropped"), ("state", "CLOSE"),
            ("timeout_left_s", "116"), ("flag", "")]),
        ("D/d_vanish.csv", 2, &[("last_state", "CLOSE"), ("timeout_at_last_packet_s", "116"),
            ("vanished_after_s", "122"), ("vanished_after_s", "118")]),
        ("ipvs/ipvs_states_5.10.0-32-amd64.csv", 8, &[("packet", "to_pod1"), ("ipvs_state_expire", "FIN_WAIT/01:56"),
            ("ipvs_state_expire", "TIME_WAIT/01:59"), ("conntrack_state_timeout", "FIN_WAIT/116")]),
        ("4.19/ipvs/ipvs_conn_reuse_4.19.108.csv", 9, &[("first_syn", "to_pod1"), ("retransmitted_syn_1s", "NOT forwarded"),
            ("state_before", "CLOSE/00:09"), ("ct_before", "TIME_WAIT/119"), ("retrans_snat_port_same", "False"),
            ("state_after", "SYN_RECV/00:50"), ("ct_after", "SYN_SENT/119"), ("expire_nodest_conn", "0")]),
        ("4.19/ipvs/ipvs_release_4.19.108.csv", 9, &[("ipvs_state_first", "TIME_WAIT/01:59"),
            ("ipvs_entry_gone_after_s", "118.0"), ("ipvs_entry_gone_after_s", ">165"),
            ("conntrack_entry_gone_after_s", "63.4"), ("ipvs_state_at_end", "FIN_WAIT/00:10")]),
        ("4.19/ipvs/ipvs_release_4.19.108.csv", 10, &[("conntrack_1s_before_ipvs_end", "FIN_WAIT/50"),
            ("conntrack_state_at_end", "FIN_WAIT/50")]),
        ("6.18/rst/ipvs_stray_rst_6.18.44-fc-v669.csv", 3, &[("pod_saw", "nothing"), ("rst_was_snated", "0"),
            ("ipvs_after", "CLOSE/00:09"), ("conntrack_after", "TIME_WAIT/119"), ("conntrack_gone_after_s", ">14"),
            ("conntrack_just_before_gone", "TIME_WAIT/109"), ("pod_time_wait_alive_at_14s", "1"),
            ("other_tuple_got_the_same_snat_port", "0"), ("pod_answer_to_it", "ACK"), ("rst_seq_minus_rcv_nxt", "1")]),
        ("6.18/s_syn_retry_6.18.44-fc-v669_ts1.csv", 3, &[("client_sent", "A"), ("nth_syn", "2"), ("seq", "1750403181"),
            ("ack", "5"), ("tsval", "2192827421")]),
    ];
    for (path, line, changes) in table {
        for (column, cell) in changes {
            assert_eq!(
                misses_after(path, line, column, cell),
                1,
                "{path}:{line}: {column} {cell}"
            );
        }
    }
}

#[test]
fn a_late_packet_of_a_caller_and_one_too_many_are_misses() {
    let path = "6.18/s_syn_retry_6.18.44-fc-v669_ts1.csv";
    assert_eq!(misses_after(path, 8, "t_since_first_syn_s", "2.2"), 1);
    let original = text(&packaged(path));
    let lines: Vec<&str> = original.lines().collect();
    let ends = lines
        .iter()
        .position(|line| line.contains(",bare_ack_all,1,1,"))
        .expect("the second repetition");
    let without = [&lines[..ends - 1], &lines[ends..]].concat().join("\n");
    assert_eq!(misses(&File::new(path, without.into_bytes())), 1);
}

#[test]
fn a_port_out_of_its_order_is_a_miss_of_its_group() {
    for (path, port) in [
        ("4.19/P/p_ports_4.19.108.csv", "56224"),
        ("5.10/P/p_ports_5.10.0-32-amd64.csv", "41001"),
        ("6.18/p_ports_6.18.44-fc-v669.csv", "60000"),
    ] {
        assert!(misses_after(path, 6, "src_port", port) >= 1, "{path}");
    }
    // The odd ports of bind() given out as connect()'s.
    assert!(misses_after("6.18/p_ports_6.18.44-fc-v669.csv", 2000, "mode", "auto") >= 1);
}

#[test]
fn a_changed_word_of_a_json_or_text_file_is_a_miss() {
    for (path, from, to) in [
        ("A/a0_tsval_offsets_6.18.json", "3966874685", "1947134590"),
        (
            "4.19/A/a0_tsval_offsets_4.19.108.json",
            "2446500603",
            "1446500603",
        ),
        ("A/a1_tw_timer_restart.json", "\"59\": 5", "\"59\": 4"),
        (
            "D/d_sysctls.txt",
            "tcp_timeout_close = 10",
            "tcp_timeout_close = 12",
        ),
        ("D/d_sysctls.txt", "tcp_loose = 1", "tcp_loose = 0"),
        (
            "ipvs/ipvs_env_5.10.0-32-amd64.json",
            "conn_reuse_mode = 1",
            "conn_reuse_mode = 0",
        ),
        ("ipvs/ipvs_env_5.10.0-32-amd64.json", "900 120", "900 60"),
    ] {
        let original = text(&packaged(path));
        let changed = original.replacen(from, to, 1);
        assert_ne!(changed, original, "{path}: {from}");
        assert_eq!(
            misses(&File::new(path, changed.into_bytes())),
            1,
            "{path}: {from}"
        );
    }
}

#[test]
fn the_rows_of_one_kernel_are_misses_of_another_where_they_differ() {
    for (path, folder, table) in [
        ("C/c2_single_port_clash.csv", "5.10/C/", "no eviction"),
        ("A/a1_direct_matrix.csv", "4.19/A/", "ordinary sequence numbers"),
        ("A/a0_tsval_offsets_6.18.json", "5.10/A/", "offsets of pairs"),
    ] {
        let name = path.rsplit('/').next().expect("a name");
        let moved = File::new(format!("{folder}{name}"), packaged(path).bytes().to_vec());
        assert!(misses(&moved) >= 1, "{table}");
    }
}

#[test]
fn what_cannot_be_read_is_a_fault_that_says_where() {
    for (path, from, to, says) in [
        (
            "A/a1_rst_kill.csv",
            "rst_seq_off",
            "distance",
            "no column \"rst_seq_off\"",
        ),
        (
            "A/a1_rst_kill.csv",
            "0,0,-100000",
            "0,2,-100000",
            "line 2: tw_has_ts: expected 0 or 1",
        ),
        (
            "A/a2_through_node.csv",
            ",no_ts,",
            ",odd,",
            "case: expected no_ts",
        ),
        (
            "D/d_states_timeouts.csv",
            "SLB SYN",
            "SLB dance",
            "step: expected a packet",
        ),
        (
            "A/a1_tw_timer_restart.json",
            "exact_ack",
            "wave",
            "/alive/wave: expected none",
        ),
        (
            "A/a0_tsval_offsets_6.18.json",
            "tcp_timestamps=2",
            "tcp_timestamps=7",
            "expected tcp_timestamps=0, 1 or 2",
        ),
        (
            "5.10/P/p_ports_5.10.0-32-amd64.csv",
            "bind0",
            "bind1",
            "mode: expected auto",
        ),
        (
            "ipvs/ipvs_env_5.10.0-32-amd64.json",
            "5.10.0-32-amd64",
            "2.6.32",
            "has no profile",
        ),
    ] {
        let changed = text(&packaged(path)).replacen(from, to, 1);
        let judgement = judged(&File::new(path, changed.into_bytes())).expect("a table");
        assert_eq!(judgement.tables, [], "{path}");
        let [fault] = &judgement.faults[..] else {
            panic!("{path}: {:?}", judgement.faults);
        };
        assert!(
            fault.to_string().starts_with(path) && fault.what.contains(says),
            "{fault}"
        );
    }
}

#[test]
fn a_syn_in_each_ipvs_state_is_read_from_whatever_columns_there_are() {
    let judge = |text: &str| {
        let file = File::new("5.10/ipvs/ipvs_syn_reuse_states_x.csv", text.as_bytes().to_vec());
        judged(&file).expect("a table")
    };
    let reuse = "kernel,conn_reuse_mode,expire_nodest_conn,vs_conntrack,ipvs_state,state_before,first_syn,\
        first_syn_snat_port_same,syn_1s,syn_1s_snat_port_same,syn_2s,state_after\n\
        4.19.108,1,1,1,TIME_WAIT,TIME_WAIT/01:59,NOT forwarded,,to_pod2,False,to_pod2,SYN_RECV/00:59\n\
        4.19.108,0,1,1,TIME_WAIT,TIME_WAIT/01:59,to_pod1,False,,,,\n\
        5.10.0,1,1,1,ESTABLISHED,ESTABLISHED/14:59,to_pod1,True,to_pod1,True,to_pod1,ESTABLISHED/14:59\n";
    let table = &judge(reuse).tables[0];
    // An empty `state_after` is no listing: what was not looked at is no row of `-`.
    assert_eq!((table.rows, table.agree), (3, 3), "{:?}", table.misses);
    let other = "state,syn_at_once,port_changed_at_once\nCLOSE,forwarded,1\nCLOSE,dropped,\n";
    let table = &judge(other).tables[0];
    assert_eq!((table.rows, table.agree), (2, 1), "{:?}", table.misses);
    for (text, says) in [
        ("a,b\n1,2\n", "no column names a state"),
        ("state,b\nCLOSE,2\n", "no column says what became"),
        (
            "state,first_syn\nCLOSE,perhaps\n",
            "line 2: first_syn: \"perhaps\" is no outcome",
        ),
    ] {
        let judgement = judge(text);
        assert!(
            judgement.tables.is_empty() && judgement.not_judged[0].why.contains(says),
            "{text}"
        );
    }
}
