# unit_tests    CUnit programs, one for a topic of a room: tests/ROOM/test_TOPIC (from .c)
# mpi_programs  programs that the mpirun tests start: tests/mpi/NAME (from .c)
# mpi_tests     mpirun tests: tests/mpi/NAME.test, a script that calls tests/run-mpi, or tests/hosts/run for several hosts
# sanitizer_tests  those of mpi_tests that also run with sanitizers in .ci/run
# script_tests  tests that are scripts and start no MPI job
# A test of one file is one line here, or two with its script.
# The longest come first here: at the end they would run alone.
unit_tests = %D%/store/test_steps %D%/api/test_sim_hello
mpi_programs =
mpi_tests = %D%/limits/alloc.test %D%/slurm/three-nodes.test %D%/slurm/one-node.test
sanitizer_tests = %D%/mpi/random.test %D%/mpi/objects.test
script_tests =

unit_tests += %D%/base/test_version %D%/base/test_status %D%/base/test_config %D%/base/test_memory \
	%D%/base/test_segment %D%/base/test_crash %D%/base/test_fiber
unit_tests += %D%/net/test_ring %D%/net/test_shm %D%/net/test_death %D%/net/test_sim %D%/net/test_sim_faults %D%/net/test_sim_protocol \
	%D%/net/test_joint %D%/net/test_read
unit_tests += %D%/store/test_arena %D%/store/test_churn %D%/store/test_store %D%/store/test_pins %D%/store/test_faults
# No memory stands behind its store.
%C%_store_test_churn_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=base_segment_commit -Wl,--wrap=madvise
%C%_store_test_churn_LDADD = $(LDADD) -lm
# Its allocations fail on demand.
%C%_store_test_faults_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=calloc -Wl,--wrap=base_segment_commit -Wl,--wrap=mmap \
	-Wl,--wrap=mprotect
wrap_disk = -Wl,--wrap=pwritev -Wl,--wrap=preadv2 -Wl,--wrap=sync_file_range
# Their reads and writes are held and fail on demand.
unit_tests += %D%/store/test_spill %D%/store/test_spill_faults %D%/store/test_spill_short %D%/store/test_spill_stress
%C%_store_test_steps_SOURCES = %D%/store/test_steps.c %D%/store/spill_disk.c %D%/store/spill_disk.h
%C%_store_test_steps_LDFLAGS = $(AM_LDFLAGS) $(wrap_disk)
%C%_store_test_spill_SOURCES = %D%/store/test_spill.c %D%/store/spill_disk.c %D%/store/spill_disk.h
%C%_store_test_spill_LDFLAGS = $(AM_LDFLAGS) $(wrap_disk)
%C%_store_test_spill_faults_SOURCES = %D%/store/test_spill_faults.c %D%/store/spill_disk.c %D%/store/spill_disk.h
%C%_store_test_spill_faults_LDFLAGS = $(AM_LDFLAGS) $(wrap_disk) -Wl,--wrap=open
%C%_store_test_spill_short_SOURCES = %D%/store/test_spill_short.c %D%/store/spill_disk.c %D%/store/spill_disk.h
%C%_store_test_spill_short_LDFLAGS = $(AM_LDFLAGS) $(wrap_disk)
%C%_store_test_spill_stress_SOURCES = %D%/store/test_spill_stress.c %D%/store/spill_disk.c %D%/store/spill_disk.h
%C%_store_test_spill_stress_LDFLAGS = $(AM_LDFLAGS) $(wrap_disk)
unit_tests += %D%/store/test_protect
%C%_store_test_protect_SOURCES = %D%/store/test_protect.c %D%/store/spill_disk.c %D%/store/spill_disk.h
%C%_store_test_protect_LDFLAGS = $(AM_LDFLAGS) $(wrap_disk) -Wl,--wrap=mprotect
if HAVE_LIBFABRIC
unit_tests += %D%/net/test_ofi
%C%_net_test_ofi_SOURCES = %D%/net/test_ofi.c %D%/net/test_ofi_reads.c %D%/net/test_ofi_regions.c %D%/net/ofi_pair.c %D%/net/ofi_pair.h
endif
EXTRA_DIST += %D%/net/job.h %D%/net/hosts.h %D%/net/sim_world.h %D%/store/store_test.h
unit_tests += %D%/topo/test_topo %D%/trace/test_trace %D%/trace/test_json
EXTRA_DIST += %D%/base/child.h %D%/trace/json.h %D%/mpi/mpi_test.h

# The same tests over the other way to switch fibers: with objects of its own, and without the library.
unit_tests += %D%/base/test_fiber_ucontext
%C%_base_test_fiber_ucontext_SOURCES = %D%/base/test_fiber.c lib/base/base_fiber.c lib/base/base_fiber_ucontext.c
%C%_base_test_fiber_ucontext_CFLAGS = $(AM_CFLAGS)
%C%_base_test_fiber_ucontext_LDADD = $(CUNIT_LIBS)

unit_tests += %D%/base/test_fiber_cxx
%C%_base_test_fiber_cxx_SOURCES = %D%/base/test_fiber_cxx.cc

unit_tests += %D%/task/test_refcount
%C%_task_test_refcount_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=realloc

noinst_PROGRAMS += %D%/refcount-sim
%C%_refcount_sim_SOURCES = %D%/refcount-sim.c %D%/refcount-sim.h %D%/refcount-sim-kinds.h \
	%D%/refcount-sim-names.c %D%/refcount-sim-schedule.c %D%/refcount-sim-ranks.c %D%/refcount-sim-letters.c \
	%D%/refcount-sim-refs.c %D%/refcount-sim-tasks.c %D%/refcount-sim-moves.c %D%/refcount-sim-blocks.c \
	%D%/refcount-sim-leases.c %D%/refcount-sim-copies.c %D%/refcount-sim-reads.c %D%/refcount-sim-deaths.c \
	%D%/refcount-sim-struck.c %D%/refcount-sim-checks.c
script_tests += %D%/script/refcount-sim.test

noinst_PROGRAMS += %D%/net-footprint
script_tests += %D%/script/net-footprint.test
# Random programs; tests/random-program runs them.
noinst_PROGRAMS += %D%/random/program
%C%_random_program_SOURCES = %D%/random/main.c %D%/random/plan.c %D%/random/plan.h %D%/random/plan_parts.c %D%/random/plan_parts.h \
	%D%/random/model.c \
	%D%/random/print.c %D%/random/run.c %D%/random/run_look.c %D%/random/run_make.c %D%/random/run_call.c %D%/random/run_burst.c \
	%D%/random/run_body.c %D%/random/run.h %D%/random/script.h %D%/random/value.h %D%/random/left.c \
	%D%/random/job.c %D%/random/sim.c %D%/random/sim.h

mpi_programs += %D%/cxx/hello
%C%_cxx_hello_SOURCES = %D%/cxx/hello.cc
%C%_cxx_hello_LDADD = $(public_library)
mpi_tests += %D%/mpi/hello_cxx.test
sanitizer_tests += %D%/mpi/hello_cxx.test

mpi_programs += %D%/mpi/tasks %D%/mpi/credits %D%/mpi/brief
mpi_tests += %D%/mpi/credits.test %D%/mpi/brief.test
mpi_programs += %D%/mpi/slowed %D%/mpi/fair
mpi_tests += %D%/mpi/slowed.test %D%/mpi/fair.test
sanitizer_tests += %D%/mpi/slowed.test
mpi_tests += %D%/mpi/tasks.test
sanitizer_tests += %D%/mpi/tasks.test

# Wrong input and faults.
mpi_programs += %D%/mpi/bad_input
%C%_mpi_bad_input_SOURCES = %D%/mpi/bad_input.c %D%/mpi/bad_input_body.c %D%/mpi/bad_input_refs.c %D%/mpi/bad_input.h
mpi_tests += %D%/mpi/bad_input.test
sanitizer_tests += %D%/mpi/bad_input.test
mpi_programs += %D%/mpi/faults
mpi_programs += %D%/mpi/throws
%C%_mpi_throws_SOURCES = %D%/mpi/throws.cc
mpi_tests += %D%/mpi/faults.test
mpi_programs += %D%/mpi/lifecycle
%C%_mpi_lifecycle_LDADD = $(LDADD) $(MPI_LIBS)
mpi_tests += %D%/mpi/lifecycle.test
mpi_programs += %D%/mpi/late_event
%C%_mpi_late_event_LDFLAGS = $(AM_LDFLAGS) -rdynamic
mpi_tests += %D%/mpi/late_event.test
mpi_programs += %D%/mpi/forks
mpi_tests += %D%/mpi/forks.test
mpi_programs += %D%/mpi/deadlock
mpi_tests += %D%/mpi/deadlock.test
mpi_tests += %D%/mpi/observe.test
mpi_tests += %D%/mpi/containers.test

# Tasks of several files, libraries and binaries.
check_LTLIBRARIES = %D%/mpi/libmixed_shared.la %D%/mpi/libmixed_static.la
%C%_mpi_libmixed_shared_la_SOURCES = %D%/mpi/mixed/shared.c
%C%_mpi_libmixed_shared_la_LDFLAGS = -rpath $(abs_builddir)/tests/mpi -avoid-version
%C%_mpi_libmixed_shared_la_LIBADD = libraympi.la
%C%_mpi_libmixed_static_la_SOURCES = %D%/mpi/mixed/static.c
mixed_libraries = %D%/mpi/libmixed_shared.la %D%/mpi/libmixed_static.la $(public_library)
mpi_programs += %D%/mpi/mixed_first %D%/mpi/mixed_second %D%/mpi/mixed_twice
%C%_mpi_mixed_first_SOURCES = %D%/mpi/mixed/main.c %D%/mpi/mixed/file.c
%C%_mpi_mixed_first_LDADD = $(mixed_libraries)
%C%_mpi_mixed_first_LDFLAGS = -no-install -Wl,--no-as-needed -Wl,--undefined=mixed_static_linked
%C%_mpi_mixed_second_SOURCES = $(%C%_mpi_mixed_first_SOURCES)
%C%_mpi_mixed_second_CPPFLAGS = $(AM_CPPFLAGS) -DSECOND
%C%_mpi_mixed_second_LDADD = $(mixed_libraries)
%C%_mpi_mixed_second_LDFLAGS = $(%C%_mpi_mixed_first_LDFLAGS)
%C%_mpi_mixed_twice_SOURCES = %D%/mpi/mixed/twice.c %D%/mpi/mixed/file.c
%C%_mpi_mixed_twice_LDADD = $(mixed_libraries)
%C%_mpi_mixed_twice_LDFLAGS = $(%C%_mpi_mixed_first_LDFLAGS)
mpi_tests += %D%/mpi/mixed.test
mpi_tests += %D%/mpi/faults_recovery.test
mpi_programs += %D%/mpi/objects
%C%_mpi_objects_SOURCES = %D%/mpi/objects.c %D%/mpi/objects_refs.c %D%/mpi/objects.h
mpi_tests += %D%/mpi/objects.test %D%/mpi/leaks.test
mpi_programs += %D%/mpi/store_full %D%/mpi/unread %D%/mpi/spill %D%/mpi/seeing %D%/mpi/protect %D%/mpi/disk
mpi_tests += %D%/mpi/store_full.test %D%/mpi/unread.test %D%/mpi/shm_small.test %D%/mpi/spill.test %D%/mpi/seeing.test \
	%D%/mpi/protect.test %D%/hosts/protect.test %D%/mpi/disk.test %D%/mpi/store_limit.test
mpi_programs += %D%/mpi/threads %D%/mpi/released
mpi_tests += %D%/mpi/released.test
sanitizer_tests += %D%/mpi/released.test
%C%_mpi_threads_CFLAGS = $(AM_CFLAGS) -pthread
mpi_tests += %D%/mpi/threads.test
sanitizer_tests += %D%/mpi/threads.test
mpi_programs += %D%/mpi/stress
mpi_tests += %D%/mpi/stress.test
sanitizer_tests += %D%/mpi/stress.test
unit_tests += %D%/control/test_history %D%/control/test_table %D%/control/test_chain
%C%_control_test_table_SOURCES = %D%/control/test_table.c %D%/limits/fault.c
%C%_control_test_table_LDFLAGS = $(AM_LDFLAGS) $(wrap_allocations)
%C%_control_test_chain_SOURCES = %D%/control/test_chain.c %D%/control/history.c %D%/control/history.h
%C%_control_test_history_SOURCES = %D%/control/test_history.c %D%/control/history.c %D%/control/history.h
unit_tests += %D%/sched/test_deque %D%/sched/test_sched %D%/place/test_place
unit_tests += %D%/task/test_wire %D%/task/test_present %D%/task/test_tree %D%/task/test_ranges %D%/task/test_value %D%/task/test_id %D%/task/test_context %D%/task/test_object \
	%D%/task/test_close %D%/task/test_gaps %D%/task/test_refcount_bytes %D%/task/test_sums %D%/task/test_lines
# One-sided reads are the test's; it looks at what can be seen during a check.
wrap_reads = -Wl,--wrap=net_reads,--wrap=net_read,--wrap=net_read_serve,--wrap=net_range_open,--wrap=net_range_open_to,--wrap=net_range_close
%C%_task_test_ranges_LDFLAGS = $(AM_LDFLAGS) $(wrap_reads)
%C%_task_test_tree_LDFLAGS = $(AM_LDFLAGS) $(wrap_reads)
%C%_task_test_sums_LDFLAGS = $(AM_LDFLAGS) $(wrap_reads) -Wl,--wrap=store_seal_copy
EXTRA_DIST += %D%/task/task_node.h %D%/task/far_values.h %D%/task/far_reads.h %D%/task/far_ranks.h
# What is not freed is counted.
%C%_task_test_close_SOURCES = %D%/task/test_close.c %D%/limits/fault.c
%C%_task_test_close_LDFLAGS = $(AM_LDFLAGS) $(wrap_allocations)
EXTRA_DIST += %D%/api/sim_job.h
mpi_programs += %D%/mpi/actors
%C%_mpi_actors_SOURCES = %D%/mpi/actors.c %D%/mpi/actor_classes.c %D%/mpi/actors.h
mpi_tests += %D%/mpi/actors.test %D%/mpi/actors_end.test
sanitizer_tests += %D%/mpi/actors.test %D%/mpi/actors_end.test

mpi_tests += %D%/mpi/trainers.test
mpi_tests += %D%/mpi/bench.test

# Limits. The linker sends raympi's allocations through the test, which lets them fail one by one.
mpi_programs += %D%/limits/alloc
%C%_limits_alloc_SOURCES = %D%/limits/alloc.c %D%/limits/alloc_operations.c %D%/limits/fault.c
%C%_limits_alloc_LDADD = $(LDADD) $(MPI_LIBS)
%C%_limits_alloc_LDFLAGS = $(AM_LDFLAGS) $(wrap_allocations)
wrap_allocations = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc \
	-Wl,--wrap=strdup,--wrap=free,--wrap=open_memstream,--wrap=pthread_create \
	-Wl,--wrap=mmap,--wrap=mprotect,--wrap=shm_open,--wrap=ftruncate,--wrap=fallocate
mpi_programs += %D%/limits/scale
mpi_tests += %D%/limits/scale.test
mpi_tests += %D%/limits/flood.test

# Where it runs.
mpi_programs += %D%/mpi/neighbours
mpi_tests += %D%/mpi/two_jobs.test
script_tests += %D%/script/aarch64.test
EXTRA_DIST += %D%/limits/alloc.h %D%/limits/fault.h

# Several hosts on one machine.
mpi_programs += %D%/hosts/pingpong %D%/hosts/wire %D%/hosts/tree %D%/mpi/far
%C%_hosts_pingpong_LDADD = $(MPI_LIBS)
%C%_hosts_wire_LDADD =
mpi_tests += %D%/hosts/hosts.test %D%/hosts/unread.test %D%/hosts/jobs.test %D%/hosts/ways.test %D%/hosts/lost.test
mpi_programs += %D%/hosts/reads %D%/hosts/sums
mpi_programs += %D%/hosts/start %D%/hosts/stopped %D%/hosts/stranger %D%/hosts/replay
if HAVE_LIBFABRIC
mpi_programs += %D%/hosts/forger
endif
%C%_hosts_start_LDADD = $(LDADD) $(MPI_LIBS)
%C%_hosts_start_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=raympi_version
%C%_hosts_stranger_LDADD =
%C%_hosts_replay_LDADD =
mpi_tests += %D%/hosts/faults.test %D%/hosts/reads.test %D%/hosts/sums.test
EXTRA_DIST += %D%/hosts/run %D%/hosts/cluster %D%/hosts/host %D%/hosts/ranks %D%/hosts/enter %D%/hosts/cut %D%/hosts/heal
EXTRA_DIST += %D%/hosts/rma-death
EXTRA_DIST += %D%/hosts/left-lib.sh %D%/slurm/slurm-lib.sh %D%/slurm/on-hosts
EXTRA_DIST += %D%/hosts/finalize.c
if MPICH
# As libtool would build it with shared libraries only.
check_DATA = %D%/hosts/finalize.so
CLEANFILES += %D%/hosts/finalize.so
%D%/hosts/finalize.so: %D%/hosts/finalize.c
	$(AM_V_CCLD)$(CC) $(AM_CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) -fPIC -shared -o $@ $(srcdir)/%D%/hosts/finalize.c
endif

mpi_tests += %D%/mpi/random.test %D%/random/sim.test
sanitizer_tests += %D%/random/sim.test

script_tests += %D%/script/examples-compile.test
script_tests += %D%/script/readme.test
script_tests += %D%/script/manual.test
script_tests += %D%/script/check-rooms.test
script_tests += %D%/script/acceptance-check.test
script_tests += %D%/script/run-mpi.test

mpi_programs += %D%/sanitize/planted
if SANITIZER
TESTS += %D%/sanitize/planted.test
endif
EXTRA_DIST += %D%/sanitize/planted.test

# The smoke test: hello, which every level of `make check` runs.
smoke_tests = %D%/mpi/hello.test

if HAVE_CUNIT
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
endif
check_PROGRAMS += $(mpi_programs)
TESTS += $(smoke_tests)
if CHECK_FULL
TESTS += $(script_tests) $(mpi_tests)
endif
if CHECK_SANITIZER
TESTS += $(sanitizer_tests)
endif

EXTRA_DIST += $(smoke_tests) $(mpi_tests) $(script_tests) %D%/unit.h %D%/acceptance.tsv \
	%D%/run-mpi %D%/run-lib.sh %D%/launcher.sh %D%/random-program %D%/check-rooms %D%/acceptance-check %D%/check-install \
	%D%/configure-wishes %D%/check-in %D%/asan.supp %D%/lsan.supp %D%/tsan.supp %D%/valgrind.supp
EXTRA_DIST += %D%/models/run %D%/models/tso.h %D%/models/sleep_net.pml %D%/models/sleep_workers.pml \
	%D%/models/sleep_progress.pml %D%/models/pin_free.pml %D%/models/pin_drop.pml %D%/models/ring_full.pml %D%/models/deque.pml \
	%D%/models/ends.pml %D%/models/cross.pml %D%/models/copies.pml %D%/models/refs_deaths.pml %D%/models/tree.pml

# A script says in its first line what runs it; a program runs under run-mpi without mpirun, for
# its deadline.
TEST_EXTENSIONS = .test
LOG_COMPILER = $(srcdir)/tests/run-mpi
AM_LOG_FLAGS = -n 0 --

AM_TESTS_ENVIRONMENT = \
	MPIRUN='$(MPIRUN)'; export MPIRUN; MPI_CFLAGS='$(MPI_CFLAGS)'; export MPI_CFLAGS; \
	MPI_LIBS='$(MPI_LIBS)'; export MPI_LIBS; SANITIZER='$(SANITIZER)'; export SANITIZER; \
	suppressions='$(abs_top_srcdir)/tests'; \
	ASAN_OPTIONS="suppressions=$$suppressions/asan.supp:$$ASAN_OPTIONS"; export ASAN_OPTIONS; \
	LSAN_OPTIONS="suppressions=$$suppressions/lsan.supp:print_suppressions=0:$$LSAN_OPTIONS"; export LSAN_OPTIONS; \
	TSAN_OPTIONS="suppressions=$$suppressions/tsan.supp:ignore_noninstrumented_modules=1:$$TSAN_OPTIONS"; export TSAN_OPTIONS; \
	UBSAN_OPTIONS="print_stacktrace=1:$$UBSAN_OPTIONS"; export UBSAN_OPTIONS;
if !CHECK_FULL
AM_TESTS_ENVIRONMENT += RAYMPI_TEST_STEPS=15000; export RAYMPI_TEST_STEPS;
if CHECK_SANITIZER
# With one worker there is less that could go wrong; other numbers of ranks are the same code.
AM_TESTS_ENVIRONMENT += RAYMPI_TEST_RANKS=3; export RAYMPI_TEST_RANKS; \
	RAYMPI_TEST_WORKERS=3; export RAYMPI_TEST_WORKERS; \
	RAYMPI_TEST_RANDOM_RANKS=2,8; export RAYMPI_TEST_RANDOM_RANKS; \
	RAYMPI_TEST_SIM_SEEDS=10; export RAYMPI_TEST_SIM_SEEDS;
else
AM_TESTS_ENVIRONMENT += RAYMPI_TEST_RANKS=2; export RAYMPI_TEST_RANKS; \
	RAYMPI_TEST_WORKERS=1; export RAYMPI_TEST_WORKERS;
endif
endif

# Builds of their own, in build-WAY: see tests/check-in.
check-asan check-ubsan check-tsan check-valgrind coverage:
	$(srcdir)/tests/check-in $(@:check-%=%)
.PHONY: check-asan check-ubsan check-tsan check-valgrind coverage
