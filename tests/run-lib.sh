# shellcheck shell=bash
# What tests/run-mpi and tests/hosts/run share: a job with a deadline, the stacks of what hangs, the verdict.
# Both source it, set me (their name in messages), and define
#
#   job_processes     prints the processes of the job, those that have ended and are not waited for left out
#   has_stacks PID    is it one of the processes whose stacks tell why the job hangs?
#   debug PID ARG...  runs gdb on it
#   kill_job          ends the job with all its processes, and sets job to nothing

deadline=120 expected_exit=0 name=
expected=() rejected=()
with_script=() # starts what is to end with the script, even if KILL ends that

usage() { echo "$me: $1" >&2; exit 2; }

# Takes option $1 with its value $2 if it is one that both scripts have; false if not.
common_option() {
    case $1 in
    -t) deadline=$2 ;;
    --expect) expected+=("$2") ;;
    --reject) rejected+=("$2") ;;
    --expect-exit) expected_exit=$2 ;;
    --env) export "${2?}" ;;
    --name) name=$2 ;;
    *) return 1 ;;
    esac
}

# shellcheck source=tests/launcher.sh
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

# A frame of our sources among the first of a stack: who asked for the memory.
ours='^ +#[1-4] .*/(lib|tests|examples)/([a-z_]+/)*[a-z_0-9-]+\.(c|h|cc):[0-9]'

scratch=$(mktemp -d "${TMPDIR:-/tmp}/run-mpi.XXXXXX") || exit 1
job=
trap 'rm -rf "$scratch"' EXIT
trap '[ -z "$job" ] || kill_job; exit 130' INT TERM HUP

print_stacks() {
    local pid
    if ! command -v gdb >/dev/null; then
        echo "$me: no stacks, gdb is not installed"
        return
    fi
    for pid in $(job_processes); do
        has_stacks "$pid" || continue
        echo "--- stacks of process $pid: $(tr '\0' ' ' </proc/"$pid"/cmdline)"
        debug "$pid" -batch -nx -ex 'set pagination off' -ex 'thread apply all bt' 2>&1 |
            grep '^#\|^Thread\|ptrace'
    done
}

# True once the job has no process left; waits for that a little while.
job_is_gone() {
    local tries=$1
    while [ -n "$(job_processes)" ]; do
        [ $((tries--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

# Runs the job; sets $code. At the deadline: 99.
run_job() {
    local timer
    setsid "$@" >"$scratch/output" 2>&1 </dev/null &
    job=$!
    ${with_script[@]+"${with_script[@]}"} sleep "$deadline" &
    timer=$!
    wait -n "$job" "$timer"
    if kill -0 "$timer" 2>/dev/null; then
        # KILL: a short job ends before the timer's shell has become sleep, and until then that shell has our traps,
        # by which a TERM would remove our output, or be lost.
        kill -KILL "$timer"
        wait "$timer" 2>/dev/null
        wait "$job"
        code=$?
        return
    fi
    code=99
    { echo "TIMEOUT: not done after $deadline s"; print_stacks; } >"$scratch/stacks" 2>&1
    kill_job
    wait 2>/dev/null
}

# Prints the job's output, without the leaks of others.
print_output() { awk '/^(Direct|Indirect) leak of/, /^$/ { next } { print }' "$scratch/output"; }

judge() {
    local pattern
    [ -f "$scratch/output" ] || { echo "$me: FAILED: the output is gone"; return 1; }
    if [ "$code" = 99 ]; then
        cat "$scratch/stacks"
        return 99
    fi
    if ! job_is_gone 50; then
        echo "$me: FAILED: processes outlived the job: $(job_processes)"
        print_stacks
        kill_job
        return 1
    fi
    job=
    if [ "$code" = 77 ] && [ "$expected_exit" != 77 ]; then
        return 77
    fi
    case $expected_exit in
    nonzero) [ "$code" != 0 ] ;;
    *) [ "$code" = "$expected_exit" ] ;;
    esac || { echo "$me: FAILED: exit code $code, expected $expected_exit"; return 1; }
    if awk '/^(Direct|Indirect) leak of/, /^$/' "$scratch/output" | grep -E -B 5 "$ours" >"$scratch/leaks"; then
        cat "$scratch/leaks"
        echo "$me: FAILED: memory of ours has leaked"
        return 1
    fi
    for pattern in ${expected[@]+"${expected[@]}"}; do
        grep -Eq -- "$pattern" "$scratch/output" ||
            { echo "$me: FAILED: no line of the output matches '$pattern'"; return 1; }
    done
    for pattern in ${rejected[@]+"${rejected[@]}"}; do
        ! grep -Eq -- "$pattern" "$scratch/output" ||
            { echo "$me: FAILED: a line of the output matches '$pattern'"; return 1; }
    done
}

# Ends the script with $1, and says the test's name if it has one.
finish() {
    if [ -n "$name" ]; then
        [ "$1" = 0 ] && echo "  Test: $name ...passed" || echo "  Test: $name ...FAILED"
    fi
    exit "$1"
}
