pub mod artifacts;
pub mod clock;
pub mod journal;
pub mod platform;
pub mod scripts;
pub mod traffic;
