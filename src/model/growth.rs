//! Room in vectors that hold a run's bulk: doubling would leave up to half of it unused.

/// Room for `more`, if there is none: an eighth of what there is, but at least `least`, which is not less than `more`.
pub(super) fn make_room<T>(vector: &mut Vec<T>, more: usize, least: usize) {
    if vector.capacity() - vector.len() < more {
        vector.reserve_exact(least.max(vector.len() / 8));
    }
}
