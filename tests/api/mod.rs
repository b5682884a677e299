//! The API over TCP: who may ask what, what is answered, and what is said of the answers.

mod answers;
pub mod bed;
mod events;
mod notify;
mod reload;
mod traces;
