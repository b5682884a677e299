//! When a field is left out of what is written down, so that what was written before it was there keeps its digest.

/// It is zero, which is what a field that is not there is read as.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
