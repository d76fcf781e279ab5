use super::*;
use crate::scenario;

fn topology(text: &str) -> Topology {
    Topology::of(&scenario::parse("test", text, &[]).unwrap_or_else(|errors| panic!("{errors}")))
}

const CLIENTS: &str = "duration = \"10s\"\n[clients]\narrivals = \"poisson\"\nrate = \"10/s\"\n";

#[test]
fn under_the_cluster_policy_every_node_is_a_backend_and_reaches_every_pod() {
    let topology = topology(&format!(
        "{CLIENTS}[slb]\nhosts = 2\n[node]\ncount = 3\n[pod]\ncount = 2\n"
    ));
    // 1 population, 2 SLB hosts, 3 nodes, 2 pods; links 1x2 + 2x3 + 3x2.
    assert_eq!(topology.size(), (8, 14));
    assert_eq!(topology.backends(0).len(), 3);
}

#[test]
fn under_the_local_policy_a_node_without_pods_is_no_backend_and_a_pod_leaves_through_its_own_node() {
    let text =
        format!("{CLIENTS}[slb]\n[node]\ncount = 3\nexternal_traffic_policy = \"local\"\n[pod]\ncount = 2\n");
    let topology = topology(&text);
    assert_eq!(topology.backends(0).len(), 2);
    assert_eq!((topology.gateway(0), topology.gateway(1)), (0, 1));
}

#[test]
fn the_graph_names_every_host_and_link_once() {
    let dot = topology(&format!("{CLIENTS}[slb]\n[node]\n[pod]\nname = \"web-0\"\n")).to_dot();
    assert_eq!(dot.matches("label=\"node\\n").count(), 1, "{dot}");
    assert_eq!(dot.matches(" -- ").count(), 3, "{dot}");
    assert!(dot.contains("web-0"));
}
