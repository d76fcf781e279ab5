use super::*;
use crate::profile;

fn machine() -> Machine {
    Machine::new(profile::find("6.18").unwrap())
}

fn run(text: &str) -> Result<Outcome, String> {
    Shell::new(&|_| None).run(text, &mut machine())
}

#[test]
fn commands_follow_each_other_as_the_shell_says() {
    let table = [
        ("true && false || echo x", 0, "x\n"),
        ("! true", 1, ""),
        (
            "n=3; test $n -eq 3 && echo \"$n $m$((2 * 1024 + 1))\"",
            0,
            "3 2049\n",
        ),
        ("echo a | grep -c b", 1, "0\n"),
        ("[ \"$(echo 'a  b')\" = 'a  b' ]", 0, ""),
        ("[ $(echo 'a  b') = b ]", 2, ""),
        ("echo x > /dev/null", 0, ""),
        ("ss -Htan | wc -l", 0, "0\n"),
        (
            "ss -tan state time-wait | head -1",
            0,
            "Recv-Q Send-Q Local Address:Port Peer Address:Port\n",
        ),
    ];
    for (text, status, stdout) in table {
        match run(text) {
            Ok(outcome) => assert_eq!(
                (outcome.status, outcome.stdout.as_str()),
                (status, stdout),
                "{text}"
            ),
            Err(_) => assert_eq!(status, 2, "{text}"),
        }
    }
}

#[test]
fn what_is_not_understood_is_an_error_and_never_a_success() {
    let table = [
        "nstat | grep TcpExt",
        "ss -tanp",
        "ss state bogus",
        "ss sport :8080 dport",
        "tc qdisc add dev tun0 root pfifo limit 0",
        "ip route change 192.0.2.1 advmss 1460",
        "sysctl -q net.ipv4.tcp_no_such_thing=1",
        "sysctl net.ipv4.tcp_ecn=1",
        "sysctl net.ipv4.tcp_timestamps=7",
        "iptables -A FORWARD -j DROP",
        "iptables -A INPUT -p udp -j DROP",
        "conntrack -L -p udp",
        "no_such.sh",
        "../no/such/program",
    ];
    for text in table {
        assert!(run(text).is_err(), "{text}");
    }
}

#[test]
fn a_library_beside_the_script_goes_before_the_built_in_one() {
    let files = |name: &str| {
        (name == "../common/defaults.sh").then(|| "sysctl -q net.ipv4.tcp_syn_retries=2".to_owned())
    };
    let mut machine = machine();
    Shell::new(&files)
        .run("../common/defaults.sh", &mut machine)
        .unwrap();
    assert_eq!(machine.stack.config.syn_retry.retries, 2);
    Shell::new(&|_| None)
        .run("../common/defaults.sh", &mut machine)
        .unwrap();
    assert_eq!(machine.stack.config.syn_retry.retries, 5);
}

#[test]
fn rules_count_list_and_go_by_what_they_say() {
    let mut machine = machine();
    let files = |_: &str| None;
    let mut shell = Shell::new(&files);
    let mut run = |text: &str| shell.run(text, &mut machine).unwrap();
    run("iptables -A INPUT -m conntrack --ctstate INVALID -p tcp -j DROP");
    let listed = run("iptables -v -S INPUT").stdout;
    assert_eq!(
        listed,
        "-P INPUT ACCEPT -c 0 0\n-A INPUT -p tcp -m conntrack --ctstate INVALID -c 0 0 -j DROP\n"
    );
    assert_eq!(
        run("iptables -D INPUT -p tcp -m conntrack --ctstate INVALID -j DROP").status,
        0
    );
    assert_eq!(
        run("iptables -D INPUT -p tcp -m conntrack --ctstate INVALID -j DROP").status,
        1
    );
}
