//! Links, placement and clusters, as scenarios say them.

use super::*;
use crate::model::distribution::Distribution;
use crate::model::link::{LineConfig, LinkConfig, QueueLimit};
use crate::model::nat::SnatMode;
use crate::units::Bandwidth;

fn with(more: &str) -> String {
    format!("{SMALL}{more}")
}

fn line(bits_per_second: u64, queue: Option<QueueLimit>) -> Option<LineConfig> {
    let bandwidth = Bandwidth::bits_per_second(bits_per_second)?;
    Some(LineConfig { bandwidth, queue })
}

/// The notes beside a plan, but for those about profiles.
fn notes(text: &str) -> Vec<String> {
    let scenario = parse_with("test.toml", text, &[], Limits::default());
    let notes = scenario.unwrap_or_else(|errors| panic!("{errors}")).notes;
    let others = notes.into_iter().filter(|note| !note.starts_with("profile"));
    others.collect()
}

#[test]
fn a_link_is_read_as_written_and_is_plain_without_it() {
    let usual = plan(SMALL, &[]).links;
    for link in [usual.client_slb, usual.slb_node, usual.node_pod, usual.slb_pod] {
        assert!(link.fixed_delay().is_some());
    }
    assert_eq!(usual.node_node, None);
    let links = plan(
        &with(
            "[links.slb_node]\njitter = \"2ms\"\nbandwidth = \"1Gbit/s\"\n\
             [links.node_pod]\njitter = { exponential = { mean = \"1ms\" } }\nbandwidth = \"2.5Gbit/s\"\nqueue = 10\n\
             loss = { burst = { mean = \"1%\", length = 5, inside = 0.5, outside = 0.001 } }\n\
             [links.client_slb]\nbandwidth = \"64kbit/s\"\nqueue = \"none\"\n\
             [links.slb_pod]\nbandwidth = \"9600bit/s\"\nqueue = \"3kB\"\n[links.node_node]\n",
        ),
        &[],
    )
    .links;
    let slb_node = links.slb_node;
    let up_to = Distribution::Uniform {
        min: SimDuration::ZERO,
        max: SimDuration::from_millis(2),
    };
    assert_eq!(slb_node.jitter, up_to);
    assert_eq!(
        slb_node.line,
        line(1_000_000_000, Some(QueueLimit::Packets(1_000)))
    );
    let node_pod = links.node_pod;
    assert_eq!(node_pod.line, line(2_500_000_000, Some(QueueLimit::Packets(10))));
    assert_eq!(node_pod.mean_delay(), SimDuration::from_micros(1_050));
    assert!((node_pod.mean_loss() - 0.01).abs() < 1e-12 && node_pod.loss == 0.001);
    assert_eq!(
        node_pod.burst.map(|burst| (burst.loss, burst.ends)),
        Some((0.5, 0.2))
    );
    assert_eq!(links.client_slb.line, line(64_000, None));
    assert_eq!(links.slb_pod.line, line(9_600, Some(QueueLimit::Octets(3_000))));
    assert_eq!(
        links.node_node,
        Some(LinkConfig::constant(SimDuration::from_micros(100)))
    );
}

#[test]
fn a_host_with_a_link_of_its_own_leaves_out_what_is_as_usual() {
    let plan = plan(
        &with(
            "[links.slb_node]\nloss = 0.01\nbandwidth = \"1Gbit/s\"\nqueue = 7\n\
             [[node]]\nname = \"far\"\nlink = { delay = \"9ms\", bandwidth = \"10Mbit/s\" }\n\
             [[node]]\nname = \"near\"\n[[node]]\nname = \"wide\"\nlink = { bandwidth = \"none\" }\n\
             [pod]\ncount = 2\nlink = { loss = 0.5 }\n",
        ),
        &[],
    );
    let far = plan.nodes[0].link.as_ref().unwrap();
    assert_eq!(far.delay, Distribution::Constant(SimDuration::from_millis(9)));
    assert_eq!(
        (far.loss, far.line),
        (0.01, line(10_000_000, Some(QueueLimit::Packets(7))))
    );
    assert_eq!(plan.nodes[1].link, None);
    assert_eq!(plan.nodes[2].link.as_ref().unwrap().line, None);
    for pod in &plan.pods {
        let link = pod.link.as_ref().unwrap();
        assert_eq!((link.loss, &link.delay), (0.5, &plan.links.node_pod.delay));
    }
}

#[test]
fn pods_run_where_they_are_placed_and_elsewhere_in_turn() {
    let plan = plan(
        &with(
            "[[node]]\nname = \"a\"\nexternal_traffic_policy = \"local\"\n\
             [[node]]\nname = \"worker\"\ncount = 2\nexternal_traffic_policy = \"local\"\n\
             [[pod]]\nname = \"one\"\ncount = 2\nnode_name = \"worker-1\"\n\
             [[pod]]\nname = \"two\"\ncount = 3\nnode_name = \"worker\"\n\
             [[pod]]\nname = \"three\"\ncount = 4\n",
        ),
        &[],
    );
    let homes: Vec<_> = plan.pods.iter().map(|pod| pod.node).collect();
    assert_eq!(homes, [2, 2, 1, 2, 1, 0, 1, 2, 0]);
    // Under the local policy that is who forwards to whom.
    assert_eq!(plan.nodes[0].pods[0], [5, 8]);
    assert_eq!(plan.nodes[2].pods[0], [0, 1, 3, 7]);
}

#[test]
fn nodes_forward_to_the_pods_of_their_own_cluster() {
    let text = with(
        "[[node]]\nname = \"a\"\ncluster = \"blue\"\ncount = 2\n[[node]]\nname = \"b\"\ncluster = \"green\"\n\
         [[pod]]\nname = \"p\"\ncluster = \"blue\"\ncount = 3\n[[pod]]\nname = \"q\"\nnode_name = \"b\"\n",
    );
    let one = plan(&text, &[]);
    let forwards: Vec<_> = one.nodes.iter().map(|node| node.pods[0].clone()).collect();
    assert_eq!(forwards, [vec![0, 1, 2], vec![0, 1, 2], vec![3]]);
    assert_eq!(
        one.pods.iter().map(|pod| pod.node).collect::<Vec<_>>(),
        [0, 1, 0, 2]
    );
    let copies = plan(&text, &["clusters=2"]);
    assert_eq!(copies.nodes[5].pods[0], [7]);
    assert_eq!(copies.nodes[5].cluster, "cluster-1/green");
    assert_eq!(copies.pods[7].node, 5);
    // Names decide nothing.
    let renamed = text.replace("blue", "red");
    assert_eq!(plan(&renamed, &[]).hash, one.hash);
}

#[test]
fn a_second_snat_is_that_of_the_node() {
    let plan = plan(
        &with(
            "[node]\ncount = 2\nsnat = { from_nodes = \"masquerade\", random = \"none\" }\n[links.node_node]\n[pod]\ncount = 2\n",
        ),
        &[],
    );
    assert_eq!(plan.nodes[0].from_nodes, SnatMode::Masquerade(PortChoice::Keep));
    assert_eq!(plan.nodes[0].from_nodes, plan.nodes[0].snat.mode);
}

#[test]
fn what_has_no_effect_is_told() {
    for (more, part) in [
        (
            "[links.slb_node]\nqueue = 5\n",
            "`links.slb_node.queue` has no effect",
        ),
        (
            "[node]\nlink = { queue = 5 }\n",
            "`node.link.queue` has no effect",
        ),
        ("[links.node_node]\n", "`links.node_node` has no effect"),
        (
            "[node]\ncount = 2\nexternal_traffic_policy = \"local\"\n[pod]\ncount = 2\n[links.node_node]\n",
            "`links.node_node` has no effect",
        ),
        (
            "[node]\nsnat = { from_nodes = \"masquerade\" }\n",
            "`node.snat.from_nodes` has no effect",
        ),
        (
            "[slb]\nbackends = \"pod\"\n[node]\nlink = { delay = \"1s\" }\n",
            "`node.link` has no effect",
        ),
    ] {
        let notes = notes(&with(more));
        assert!(notes.iter().any(|note| note.contains(part)), "{more}: {notes:?}");
    }
    let placed = with("[node]\ncount = 2\n[pod]\ncount = 2\n[links.node_node]\n");
    assert!(notes(&placed).is_empty(), "{:?}", notes(&placed));
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    for (more, message) in [
        (
            "[links.slb_node]\nbandwidth = 5\n",
            "`links.slb_node.bandwidth` cannot be",
        ),
        (
            "[links.slb_node]\nbandwidth = \"5\"\n",
            "`links.slb_node.bandwidth` is not what it should be",
        ),
        (
            "[links.slb_node]\nbandwidth = \"0Gbit/s\"\n",
            "`links.slb_node.bandwidth` is not what it should be",
        ),
        (
            "[links.slb_node]\nbandwidth = \"999bit/s\"\n",
            "`links.slb_node.bandwidth` is not what it should be",
        ),
        (
            "[links.slb_node]\nbandwidth = \"11Tbit/s\"\n",
            "`links.slb_node.bandwidth` is not what it should be",
        ),
        (
            "[links.slb_node]\nbandwidth = \"1GB/s\"\n",
            "`links.slb_node.bandwidth` is not what it should be",
        ),
        (
            "[links.slb_node]\nqueue = -1\n",
            "`links.slb_node.queue` cannot be",
        ),
        (
            "[links.slb_node]\nqueue = \"5 packets\"\n",
            "`links.slb_node.queue` is not what it should be",
        ),
        (
            "[links.slb_node]\nqueue = 1.5\n",
            "`links.slb_node.queue` cannot be",
        ),
        (
            "[links.slb_node]\njitter = -1\n",
            "`links.slb_node.jitter` cannot be",
        ),
        (
            "[links.slb_node]\nloss = { burst = { mean = 0.1 } }\n",
            "`links.slb_node.loss.burst` lacks `length`",
        ),
        (
            "[links.slb_node]\nloss = { burst = { length = 5 } }\n",
            "`links.slb_node.loss.burst` lacks `mean`",
        ),
        (
            "[links.slb_node]\nloss = { burst = 5 }\n",
            "`links.slb_node.loss.burst` cannot be",
        ),
        (
            "[links.slb_node]\nloss = { bursts = { mean = 0.1, length = 5 } }\n",
            "there is no key `bursts` in `links.slb_node.loss`",
        ),
        (
            "[links.slb_node]\nloss = { burst = { mean = 0.1, length = 0.5 } }\n",
            "`links.slb_node.loss.burst` is not what it should be",
        ),
        (
            "[links.slb_node]\nloss = { burst = { mean = 0.1, length = nan } }\n",
            "`links.slb_node.loss.burst` is not what it should be",
        ),
        (
            "[links.slb_node]\nloss = { burst = { mean = 1.5, length = 5 } }\n",
            "`links.slb_node.loss.burst` is not what it should be",
        ),
        (
            "[links.slb_node]\nloss = { burst = { mean = 0.6, length = 1 } }\n",
            "`links.slb_node.loss.burst` cannot be",
        ),
        (
            "[links.slb_node]\nloss = { burst = { mean = 0.2, length = 5, inside = 0.1 } }\n",
            "`links.slb_node.loss.burst` cannot be",
        ),
        ("[links.node_nodes]\n", "there is no key `node_nodes` in `links`"),
        ("[pod]\nnode_name = \"nod\"\n", "there is no node `nod`"),
        ("[pod]\ncluster = \"x\"\n", "there is no cluster `x`"),
        (
            "[[node]]\ncluster = \"x\"\n[[node]]\ncluster = \"y\"\n[pod]\n",
            "`pod.cluster` is missing",
        ),
        (
            "[[node]]\nname = \"a\"\ncluster = \"x\"\n[[node]]\nname = \"b\"\ncluster = \"y\"\n[pod]\nnode_name = \"a\"\ncluster = \"y\"\n",
            "the node `a` is not in this cluster",
        ),
        (
            "[node]\ncount = 2\nsnat = { mode = \"none\" }\n[pod]\ncount = 2\n[links.node_node]\n",
            "a pod of another node would answer past the node that the SLB connected to",
        ),
    ] {
        let told = messages(&with(more), &[]);
        assert!(
            told.iter().any(|its| its.starts_with(message)),
            "{more}: {told:?}"
        );
    }
}

#[test]
fn a_population_comes_to_the_hosts_of_its_slb_cluster() {
    let text = "duration = \"5s\"\n[[clients]]\nrate = \"9/s\"\nslb = \"b\"\n[[clients]]\nrate = \"9/s\"\n\
                [[slb.cluster]]\nname = \"a\"\nhosts = 2\n[[slb.cluster]]\nname = \"b\"\nhosts = 3\n";
    let plan = plan(text, &[]);
    assert_eq!(plan.slb.hosts.len(), 5);
    let hosts: Vec<_> = plan
        .clients
        .iter()
        .map(|client| plan.slb.hosts_of(client))
        .collect();
    assert_eq!(hosts, [2..5, 0..2]);
    for (sets, told) in [
        (&["slb.hosts=3"][..], "`slb.hosts` is said twice"),
        (&["clients.0.slb=\"c\""], "there is no SLB cluster `c`"),
    ] {
        let messages = messages(text, sets);
        assert!(
            messages.iter().any(|message| message.contains(told)),
            "{messages:?}"
        );
    }
    let none = messages("duration = \"5s\"\n[clients]\nrate = \"9/s\"\nslb = \"c\"\n", &[]);
    assert!(none[0].contains("there is no SLB cluster `c`"), "{none:?}");
}
