//! Quantities with their units in the type: time, rates, ports, sequence numbers, addresses.
//!
//! Everything is exact integer arithmetic, parses from the strings that scenarios use and prints the same way.

mod bandwidth;
mod duration;
mod endpoint;
mod port;
mod rate;
mod seq;

pub use bandwidth::Bandwidth;
pub use duration::{SimDuration, SimTime};
pub use endpoint::{Endpoint, FourTuple};
pub use port::PortRange;
pub use rate::Rate;
pub use seq::SeqNum;

/// A string that is not the quantity it should be; the text says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ParseUnitError {
    /// What would have been accepted, with an example.
    pub expected: &'static str,
}

/// Splits `"12.5 ms"` into its number, as an integer scaled by `10^9`, and its unit.
/// Exact: at most nine decimals are taken, more are an error. `None` on overflow or a malformed number.
fn split_number(text: &str) -> Option<(u128, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let padded = format!("{fraction:0<9}");
    let fraction: u128 = padded.parse().ok()?;
    let scaled = whole.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some((scaled, unit.trim()))
}

#[cfg(test)]
mod tests;
