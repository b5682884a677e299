//! The `trimtab` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    trimtab::cli::main()
}
