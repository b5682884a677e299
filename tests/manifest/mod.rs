//! What the user writes: reading, problems, merging, rendering.

mod sketch;
