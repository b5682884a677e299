mod canned;
mod demo;
mod exit_codes;
mod golden;
mod help;
mod printing;
mod watch;
