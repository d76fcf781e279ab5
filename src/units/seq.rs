//! TCP sequence numbers, compared as the Linux kernel compares them.

use std::fmt;
use std::ops::{Add, Sub};

/// A sequence number modulo 2^32. Deliberately not `Ord`: only [`SeqNum::is_after`] exists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// The kernel's `after(self, other)`: `(int32)(other - self) < 0`.
    /// At a distance of exactly 2^31 it holds in both directions, as measured.
    pub const fn is_after(self, other: Self) -> bool {
        other.0.wrapping_sub(self.0).cast_signed() < 0
    }
    /// The kernel's `before(self, other)`.
    pub const fn is_before(self, other: Self) -> bool {
        other.is_after(self)
    }
    /// Signed distance from `other` to `self`.
    pub const fn distance_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
    /// Octets from `earlier` on, which is known not to be later.
    pub const fn octets_since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
    /// The later of the two.
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        if self.is_after(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    fn add(self, rhs: u32) -> Self {
        Self(self.0.wrapping_add(rhs))
    }
}
impl Sub<u32> for SeqNum {
    type Output = Self;
    fn sub(self, rhs: u32) -> Self {
        Self(self.0.wrapping_sub(rhs))
    }
}
impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
