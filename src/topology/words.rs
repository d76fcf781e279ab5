//! Links, distributions and addresses in the words of drawings.

use std::net::Ipv4Addr;

use crate::model::distribution::Distribution;
use crate::model::link::{LinkConfig, QueueLimit};

/// What packets meet on a link, each part for itself; the delay comes first.
pub(super) fn link(link: &LinkConfig) -> Vec<String> {
    let mut words = vec![duration(&link.delay)];
    match link.jitter {
        jitter if jitter.is_constant() => {}
        Distribution::Uniform { min, max } if min.as_nanos() == 0 => {
            words.push(format!("jitter up to {max}"));
        }
        jitter => words.push(format!("jitter {}", duration(&jitter))),
    }
    if let Some(burst) = link.burst {
        let length = 1.0 / burst.ends;
        words.push(format!(
            "loss {} in bursts of {}",
            percent(link.mean_loss()),
            (length * 10.0).round() / 10.0
        ));
    } else if link.loss > 0.0 {
        words.push(format!("loss {}", percent(link.loss)));
    }
    if let Some(line) = link.line {
        words.push(line.bandwidth.to_string());
        words.push(match line.queue {
            None => "queue without end".to_owned(),
            Some(QueueLimit::Packets(packets)) => format!("queue of {}", several(packets as usize, "packet")),
            Some(QueueLimit::Octets(octets)) => format!("queue of {octets} B"),
        });
    }
    words
}

/// A distribution of durations.
pub(super) fn duration(distribution: &Distribution) -> String {
    if let Distribution::Constant(value) = distribution {
        value.to_string()
    } else if let Distribution::Uniform { min, max } = distribution {
        format!("{min} to {max}")
    } else if let Distribution::Lognormal { median, sigma } = distribution {
        format!("{median} median, lognormal {sigma}")
    } else {
        format!("{} on average", distribution.mean())
    }
}

/// A share in percent, three digits at most.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = (2.0 - percent.log10().floor()).clamp(0.0, 9.0) as i32;
    let scale = 10_f64.powi(digits);
    format!("{} %", (percent * scale).round() / scale)
}

/// `1 packet`, `2 packets`.
pub(super) fn several(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Addresses, without repeating what they have in common: `10.0.0.1 to .9` where none is missing between them,
/// `10.0.0.1, .3` for a few, `10.0.0.1 ... .9` for more.
pub(super) fn addresses(addresses: impl IntoIterator<Item = Ipv4Addr>) -> String {
    let mut all: Vec<_> = addresses.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    let (Some(first), Some(last)) = (all.first().copied(), all.last().copied()) else {
        return String::new();
    };
    let short = |address: Ipv4Addr| {
        if address.octets()[..3] == first.octets()[..3] {
            format!(".{}", address.octets()[3])
        } else {
            address.to_string()
        }
    };
    if all.len() == 1 {
        first.to_string()
    } else if (last.to_bits() - first.to_bits()) as usize == all.len() - 1 {
        format!("{first} to {}", short(last))
    } else if all.len() <= 3 {
        let rest: Vec<_> = all[1..].iter().map(|&address| short(address)).collect();
        format!("{first}, {}", rest.join(", "))
    } else {
        format!("{first} ... {}", short(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_addresses_read_well() {
        let shares = [
            (0.001, "0.1 %"),
            (0.123_456, "12.3 %"),
            (1.0, "100 %"),
            (0.000_012_345, "0.00123 %"),
        ];
        for (share, text) in shares {
            assert_eq!(percent(share), text);
        }
        let of = |list: &[[u8; 4]]| addresses(list.iter().map(|&octets| octets.into()));
        assert_eq!(of(&[[10, 0, 0, 1]]), "10.0.0.1");
        assert_eq!(
            of(&[[10, 0, 0, 3], [10, 0, 0, 1], [10, 0, 0, 2]]),
            "10.0.0.1 to .3"
        );
        assert_eq!(of(&[[10, 0, 0, 255], [10, 0, 1, 0]]), "10.0.0.255 to 10.0.1.0");
        assert_eq!(of(&[[10, 0, 0, 1], [10, 0, 0, 3]]), "10.0.0.1, .3");
        let four = [[10, 0, 0, 1], [10, 0, 0, 3], [10, 0, 0, 5], [10, 0, 0, 7]];
        assert_eq!(of(&four), "10.0.0.1 ... .7");
        assert_eq!(of(&[]), "");
    }
}
