//! What a process that holds values, or keys of certificates, owes them: its memory goes into no core file and no debugger of the
//! same user.

/// Marks this process as not dumpable, for as long as it lives; programs that it executes are not concerned. Where the
/// kernel refuses, nothing is lost but this protection.
pub fn no_core_dumps() {
    let _ = nix::sys::prctl::set_dumpable(false);
}
