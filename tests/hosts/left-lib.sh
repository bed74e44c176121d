# shellcheck shell=bash
# What tests ask to see that a job has left no memory behind, and one on hosts no process. Process ids are used again, and the numbers of
# namespaces at once: only an id with its start is for ever one process.
state=/run/raympi-hosts

# When process $1 started.
start_of() {
    local line fields
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return
    read -r -a fields <<<"${line##*) }"
    echo "${fields[19]}"
}

# The processes of the job whose hosts have number $1 in their names, each with its start. They all see the same switch.
processes_of() {
    local folder pid
    for folder in /proc/[0-9]*; do
        pid=${folder#/proc/}
        [ ! "$folder/root$state/switch" -ef "/proc/$1/root$state/switch" ] || echo "$pid $(start_of "$pid")"
    done
}

# Those of the processes $1 that are still there.
still_there() {
    local pid start now
    while read -r pid start; do
        now=$(start_of "$pid") && [ "$now" = "$start" ] && echo "$pid"
    done <<<"$1"
}
are_gone() { [ -z "$(still_there "$1")" ]; }

# Segments in shared memory are named after their process: who is there without it was left behind.
left_behind() {
    local file pid
    for file in /dev/shm/raympi-*; do
        pid=${file#/dev/shm/raympi-*-}
        pid=${pid%%-*}
        [ ! -e "$file" ] || [ -d "/proc/$pid" ] || echo "$file"
    done
}
