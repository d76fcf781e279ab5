//! Small texts: the nearest of several words, port ranges, sizes.

use crate::units::{PortRange, SimDuration};

/// The word nearest to `text`, if any is near. Case, `_` and `-` do not count.
pub(crate) fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // A long text is no slip of the finger, and the distance is quadratic.
    if text.len() > 64 {
        return None;
    }
    let plain = |word: &str| {
        word.chars()
            .filter(|c| !matches!(c, '_' | '-'))
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    let wanted = plain(text);
    let limit = (wanted.chars().count() / 3).max(2);
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&wanted, &plain(word)), word))
        .filter(|(distance, word)| *distance <= limit && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `text` as it may stand in a message.
pub(crate) fn shorten(text: &str) -> String {
    const KEPT: usize = 60;
    if text.chars().count() <= KEPT {
        return text.to_owned();
    }
    text.chars().take(KEPT).chain("...".chars()).collect()
}

/// `"32768-60999"`, also with a blank; no port 0.
pub(super) fn parse_ports(text: &str) -> Result<PortRange, &'static str> {
    let Some((first, last)) = text.trim().split_once(['-', ' ', '\t']) else {
        return Err("no second port");
    };
    let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) else {
        return Err("not two whole numbers");
    };
    if first == 0 || last == 0 {
        return Err("there is no port 0");
    }
    let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(last)) else {
        return Err("the highest port is 65535");
    };
    PortRange::new(first, last).ok_or("upside down")
}

/// What a column of times says: seconds, or a duration with its unit. `None` if it is negative or no time.
pub(super) fn parse_seconds(text: &str) -> Option<SimDuration> {
    let text = text.trim();
    if let Ok(duration) = text.parse() {
        return Some(duration);
    }
    // Exact where the text has no more digits than a time can hold.
    if let Ok(duration) = format!("{text}s").parse() {
        return Some(duration);
    }
    let seconds: f64 = text.parse().ok()?;
    // What is beyond would be the longest time, and is none.
    (0.0..1e10)
        .contains(&seconds)
        .then(|| SimDuration::from_secs_f64(seconds))
}

/// `"200B"`, `"2kB"`, `"1MiB"`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" => 1_024,
        "MB" => 1_000_000,
        "MiB" => 1_048_576,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
