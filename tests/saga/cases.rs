//! The cases that broke others, by their issue.
