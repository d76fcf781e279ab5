//! `fivetuple topology`: what is drawn, that it can be read, and how it fails.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use fivetuple::plot::text_width;
use fivetuple::{scenario, topology};

fn fivetuple(arguments: &[&str]) -> Output {
    Command::new(snapbox::cmd::cargo_bin!("fivetuple"))
        .args(arguments)
        .output()
        .expect("the program was built for this test")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

const INCIDENT: &str = "scenarios/incident-499.toml";

/// Scenarios that differ in every way in which a drawing may.
fn scenarios() -> Vec<(String, String)> {
    let mut all: Vec<_> = std::fs::read_dir("scenarios")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    all.sort();
    let head = "duration = \"1s\"\n[[clients]]\nname = \"load\"\nrate = \"350/s\"\n";
    let long = "n".repeat(63);
    for (name, more) in [
        ("least", String::new()),
        ("many of all", "[slb]\nhosts = 400\n[node]\ncount = 40\n[pod]\ncount = 90\n[links.node_node]\njitter = \"1ms\"\n".into()),
        ("clusters", "[slb]\nhosts = 5\n[node]\ncount = 2\n[pod]\ncount = 4\n".into()),
        ("long names", format!("[[node]]\nname = \"{long}\"\n[[pod]]\nname = \"{long}\"\ncount = 7\n")),
        ("every link", "[links.client_slb]\nloss = { burst = { mean = 0.01, length = 7.25 } }\nbandwidth = \"1Gbit/s\"\n\
            [links.slb_node]\njitter = { lognormal = { median = \"1ms\", sigma = 0.5 } }\nqueue = \"3kB\"\nbandwidth = \"64kbit/s\"\n\
            [links.node_node]\nloss = 1e-7\n[node]\ncount = 2\nlink = { delay = \"9ms\", loss = 0.5, bandwidth = \"1Mbit/s\" }\n\
            [pod]\ncount = 2\nlink = { delay = { exponential = { mean = \"7ms\" } } }\n".into()),
        ("unequal clusters", "[[node]]\ncluster = \"a\"\nname = \"a\"\ncount = 2\n[[node]]\ncluster = \"b\"\nname = \"b\"\nproxy = \"ipvs\"\n\
            [[pod]]\nname = \"p\"\ncluster = \"a\"\ncount = 3\n[[pod]]\nname = \"q\"\ncluster = \"b\"\n".into()),
        ("local policy", "[node]\ncount = 3\nexternal_traffic_policy = \"local\"\n[pod]\ncount = 2\n".into()),
    ] {
        all.push((name.to_owned(), format!("{head}{more}")));
    }
    let mut many = head.to_owned();
    for number in 0..30 {
        write!(
            many,
            "[[clients]]\nname = \"c{number}\"\nrate = \"1/s\"\n[[service]]\nname = \"s{number}\"\n"
        )
        .unwrap();
        write!(
            many,
            "[[pod]]\nname = \"p{number}\"\nservice = \"s{number}\"\nservice_time = \"{number}ms\"\n"
        )
        .unwrap();
        write!(
            many,
            "[[node]]\nname = \"n{number}\"\nip = \"10.0.9.{}\"\nsnat.to_ports = \"2000-{}\"\n",
            number + 1,
            number + 3_000
        )
        .unwrap();
    }
    all.push(("thirty of each".into(), many));
    all
}

fn drawn(name: &str, text: &str, sets: &[&str]) -> String {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
    let plan = scenario::parse(name, text, &sets).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    topology::svg(&plan)
}

/// A rectangle: left, top, right, bottom.
#[derive(Debug, Clone, Copy)]
struct Extent(f64, f64, f64, f64);

impl Extent {
    fn overlaps(self, other: Self) -> bool {
        self.0 < other.2 && other.0 < self.2 && self.1 < other.3 && other.1 < self.3
    }
    fn holds(self, other: Self) -> bool {
        self.0 <= other.0 && self.1 <= other.1 && other.2 <= self.2 && other.3 <= self.3
    }
}

/// The elements of a kind, each up to where the next tag begins.
fn elements<'s>(svg: &'s str, kind: &str) -> Vec<&'s str> {
    let begin = format!("<{kind} ");
    let inside = svg.split(begin.as_str()).skip(1);
    inside
        .map(|rest| rest.split("</").next().unwrap().split("\n<").next().unwrap())
        .collect()
}

fn attribute<'e>(element: &'e str, name: &str) -> Option<&'e str> {
    let tag = element.split('>').next().unwrap();
    let begin = format!("{name}=\"");
    let at = tag
        .match_indices(begin.as_str())
        .find(|(at, _)| *at == 0 || tag.as_bytes()[at - 1] == b' ')?;
    tag[at.0 + begin.len()..].split('"').next()
}

fn number(element: &str, name: &str) -> f64 {
    let value = attribute(element, name).unwrap_or_else(|| panic!("no {name} in {element}"));
    value.parse().unwrap()
}

/// Every text with the room that it takes.
fn texts(svg: &str) -> Vec<(String, Extent)> {
    let of = |element: &&str| {
        let text = element.split_once('>').unwrap().1.trim().to_owned();
        let size = number(element, "font-size");
        let bold = if attribute(element, "font-weight").is_some() {
            1.15
        } else {
            1.0
        };
        let width = text_width(&text, size) * bold;
        let x = number(element, "x");
        let left = if attribute(element, "text-anchor").is_some() {
            x - width / 2.0
        } else {
            x
        };
        let y = number(element, "y");
        (text, Extent(left, y - size * 0.76, left + width, y + size * 0.24))
    };
    elements(svg, "text").iter().map(of).collect()
}

fn rectangles(svg: &str) -> Vec<Extent> {
    let of = |element: &&str| {
        let (x, y) = (number(element, "x"), number(element, "y"));
        Extent(x, y, x + number(element, "width"), y + number(element, "height"))
    };
    elements(svg, "rect").iter().map(of).collect()
}

#[test]
fn no_text_overlaps_another_or_leaves_the_picture() {
    for (name, text) in scenarios() {
        let sets: &[&[&str]] = &[
            &[],
            &["clusters=2"],
            &["clusters=7"],
            &["slb.backends=pod"],
            &["slb.l7=false"],
        ];
        for sets in sets {
            if name == "thirty of each" && sets.len() == 1 && sets[0].starts_with("clusters") {
                continue; // The nodes' addresses are given.
            }
            if text.contains("ip = ") && sets.first().is_some_and(|set| set.starts_with("clusters")) {
                continue;
            }
            let svg = drawn(&name, &text, sets);
            let (texts, rectangles) = (texts(&svg), rectangles(&svg));
            assert!(texts.len() > 10, "{name}");
            let page = rectangles[0];
            for (place, (one, its)) in texts.iter().enumerate() {
                assert!(page.holds(*its), "{name} {sets:?}: `{one}` leaves the picture");
                for (other, others) in &texts[place + 1..] {
                    assert!(
                        !its.overlaps(*others),
                        "{name} {sets:?}: `{one}` lies over `{other}`"
                    );
                }
                // A text is in a box or outside it, never across its border.
                for card in &rectangles {
                    assert!(
                        !card.overlaps(*its) || card.holds(*its),
                        "{name} {sets:?}: `{one}` crosses a border"
                    );
                }
            }
        }
    }
}

#[test]
fn equal_hosts_are_one_card_and_unequal_ones_are_not() {
    let incident = std::fs::read_to_string(INCIDENT).unwrap();
    let svg = drawn("incident-499", &incident, &[]);
    for text in [
        "64 SLB hosts",
        "100.117.95.129 to .192",
        "NodePort 30718 web",
        "externalTrafficPolicy: Cluster",
        "MASQUERADE --random-fully",
        "10.1.72.105, port 7001",
        "client_slb",
        "250us",
    ] {
        assert!(texts(&svg).iter().any(|(its, _)| its == text), "{text}");
    }
    let clusters = |n: usize| {
        let set = format!("clusters={n}");
        let svg = drawn("incident-499", &incident, &[&set]);
        let titles: Vec<_> = texts(&svg).into_iter().map(|(text, _)| text).collect();
        titles
    };
    assert_eq!(
        clusters(3)
            .iter()
            .filter(|text| text.starts_with("cluster-"))
            .count(),
        3
    );
    assert!(clusters(20).contains(&"20 clusters alike, cluster-0 to cluster-19".to_owned()));
    let head =
        "duration = \"1s\"\n[clients]\nrate = \"1/s\"\n[[node]]\nname = \"a\"\ncount = 9\n[pod]\ncount = 9\n";
    let folded = drawn("nine", head, &[]);
    assert!(folded.contains("9 nodes") && folded.contains("9 pods"));
    let mixed = format!("{head}[[node]]\nname = \"b\"\nproxy = \"ipvs\"\n");
    let mixed = drawn("ten", &mixed, &[]);
    assert!(mixed.contains("9 nodes") && mixed.contains("kube-proxy: ipvs"));
}

#[test]
fn a_pod_of_another_node_is_drawn_behind_that_node() {
    let text = "duration = \"1s\"\n[clients]\nrate = \"1/s\"\n[node]\ncount = 2\n[pod]\ncount = 2\n[links.node_node]\ndelay = \"0.2ms\"\n";
    let overlay = drawn("overlay", text, &[]);
    let dashed = overlay.matches("stroke-dasharray").count();
    assert_eq!(dashed, 1, "between the two nodes");
    assert!(overlay.contains("on node-1") && overlay.contains("node_node"));
    let local = text.replace("[pod]", "external_traffic_policy = \"local\"\n[pod]");
    let local = drawn("local", &local, &[]);
    assert_eq!(
        local.matches("stroke-dasharray").count(),
        0,
        "no node forwards to another's pod"
    );
    let folded = drawn("folded", &text.replace("count = 2", "count = 9"), &[]);
    assert!(folded.contains("each other's pods by node_node") || folded.contains("each other&apos;s"));
    let without = text.split("[links").next().unwrap();
    let flat = drawn("flat", without, &[]);
    assert_eq!(flat.matches("stroke-dasharray").count(), 0);
    let dot = stdout(&dot_of(text)).to_owned();
    assert_eq!(dot.matches("node_node").count(), 1, "{dot}");
    assert_eq!(dot.matches("node_pod").count(), 2, "{dot}");
}

fn dot_of(text: &str) -> Output {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    fivetuple(&["topology", path.to_str().unwrap()])
}

#[test]
fn what_users_write_is_escaped() {
    let text = "question = '''a < b & \"c\" > </text><script>d</script>'''\nduration = \"1s\"\n[clients]\nrate = \"1/s\"\n";
    let svg = drawn("<&>", text, &[]);
    assert!(
        !svg.contains("<script>") && svg.contains("&lt;script&gt;"),
        "{svg}"
    );
    assert!(svg.contains("&lt;&amp;&gt;"), "the name of the file");
    // Every `&` begins an entity.
    for (at, _) in svg.match_indices('&') {
        let entity = ["&lt;", "&gt;", "&amp;", "&quot;", "&apos;", "&#39;"];
        assert!(
            entity.iter().any(|entity| svg[at..].starts_with(entity)),
            "{}",
            &svg[at..at + 20]
        );
    }
}

#[test]
fn the_format_is_the_one_asked_for_or_the_one_of_the_file() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name).display().to_string();
    let is_svg = |text: &str| text.starts_with("<svg") && text.trim_end().ends_with("</svg>");
    let plain = fivetuple(&["topology", INCIDENT]);
    assert!(stdout(&plain).starts_with("graph fivetuple {"));
    let asked = fivetuple(&["topology", INCIDENT, "--format", "svg"]);
    assert!(is_svg(stdout(&asked)));
    let out = file("a.svg");
    let quiet = fivetuple(&["topology", INCIDENT, "--out", &out]);
    assert_eq!((quiet.status.code(), quiet.stdout.len()), (Some(0), 0));
    assert_eq!(
        std::fs::read_to_string(&out).unwrap(),
        stdout(&asked),
        "the same bytes"
    );
    let dot = file("b.svg");
    fivetuple(&["topology", INCIDENT, "--out", &dot, "--format", "dot"]);
    assert_eq!(std::fs::read_to_string(&dot).unwrap(), stdout(&plain));
    let set = fivetuple(&[
        "topology",
        INCIDENT,
        "--format",
        "svg",
        "--set",
        "node.name=worker",
    ]);
    assert!(stdout(&set).contains("worker"));
}

#[test]
fn bad_input_is_exit_2_and_leaves_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("old.svg");
    std::fs::write(&out, "old").unwrap();
    let out_text = out.to_str().unwrap();
    let missing = place.path().join("no/such/folder/x.svg");
    let folder = place.path().to_str().unwrap();
    for arguments in [
        &["topology", "no-such-file.toml", "--out", out_text][..],
        &[
            "topology",
            INCIDENT,
            "--set",
            "links.slb_node.bandwidth=0",
            "--out",
            out_text,
        ],
        &["topology", INCIDENT, "--format", "png", "--out", out_text],
        &["topology", INCIDENT, "--out", missing.to_str().unwrap()],
        &["topology", INCIDENT, "--out", folder],
        &["topology"],
    ] {
        let output = fivetuple(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "old");
    let names: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["old.svg"], "nothing is left beside it");
    assert!(Path::new(INCIDENT).exists());
}

#[test]
fn the_figure_of_the_incident_is_what_the_program_draws() {
    let drawn = fivetuple(&["topology", INCIDENT, "--format", "svg"]);
    let kept = std::fs::read_to_string("plots/topology.svg").unwrap();
    assert!(
        stdout(&drawn) == kept,
        "see plots/README.md for the command that renews plots/topology.svg"
    );
}

#[test]
fn a_node_without_a_pod_has_no_wire_from_the_slb() {
    let text = "duration = \"1s\"\n[clients]\nrate = \"1/s\"\n[node]\ncount = 3\nexternal_traffic_policy = \"local\"\n";
    let wires = |pods: u32| {
        let svg = drawn("local", &format!("{text}[pod]\ncount = {pods}\n"), &[]);
        svg.matches("<path").count()
    };
    // One from the clients, and two for each node with a pod.
    assert_eq!((wires(1), wires(2), wires(3)), (3, 5, 7));
}
