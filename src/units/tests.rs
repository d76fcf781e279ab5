use super::*;
use proptest::prelude::*;

#[test]
fn durations_parse_exactly_and_print_back() {
    for (text, nanos, shown) in [
        ("60s", 60_000_000_000, "60s"),
        ("0.25ms", 250_000, "250us"),
        ("5m", 300_000_000_000, "300s"),
        ("1h", 3_600_000_000_000, "3600s"),
        ("1.5s", 1_500_000_000, "1.5s"),
        ("20 us", 20_000, "20us"),
        ("0s", 0, "0s"),
    ] {
        let parsed: SimDuration = text.parse().unwrap();
        assert_eq!(parsed.as_nanos(), nanos, "{text}");
        assert_eq!(parsed.to_string(), shown, "{text}");
    }
    for text in [
        "",
        "60",
        "-1s",
        "1.s",
        "0.1ns",
        "1e3s",
        "s",
        "99999999999999999999s",
        "1 fortnight",
    ] {
        assert!(text.parse::<SimDuration>().is_err(), "{text:?} is no duration");
    }
}

#[test]
fn rates_and_port_ranges_parse_with_their_units() {
    assert_eq!("350/s".parse::<Rate>().unwrap(), Rate::per_second(350));
    assert_eq!("120/min".parse::<Rate>().unwrap(), Rate::per_second(2));
    assert_eq!("0.5/s".parse::<Rate>().unwrap().as_per_second(), 0.5);
    assert!("350".parse::<Rate>().is_err());
    let range: PortRange = "32768-60999".parse().unwrap();
    assert_eq!((range.count(), range.nth(28232)), (28232, 32768));
    assert_eq!("32768 60999".parse::<PortRange>().unwrap(), range);
    for bad in ["60999-32768", "1-65536", "-", "80"] {
        assert!(bad.parse::<PortRange>().is_err(), "{bad:?}");
    }
}

#[test]
fn sequence_comparison_holds_both_ways_at_half_the_circle() {
    let (a, b) = (SeqNum(7), SeqNum(7) + (1 << 31));
    assert!(a.is_after(b) && b.is_after(a));
}

proptest! {
    #[test]
    fn printed_durations_parse_back(nanos in 0u64..u64::MAX / 4) {
        let duration = SimDuration::from_nanos(nanos);
        prop_assert_eq!(duration.to_string().parse::<SimDuration>().unwrap(), duration);
    }
}
