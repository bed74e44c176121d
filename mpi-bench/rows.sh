# The rows of TARGETS.md, read by mpi-bench/run.
#
#   row ID WORK UNIT                 starts a row; what follows belongs to it
#   contender NAME PLACE PROGRAM...  a program that is asked for one number per repetition; NAME "ours" is raympi
#   target RIVAL LIMIT TEXT          ours / RIVAL must be at most LIMIT
#   sound RIVAL RATIO                the bare program must be within 1.3 times RATIO of RIVAL, else nothing is judged by it
#   unbuilt ID WORK RIVAL TARGET WHY a row that cannot be measured yet
#
# PLACE: `one` and `cores` are processes on one core and on all of them; `ranks N` is a job with a core for each rank,
# `over N` one whose ranks share the cores, `over_yield N` the same with mpi_yield_when_idle; `start N`, `mpi_start N` are
# jobs that are started anew for each repetition; `hosts NET H R` is a job of R ranks on each of H hosts, RAYMPI_NET=NET. $(n FULL TINY) is a count, tiny for --smoke.

# The spike took 71 to 88 ns for a task where StarPU took 2.8 to 3.5 us.
row A1.1 'empty local tasks, submit 10^5, then get all, 1 worker' ns/task
contender ours 'job one' ours/local async "$(n 100000 100)"
contender bare one bare/local async "$(n 100000 100)" 1
contender StarPU one rivals/starpu async "$(n 20000 100)"
sound StarPU 0.0252
target bare 2 '<= 2x bare'
target StarPU 0.06667 '>= 15x StarPU'

row A1.2 'empty local tasks, submit 10^5, then get all, 2 workers' ns/task
contender ours 'job cores' ours/local async "$(n 100000 100)"
contender bare cores bare/local async "$(n 100000 100)" 2
contender StarPU cores rivals/starpu async "$(n 20000 100)"
contender OpenMP cores rivals/openmp async "$(n 100000 100)" 2
sound StarPU 0.0206
target bare 2 '<= 2x bare'
target StarPU 0.06667 '>= 15x StarPU'
target OpenMP 1 'faster than OpenMP, 2 threads'

row A2 'local submit + get + release, one at a time' ns/task
contender ours 'job one' ours/local sync "$(n 100000 100)"
contender bare one bare/local sync "$(n 100000 100)"
contender StarPU cores rivals/starpu sync "$(n 2000 100)"
contender OpenMP one rivals/openmp sync "$(n 100000 100)" 1
sound OpenMP 0.327
target bare 3 '<= 3x bare'
target StarPU 0.01 '>= 100x StarPU, synchronous'
target OpenMP 1 'faster than OpenMP task + taskwait'

row A3 'submit to another rank of the host + get, both awake' ns/task
contender ours 'ranks 2' ours/remote task "$(n 20000 100)"
contender bare cores bare/ring "$(n 20000 100)"
contender MPI 'ranks 2' rivals/mpi_pingpong "$(n 20000 100)"
sound MPI 0.4
target MPI 1 'faster than the ping-pong of 64 B'

# The spike's ring moved 3.2 to 16 M tasks a second while MPI took 1.3 to 0.6 us for a round trip.
row A4 'tasks on another rank of the host, 10^4 in flight' ns/task
contender ours 'ranks 2' ours/remote task "$(n 50000 100)" "$(n 10000 50)"
contender bare cores bare/ring "$(n 50000 100)" "$(n 10000 50)"
contender MPI 'ranks 2' rivals/mpi_pingpong "$(n 20000 100)"
sound MPI 0.24
target bare 2 '>= 0.5x the rate of the bare ring'

row A5.1 'actor call on another rank of the host, one at a time' ns/call
contender ours 'ranks 2' ours/remote actor "$(n 20000 100)"
contender bare cores bare/ring "$(n 20000 100)"
contender MPI 'ranks 2' rivals/mpi_pingpong "$(n 20000 100)"
sound MPI 0.4
target MPI 1 'faster than the ping-pong of 64 B'

row A5.2 'actor calls on another rank of the host, 10^4 in flight' ns/call
contender ours 'ranks 2' ours/remote actor "$(n 50000 100)" "$(n 10000 50)"
contender bare cores bare/ring "$(n 50000 100)" "$(n 10000 50)"
contender MPI 'ranks 2' rivals/mpi_pingpong "$(n 20000 100)"
sound MPI 0.24
target bare 2 '>= 0.5x the rate of the bare ring'

unbuilt A5.3 'the same calls of a replayable class' 'the class not replayable' '<= 1.25x' 'no replayable classes'

# Targets in nanoseconds are taken as multiples of OpenMP's task + taskwait, 104 ns on the machine where they were set.
row A6.1 'put of 8 B' ns/put
contender ours 'job one' ours/local put "$(n 100000 1000)"
contender 'OpenMP task' one rivals/openmp sync "$(n 100000 100)" 1
target 'OpenMP task' 0.7692 '<= 80 ns, where that takes 104'

row A6.2 'get of 8 B' ns/get
contender ours 'job one' ours/local get "$(n 100000 1000)"
contender 'OpenMP task' one rivals/openmp sync "$(n 100000 100)" 1
target 'OpenMP task' 0.2885 '<= 30 ns, where that takes 104'

# put NUMBER SIZE BYTES STATE
put() {
    row "A7.$1" "put of $2 into $4 store memory" us/MiB
    contender ours 'job one' ours/bytes "$4" "$(n "$3" 2097152)"
    contender memcpy one bare/copy "$4" "$(n "$3" 2097152)"
}
put 1 '1 MiB' 1048576 used
target memcpy 0.9091 '>= 1.1x by one thread'
put 2 '64 MiB' 67108864 used
target memcpy 0.9091 '>= 1.1x by one thread'
target memcpy 0.7407 '>= 1.35x, for which two threads were thought of'
put 3 '1 GiB' 1073741824 used
target memcpy 0.9091 '>= 1.1x by one thread'
target memcpy 0.7407 '>= 1.35x, for which two threads were thought of'
put 4 '1 MiB' 1048576 fresh
target memcpy 1 '>= 1.0x'
put 5 '64 MiB' 67108864 fresh
target memcpy 1 '>= 1.0x'

row A8 'get of a 64 MiB object of another local rank, the first one' ns/get
contender ours 'ranks 2' ours/bytes near "$(n 67108864 2097152)"
contender 'OpenMP task' one rivals/openmp sync "$(n 100000 100)" 1
target 'OpenMP task' 19.23 '< 2 us, where that takes 104 ns; no copy'

row A9.1 'wait for 1 of 1000 refs of tasks, 1000 times, with a wait set' ns/wait
contender ours 'job one' ours/local waitset "$(n 1000 100)"
contender 'OpenMP task' one rivals/openmp sync "$(n 100000 100)" 1
target 'OpenMP task' 9.615 '< 1 us, where that takes 104 ns'

# A bare scan takes 1.4 ns where OpenMP's task + taskwait takes 104: the target is as much.
row A9.2 'wait for 1 of 1000 refs, 1000 times, without a wait set' 'ns/ref scanned'
contender ours 'job one' ours/local wait "$(n 1000 100)"
contender bare one bare/local wait "$(n 1000 100)"
target bare 1.1 '<= 1.5 ns, where a bare scan takes 1.4'

unbuilt A10 'Task Bench stencil_1d, nearest, fft, random_nearest, METG(50 %), 2 ranks' "Task Bench's MPI, StarPU, OpenMP" \
    '<= 1x MPI with actors or a recorded graph, <= 2x with plain tasks; <= 0.15x StarPU' 'recorded graphs, and the port of Task Bench'
unbuilt A11 'allreduce of 8 B-256 MiB in a group of actors' MPI_Allreduce '>= 1x its speed up to 2 KiB, >= 0.95x above' \
    'collectives of actors'

row A12.1 'job waits idle (2 s for each repetition)' '% of a core'
contender ours 'ranks 2' ours/idle "$(n 2000 20)"
contender MPI_Recv 'ranks 2' rivals/mpi_idle "$(n 300 20)"
target MPI_Recv 0.01 '<= 1 % of what MPI_Recv uses'

row A12.2 'the same on three hosts of two ranks, by libfabric' '% of a core'
contender ours 'hosts ofi 3 2' ours/idle "$(n 2000 20)"
contender MPI_Recv 'hosts mpi 3 2' rivals/mpi_idle "$(n 300 20)"
target MPI_Recv 0.01 '<= 1 % of what MPI_Recv uses'

row A12.3 'the same, where MPI carries the messages' '% of a core'
contender ours 'hosts mpi 3 2' ours/idle "$(n 2000 20)"
contender MPI_Recv 'hosts mpi 3 2' rivals/mpi_idle "$(n 300 20)"
target MPI_Recv 0.01 '<= 1 % of what MPI_Recv uses'

# stencil NUMBER MICROSECONDS STEPS LIMIT
stencil() {
    local loops=$(($(steps_per_us) * $2 / 10))
    row "A13.$1" "stencil of 16 columns, $(($2 / 10)).$(($2 % 10)) us of work per column, ranks = 8x cores" us/step
    contender ours "over $((8 * cores))" ours/stencil 16 "$3" "$loops"
    contender 'ranks = cores' "ranks $cores" ours/stencil 16 "$3" "$loops"
    contender 'MPI at 8x' "over_yield $((8 * cores))" rivals/mpi_stencil 16 "$3" "$loops"
    [ "$4" = - ] || target 'ranks = cores' "$4" "<= ${4}x"
    target 'MPI at 8x' 1 'ahead of MPI, mpi_yield_when_idle'
}
stencil 1 1200 "$(n 100 5)" 1.15
stencil 2 120 "$(n 500 5)" 1.4
stencil 3 12 "$(n 2000 5)" -

row A14.1 'start to first task, ranks = cores' ms
contender ours "start $cores" ours/start
contender 'MPI_Init + MPI_Finalize' "start $cores" rivals/mpi_start
target 'MPI_Init + MPI_Finalize' 1.3 '<= 1.3x'

row A14.2 'start to first task, ranks = 4x cores' ms
contender ours "start $((4 * cores))" ours/start
contender 'MPI_Init + MPI_Finalize' "start $((4 * cores))" rivals/mpi_start
target 'MPI_Init + MPI_Finalize' 1.3 '<= 1.3x'

row B1.1 'task to another host + get, by libfabric' ns/task
contender ours 'hosts ofi 2 1' ours/remote task "$(n 20000 20)"
contender MPI 'hosts mpi 2 1' rivals/mpi_pingpong "$(n 20000 20)"
target MPI 1.2 '<= 1.2x the ping-pong of 64 B'

row B1.2 'the same, where MPI carries the messages' ns/task
contender ours 'hosts mpi 2 1' ours/remote task "$(n 20000 20)"
contender MPI 'hosts mpi 2 1' rivals/mpi_pingpong "$(n 20000 20)"
target MPI 1.2 '<= 1.2x the ping-pong of 64 B'

# fetch NUMBER SIZE BYTES COUNT LIMIT TEXT
fetch() {
    row "B2.$1" "fetch of $2 from another host, by libfabric, $4 asked for at once" us/MiB
    contender ours 'hosts ofi 2 1' ours/hosts fetch "$(n "$3" 1048576)" "$(n "$4" 2)"
    contender MPI 'hosts mpi 2 1' rivals/mpi_bytes fetch "$(n "$3" 1048576)" "$(n "$4" 2)"
    target MPI "$5" "$6 streaming MPI_Send"
}
fetch 1 '1 MiB' 1048576 32 1.176 '>= 0.85x'
fetch 2 '8 MiB' 8388608 8 1.053 '>= 0.95x'
fetch 3 '64 MiB' 67108864 2 1.053 '>= 0.95x'
fetch 4 '256 MiB' 268435456 1 1.053 '>= 0.95x'

row B3 'broadcast of 256 MiB to three hosts, by libfabric' us/MiB
contender ours 'hosts ofi 3 1' ours/hosts broadcast "$(n 268435456 1048576)"
contender MPI_Bcast 'hosts mpi 3 1' rivals/mpi_bytes broadcast "$(n 268435456 1048576)"
target MPI_Bcast 1.2 '<= 1.2x'

# The threads that read and write may have the other cores, if there are any; and the same on one core.
row SPILL.1 'put and get of 1 MiB objects, 3x the store' us/MiB
contender ours 'job cores' ours/spill "$(n 256 16)"
contender 'dd' cores rivals/disk "$(n 256 16)"
target dd 1.111 '>= 0.9x'

row SPILL.2 'the same, on one core' us/MiB
contender ours 'job one' ours/spill "$(n 256 16)"
contender 'dd' one rivals/disk "$(n 256 16)"
target dd 1.111 '>= 0.9x'

unbuilt B4 'locality: 1000 tasks with one random input each, 100 KB-100 MB' 'placement without locality' \
    'latency flat in size; >= 10x better at 10-100 MB' 'placement by locality'
unbuilt B5 'cost per task as ranks grow 2-64, and 64-10 000 nodes in a model' - \
    'messages per task constant; no node handles more than a constant share' 'the discrete-event model'
unbuilt C1 'committed write, 3 replicas' 'bare ring of 4 processes; Redis' \
    '<= 1.3x the ring; >= 300 000/s per shard; >= 5x Redis with WAIT' 'replicated control state'
unbuilt C2 'a replica is killed under load: longest latency of a client' - '<= 5 ms same host, <= 50 ms between hosts' \
    'replicated control state'
unbuilt C3 'failure-free cost of fault tolerance, A1, A4, A10' 'fault tolerance off' '<= 5 % instructions, no measurable time' \
    'fault tolerance'
unbuilt C4 'detection of a death' - '<= 1 ms same host; <= 100 ms, <= 3 s between hosts' 'survivors that go on after a death'
unbuilt C5 'random SIGKILL of ranks every 1-5 s' 'failure-free run' 'bit-equal results; >= 1000 kills survived' 'recovery'
unbuilt C6 '2000 actors on 10 ranks, 2 ranks killed' - '400 actors back in <= 1 s' 'recovery of actors'
unbuilt C7 '50 M empty tasks from one driver' - 'memory of every rank flat' 'bounded queues of a submitter'
unbuilt D1 'Pendulum steps/s, 3n rollouts of unequal length on n cores' 'MPI with barriers' '>= 0.97 of the bound, ahead of MPI' \
    'the benchmark comes with the workloads'
unbuilt D2 'actor answers batches of 64 states' 'the bound 64/10 ms and 64/5 ms' '>= 0.98 of both' \
    'the benchmark comes with the workloads'
unbuilt D3 'evolution strategies and PPO to a solved task' 'the same on MPI' 'same reward, no slower' \
    'the benchmark comes with the workloads'
unbuilt D4 'data-parallel SGD with a sharded parameter server' 'the same with MPI_Allreduce' '>= 0.95x' \
    'the benchmark comes with the workloads'
unbuilt E "Ray's microbenchmark, 25 lines" Ray '>= 1000x where no bytes move, placement groups >= 50x, gigabytes >= 1.5x' \
    'the benchmark comes with placement groups and concurrent actors'
