//! ss, conntrack and iptables: what they print of the machine, and what they change.

use std::fmt::Write;

use super::Outcome;
use crate::conformance::ast::FlagSet;
use crate::conformance::machine::Machine;
use crate::conformance::netfilter::{Chain, Condition, CtState, Rule};
use crate::units::Endpoint;

/// Names of states as `ss state NAME` takes them and as it prints them.
const STATES: &[(&str, &str)] = &[
    ("established", "ESTAB"),
    ("syn-sent", "SYN-SENT"),
    ("syn-recv", "SYN-RECV"),
    ("fin-wait-1", "FIN-WAIT-1"),
    ("fin-wait-2", "FIN-WAIT-2"),
    ("time-wait", "TIME-WAIT"),
    ("closed", "UNCONN"),
    ("close-wait", "CLOSE-WAIT"),
    ("last-ack", "LAST-ACK"),
    ("listening", "LISTEN"),
    ("closing", "CLOSING"),
];

/// A condition of an `ss` filter: port or address of one side.
struct Side {
    local: bool,
    ip: Option<String>,
    port: Option<u16>,
}

/// `ss [-tanHlr4] [state NAME] [sport = :PORT ...]`.
pub(super) fn ss(args: &[String], machine: &Machine) -> Result<Outcome, String> {
    let words: Vec<&str> = args.iter().flat_map(|arg| arg.split_whitespace()).collect();
    let (mut header, mut all, mut listening) = (true, false, false);
    let mut states: Vec<&str> = Vec::new();
    let mut filter = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word {
            "--no-header" => header = false,
            "--all" => all = true,
            "--tcp" | "--numeric" => {}
            "state" => {
                let name = words.next().unwrap_or_default();
                let known = STATES.iter().find(|(state, _)| *state == name);
                states.push(known.ok_or_else(|| format!("ss state {name}"))?.1);
            }
            _ if word.starts_with('-') && !word.starts_with("--") => {
                for letter in word[1..].chars() {
                    match letter {
                        't' | 'n' | '4' | 'o' | 'e' => {}
                        'a' => all = true,
                        'l' => listening = true,
                        'H' => header = false,
                        _ => return Err(format!("ss {word}")),
                    }
                }
            }
            _ => filter.push(word),
        }
    }
    let (sides, any) = sides(&filter)?;
    let mut text = String::new();
    let with_state = states.len() != 1;
    if header {
        text.push_str(if with_state { "State " } else { "" });
        text.push_str("Recv-Q Send-Q Local Address:Port Peer Address:Port\n");
    }
    for (local, peer, state) in machine.stack.list() {
        let state = state.name();
        let shown = if !states.is_empty() {
            states.contains(&state)
        } else if listening {
            state == "LISTEN"
        } else {
            all || !["LISTEN", "UNCONN", "TIME-WAIT", "SYN-RECV"].contains(&state)
        };
        let fits = |side: &Side| side.fits(if side.local { Some(local) } else { peer });
        let fits = sides.is_empty()
            || if any {
                sides.iter().any(fits)
            } else {
                sides.iter().all(fits)
            };
        if shown && fits {
            let peer = peer.map_or_else(|| "0.0.0.0:*".to_owned(), |peer| peer.to_string());
            let state = if with_state {
                format!("{state} ")
            } else {
                String::new()
            };
            writeln!(text, "{state}0 0 {local} {peer}").expect("a string takes any text");
        }
    }
    Ok(Outcome::printed(text))
}

impl Side {
    fn fits(&self, endpoint: Option<Endpoint>) -> bool {
        endpoint.is_some_and(|endpoint| {
            self.port.is_none_or(|port| port == endpoint.port)
                && self.ip.as_ref().is_none_or(|ip| *ip == endpoint.ip.to_string())
        })
    }
}

/// The conditions of a filter, and whether one of them is enough.
fn sides(filter: &[&str]) -> Result<(Vec<Side>, bool), String> {
    let unknown = || format!("ss filter {}", filter.join(" "));
    let any = filter.iter().any(|word| ["or", "|", "||"].contains(word));
    if any && filter.iter().any(|word| ["and", "&", "&&"].contains(word)) {
        return Err(unknown());
    }
    let mut sides = Vec::new();
    let mut words = filter
        .iter()
        .filter(|word| !["(", ")", "or", "|", "||", "and", "&", "&&", "=", "==", "eq"].contains(word));
    while let Some(word) = words.next() {
        let local = match *word {
            "sport" | "src" => true,
            "dport" | "dst" => false,
            _ => return Err(unknown()),
        };
        let value = words.next().ok_or_else(unknown)?;
        let (ip, port) = value.rsplit_once(':').unwrap_or((value, ""));
        let port = if port.is_empty() {
            None
        } else {
            Some(port.parse().map_err(|_| unknown())?)
        };
        let ip = (!ip.is_empty() && ip != "*").then(|| ip.to_owned());
        sides.push(Side { local, ip, port });
    }
    Ok((sides, any))
}

/// `conntrack -L [-f ipv4] [-p tcp] [--dport N] [--sport N] [--state S]`, `conntrack -F`.
pub(super) fn conntrack(args: &[String], machine: &mut Machine) -> Result<Outcome, String> {
    let mut list = false;
    let (mut source, mut destination, mut state) = (None, None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().map_or("", String::as_str);
        match arg.as_str() {
            "-L" | "--dump" => list = true,
            "-F" | "--flush" => {
                machine.netfilter.forget_connections();
                return Ok(Outcome::default());
            }
            "-f" | "--family" if value() == "ipv4" => {}
            "-p" | "--proto" if value() == "tcp" => {}
            "--dport" | "--orig-port-dst" => destination = Some(port(value())?),
            "--sport" | "--orig-port-src" => source = Some(port(value())?),
            "--state" => state = Some(value().to_owned()),
            _ => return Err(format!("conntrack {arg}")),
        }
    }
    if !list {
        return Err("conntrack without -L or -F".to_owned());
    }
    let mut text = String::new();
    for (entry, line) in machine.netfilter.connections(machine.now()) {
        let fits = source.is_none_or(|port| port == entry.original.src.port)
            && destination.is_none_or(|port| port == entry.original.dst.port)
            && state
                .as_ref()
                .is_none_or(|state| state == entry.tracker.state.name());
        if fits {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(Outcome::printed(text))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("port {text:?}"))
}

/// `iptables -A|-I|-D CHAIN RULE`, `-F [CHAIN]`, `[-v] -S CHAIN`.
pub(super) fn iptables(args: &[String], machine: &mut Machine) -> Result<Outcome, String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let verbose = words.contains(&"-v");
    let words: Vec<&str> = words
        .into_iter()
        .filter(|word| !["-v", "-w"].contains(word))
        .collect();
    match words[..] {
        ["-F"] => {
            machine.netfilter.flush(Chain::Input);
            machine.netfilter.flush(Chain::Output);
            Ok(Outcome::default())
        }
        ["-F", chain] => {
            machine.netfilter.flush(chain_of(chain)?);
            Ok(Outcome::default())
        }
        ["-S", chain] => Ok(Outcome::printed(
            machine.netfilter.rules(chain_of(chain)?, verbose),
        )),
        [command @ ("-A" | "-I"), chain, ref rest @ ..] => {
            let rule = rule(rest)?;
            machine.netfilter.add(chain_of(chain)?, rule, command == "-I");
            Ok(Outcome::default())
        }
        ["-D", chain, ref rest @ ..] => {
            let rule = rule(rest)?;
            Ok(Outcome::of(machine.netfilter.delete(chain_of(chain)?, &rule)))
        }
        _ => Err(format!("iptables {}", words.join(" "))),
    }
}

fn chain_of(name: &str) -> Result<Chain, String> {
    [Chain::Input, Chain::Output]
        .into_iter()
        .find(|chain| chain.name() == name)
        .ok_or_else(|| format!("iptables chain {name}"))
}

fn rule(words: &[&str]) -> Result<Rule, String> {
    let unknown = || format!("iptables rule {}", words.join(" "));
    let mut rule = Rule {
        conditions: Vec::new(),
        text: String::new(),
        target: None,
        counters: (0, 0),
    };
    let mut text = Vec::new();
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(unknown);
        match word {
            "-p" if value()? == "tcp" => text.insert(0, "-p tcp".to_owned()),
            "-m" => text.push(format!("-m {}", known_match(value()?).ok_or_else(unknown)?)),
            "--ctstate" | "--state" => {
                let names = value()?;
                let states: Option<Vec<CtState>> = names
                    .split(',')
                    .map(|name| {
                        CtState::NAMES
                            .iter()
                            .find(|(known, _)| *known == name)
                            .map(|(_, state)| *state)
                    })
                    .collect();
                rule.conditions
                    .push(Condition::State(states.ok_or_else(unknown)?));
                text.push(format!("{word} {names}"));
            }
            "--syn" => {
                rule.conditions.push(Condition::Flags(2 | 16 | 4 | 1, 2));
                text.push("--tcp-flags FIN,SYN,RST,ACK SYN".to_owned());
            }
            "--tcp-flags" => {
                let (mask, wanted) = (value()?, value()?);
                let bits = flags(mask).zip(flags(wanted)).ok_or_else(unknown)?;
                rule.conditions.push(Condition::Flags(bits.0, bits.1));
                text.push(format!("--tcp-flags {mask} {wanted}"));
            }
            "--sport" | "--dport" => {
                let number = value()?;
                let parsed = port(number)?;
                rule.conditions.push(if word == "--sport" {
                    Condition::SourcePort(parsed)
                } else {
                    Condition::DestinationPort(parsed)
                });
                text.push(format!("{word} {number}"));
            }
            "-j" => {
                rule.target = Some(match value()? {
                    "ACCEPT" => true,
                    "DROP" => false,
                    _ => return Err(unknown()),
                });
            }
            _ => return Err(unknown()),
        }
    }
    rule.text = text.join(" ");
    Ok(rule)
}

fn known_match(name: &str) -> Option<&str> {
    ["conntrack", "state", "tcp"].contains(&name).then_some(name)
}

/// Bits of `SYN,ACK`.
fn flags(names: &str) -> Option<u8> {
    names.split(',').try_fold(0, |bits, name| {
        let letter = match name {
            "NONE" => return Some(bits),
            "ACK" => '.',
            "ALL" => return Some(0x3f),
            "SYN" | "FIN" | "RST" | "PSH" | "URG" => name.chars().next()?,
            _ => return None,
        };
        let (_, bit) = FlagSet::LETTERS.iter().find(|(known, _)| *known == letter)?;
        Some(bits | bit)
    })
}
