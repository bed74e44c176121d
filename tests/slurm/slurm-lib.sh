# shellcheck shell=bash
# What the tests of SLURM share: what they need, its configuration, batch jobs with a deadline. They set
#
#   scratch         a folder that all nodes see: configuration, logs, the jobs' scripts and output
#   sbatch_options  what kind of jobs they are
sbatch_options=()
declare -A ids # of jobs by their names

skip() { echo "$1"; exit 77; }
passed() { echo "  Test: $1 ...passed"; }

fail() {
    echo "FAILED: $1"
    # shellcheck disable=SC2154  # see above
    tail -n 30 "$scratch"/*.log "$scratch"/*.out 2>/dev/null
    exit 1
}

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

need_slurm() {
    local tool
    [ "$(id -u)" = 0 ] || skip "only root can start a SLURM"
    for tool in munged slurmctld slurmd sbatch srun scancel scontrol sinfo; do
        command -v $tool >/dev/null || skip "no $tool: apt-get install slurm-wlm munge"
    done
    ls /usr/lib/*/slurm*/mpi_pmix*.so >/dev/null 2>&1 || skip "this SLURM has no PMIx"
}

make_munge_key() {
    head -c 1024 /dev/urandom >"$scratch/munge.key"
    chmod 400 "$scratch/munge.key"
}

# A shell's command that makes what a node has in its own folder $1, and starts its munged; that is ready when the command ends.
munged_command() {
    echo "mkdir -m 755 $1/munge $1/spool && munged --force --key-file=$scratch/munge.key --socket=$1/munge/socket" \
        "--pid-file=$1/munge/pid --seed-file=$1/munge/seed --log-file=$1/munge/log"
}
# And the one that ends it.
munged_stop_command() { echo "munged --stop --socket=$1/munge/socket"; }

# slurm_conf HEAD FOLDER: what the configurations have in common. FOLDER is each node's own. PMIx, too, keeps its files there
# (TmpFS), under names which all nodes of a job have in common.
slurm_conf() {
    cat <<CONF
ClusterName=raympi
SlurmctldHost=$1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$2/munge/socket
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$2/spool
TmpFS=$2
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$2/slurmd.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0
MpiDefault=pmix
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
PartitionName=test Nodes=ALL Default=YES MaxTime=10 State=UP
CONF
}

# Are $1 nodes ready?
are_idle() { [ "$(timeout 10 sinfo -h -N -o %T 2>/dev/null | grep -c '^idle')" = "$1" ]; }
await_nodes() { until_true 60 are_idle "$1" || fail "not all nodes are ready: $(timeout 10 sinfo 2>&1)"; }

# submit NAME COMMAND: COMMAND as a batch job, in our folder. What it prints goes to $scratch/NAME.out.
submit() {
    echo "job $1: $2"
    printf '#!/bin/bash\ncd %q || exit\n%s\n' "$PWD" "$2" >"$scratch/$1.sh"
    ids[$1]=$(timeout 20 sbatch --parsable --job-name="$1" --time=5 --output="$scratch/$1.out" \
        "${sbatch_options[@]}" "$scratch/$1.sh") || fail "job $1 was not taken"
}

# Sets state, and says whether job NAME has ended.
has_ended() {
    state=$(timeout 10 scontrol show job "${ids[$1]}" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
    case $state in '' | PENDING | CONFIGURING | RUNNING | COMPLETING) return 1 ;; esac
}

# await_end NAME STATE: job NAME ends in STATE.
await_end() {
    until_true 90 has_ended "$1" || fail "job $1 does not end, it is $state"
    cat "$scratch/$1.out"
    echo "job $1: $state"
    [ "$state" = "$2" ] || fail "job $1 is $state, it was to be $2"
}

# job NAME STATE COMMAND: both, one after the other.
job() {
    submit "$1" "$3"
    await_end "$1" "$2"
}

# count NAME REGEX: how many lines of job NAME's output match.
count() { grep -sEc "$2" "$scratch/$1.out"; }
