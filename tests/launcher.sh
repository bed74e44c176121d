# shellcheck shell=bash
# How ranks are started, for what sources this: the launchers of Open MPI and of MPICH (hydra) want other options, and this
# file alone knows which. MPIRUN names the launcher; without it, it is the one of the built tree that the caller is in.

if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# hwloc's search for X displays asks the name server for "localhost" where /etc/hosts is missing, and
# waits seconds for every rank.
export HWLOC_COMPONENTS=${HWLOC_COMPONENTS:--gl}

# default NAME VALUE: a variable, unless the caller has set it.
default() { export "$1=${!1-$2}"; }
# What ranks of one host take in the end. Open MPI looks for special networks before, which takes half of a short job's time.
default OMPI_MCA_pml ob1
default OMPI_MCA_btl_base_warn_component_unused 0
# A library that Debian's MPICH brings catches signals before anybody else, and leaves by exit().
default IPATH_NO_BACKTRACE 1

# Sets launcher to openmpi or hydra, and mpirun to its name.
launcher_find() {
    mpirun=${MPIRUN:-$(sed -n 's/^MPIRUN = //p' Makefile 2>/dev/null)}
    mpirun=${mpirun:-mpirun}
    case $("$mpirun" --version 2>/dev/null) in
    HYDRA*) launcher=hydra ;;
    *) launcher=openmpi ;;
    esac
}

# launcher_here RANKS [recovery]: sets launch to the words that start so many ranks on this host, before the program's; as
# many as a batch system gives where RANKS is empty. With recovery it does not end the others when one dies: Open MPI's,
# MPICH's always does. Both take further programs: PROGRAM... : -np RANKS PROGRAM...
launcher_here() {
    launcher_find
    launch=("$mpirun")
    [ $launcher = hydra ] || launch+=(--oversubscribe ${2:+--enable-recovery})
    [ -z "$1" ] || launch+=(-np "$1")
}

# launcher_hosts RANKS AGENT NET VARIABLES HOST...: the same for RANKS on each HOST, the first ones on the first, that get
# VARIABLES of this environment. AGENT runs a command on a host, as ssh does; NET, in CIDR notation, is what joins the hosts.
launcher_hosts() {
    local ranks=$1 agent=$2 net=$3 variables=$4 list variable
    shift 4
    launcher_find
    printf -v list "%s:$ranks," "$@"
    launch=("$mpirun")
    if [ $launcher = hydra ]; then
        launch+=(-launcher rsh -launcher-exec "$agent" -hosts "${list%,}" -genvlist "${variables// /,}")
        [ ! -f tests/hosts/finalize.so ] || launch+=(-genv LD_PRELOAD "$PWD/tests/hosts/finalize.so")
        launch+=(-np $((ranks * $#)))
        return
    fi
    default OMPI_MCA_plm rsh
    default OMPI_MCA_plm_rsh_agent "$agent"
    default OMPI_MCA_plm_rsh_no_tree_spawn 1 # hosts cannot enter each other
    default OMPI_MCA_oob_tcp_if_include "$net"
    default OMPI_MCA_btl tcp,self,vader
    default OMPI_MCA_btl_tcp_if_include "$net"
    # The hosts share the cores: bound, the first rank of each would have the first core. And who spins for a message
    # keeps the kernel from carrying it.
    default OMPI_MCA_hwloc_base_binding_policy none
    default OMPI_MCA_mpi_yield_when_idle 1
    launch+=(--host "${list%,}")
    for variable in $variables; do
        launch+=(-x "$variable")
    done
}

# Has the process been started as a rank, or by one?
is_rank() { grep -qzE '^(OMPI_COMM_WORLD_RANK|PMI_RANK)=' "/proc/$1/environ" 2>/dev/null; }
