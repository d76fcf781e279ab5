//! Counts of whole runs, against the spread of the simulator's own replications of the same configuration.
//!
//! | file | judges |
//! |---|---|
//! | `config` | none: a run's JSON becomes a plan |
//! | `observed` | none: what a replication leaves, as the laboratory would have counted it |
//! | `capture` | none: packets at a node, as one sequence per connection |
//! | `e`, `f`, `g`, `i` | groups E, F, G and I |

mod capture;
mod config;
mod e;
mod f;
mod g;
mod i;
mod observed;

use super::Kind;

/// The judge of a file of this room; `None`: not of this room.
pub fn kind(path: &str, name: &str) -> Option<Kind> {
    let group = group_of(path, name)?;
    if let Some(why) = evidence(name) {
        return Some(Kind::NotJudged(why));
    }
    if group == 'G' {
        return Some(g::kind(name));
    }
    if !is_json(name) {
        return None;
    }
    match group {
        'E' => Some(Kind::Run(e::judge)),
        'F' => Some(Kind::Run(f::judge)),
        'I' => Some(Kind::Run(i::judge)),
        _ => None,
    }
}

/// The group's folder anywhere above the file; without one its name, if it is a run's (`e07.json`, `i03.events.csv`).
fn group_of(path: &str, name: &str) -> Option<char> {
    let folder = path
        .rsplit('/')
        .skip(1)
        .find(|part| matches!(*part, "E" | "F" | "G" | "I"));
    if let Some(folder) = folder {
        return folder.chars().next();
    }
    let stem = name.split('.').next().unwrap_or(name);
    let mut letters = stem.chars();
    let group = letters
        .next()
        .filter(|letter| matches!(letter, 'e' | 'f' | 'i'))?;
    let is_number = !letters.as_str().is_empty() && letters.all(|digit| digit.is_ascii_digit());
    is_number.then_some(group.to_ascii_uppercase())
}

fn is_json(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| ending == "json")
}

/// Why a file beside a run is not judged.
fn evidence(name: &str) -> Option<&'static str> {
    let of_ending = [
        (
            ".events.csv",
            "evidence: the attempts behind the run's counts, one by one",
        ),
        (
            ".events.pod2.csv",
            "evidence: the attempts behind the run's counts, one by one",
        ),
        (
            ".conns.csv",
            "evidence: the connections behind the run's counts, one by one",
        ),
        (
            ".collisions.csv",
            "evidence: the hits behind the run's counts, one by one",
        ),
        (
            ".examples.json",
            "evidence: five hits with the tables around them",
        ),
    ];
    if name == "summary.csv" {
        return Some("the same counts stand in the runs' own files, with their configuration");
    }
    of_ending
        .iter()
        .find(|(ending, _)| name.ends_with(ending))
        .map(|&(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_known_by_its_folder_or_by_its_name_and_evidence_by_its_ending() {
        for (path, group) in [
            ("E/e01.json", Some('E')),
            ("5.10/E/e99.json", Some('E')),
            ("I/4.19/i03.json", Some('I')),
            ("i03.json", Some('I')),
            ("G/collide/truth_pod.json", Some('G')),
            ("ipvs/ipvs_env_4.19.108.json", None),
            ("6.18/information.json", None),
            ("e.json", None),
        ] {
            let name = path.rsplit('/').next().unwrap();
            assert_eq!(group_of(path, name), group, "{path}");
        }
        for (path, judged) in [
            ("E/e01.json", true),
            ("E/e01.events.csv", false),
            ("E/summary.csv", false),
            ("I/4.19/i06.events.pod2.csv", false),
            ("I/4.19/i03.examples.json", false),
            ("I/5.10/i20.json", true),
        ] {
            let name = path.rsplit('/').next().unwrap();
            assert_eq!(matches!(kind(path, name), Some(Kind::Run(_))), judged, "{path}");
            assert_eq!(
                matches!(kind(path, name), Some(Kind::NotJudged(_))),
                !judged,
                "{path}"
            );
        }
    }
}
