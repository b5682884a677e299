# Shared by tests/run and .ci/run: where things are cached, and parts that have a name, a time budget and an end.
# Sourced by bash, never run.

set -u -o pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
cache=${TRIMTAB_CACHE:-${HOME:?}/.cache/trimtab}
# One target folder for all clones and both scripts, so that nothing compiles twice.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target} CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export TRIMTAB_CACHE=$cache
mkdir -p "$cache" "$CARGO_TARGET_DIR" || exit 1
command -v cargo >/dev/null || export PATH="$HOME/.cargo/bin:$PATH"
scratch=$(mktemp -d) || exit 1

# Ends what still runs, whatever the reason to leave.
running=
cleanups=('rm -rf "$scratch"')
finish() {
    local status=$? each
    trap - EXIT
    [ -z "$running" ] || kill -KILL -- "-$running" 2>/dev/null
    for each in "${cleanups[@]}"; do eval "$each"; done
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '\n== %s\n' "$*"; }
die() { printf '\n!! %s\n' "$*"; exit 1; }

# What was not run, and why: repeated at the end, so that it is not lost in the output.
skipped=()
skip() {
    skipped+=("$*")
    printf '   skipped: %s\n' "$*"
}

# part NAME BUDGET_SECONDS COMMAND...: runs a command (a function only when exported) in a process group of its own, prints
# what it took, and kills all of it when it is over its budget. Returns its status; 124 and above: it was killed.
times=()
part() {
    local name=$1 budget=$2 begun=$SECONDS status mark=
    shift 2
    say "$name (at most $budget s)"
    timeout --kill-after=10 "$budget" bash -c '"$@"' part "$@" &
    running=$!
    wait "$running"
    status=$?
    running=
    case $status in
        0) ;;
        124 | 137) mark="   KILLED: over its budget" ;;
        *) mark="   FAILED with status $status" ;;
    esac
    times+=("$(printf '%-32s %5s s of %5s s%s' "$name" $((SECONDS - begun)) "$budget" "$mark")")
    printf '   %s\n' "${times[-1]}"
    return "$status"
}

report() {
    say "time"
    printf '   %s\n' "${times[@]}"
    if [ ${#skipped[@]} -gt 0 ]; then
        say "skipped"
        printf '   %s\n' "${skipped[@]}"
    fi
}

# One run at a time uses the shared target folder. A script that calls the other has the lock already.
claim() {
    if [ -z "${TRIMTAB_CLAIMED:-}" ]; then
        exec 8>"$cache/lock"
        flock -n 8 || { echo "another run uses $cache: waiting for its end"; flock 8; }
        export TRIMTAB_CLAIMED=1
    fi
    # Cargo tells fresh from stale by time. Files of another clone may be older than what was built here from a third, and
    # would wrongly count as built.
    local clone="$CARGO_TARGET_DIR/.built-from"
    if [ "$(cat "$clone" 2>/dev/null)" != "$root" ]; then
        touch src/lib.rs src/main.rs tests/main.rs
        echo "$root" >"$clone"
    fi
}
