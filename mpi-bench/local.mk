# Benchmarks are built by mpi-bench/run, from the installed library. Here they are only compiled, and tests/mpi/bench.test
# starts them with tiny counts, so that they do not rot.
bench_ours = %D%/ours/local %D%/ours/bytes %D%/ours/hosts %D%/ours/spill %D%/ours/refs %D%/ours/remote %D%/ours/idle %D%/ours/start %D%/ours/stencil
bench_rivals = %D%/rivals/mpi_bytes %D%/rivals/disk %D%/rivals/mpi_pingpong %D%/rivals/mpi_idle %D%/rivals/mpi_start %D%/rivals/mpi_stencil
bench_bare = %D%/bare/local %D%/bare/copy %D%/bare/ring
check_PROGRAMS += $(bench_ours) $(bench_rivals) $(bench_bare) %D%/calibrate
%C%_ours_local_LDADD = $(public_library)
%C%_ours_bytes_LDADD = $(public_library)
%C%_ours_hosts_LDADD = $(public_library)
%C%_ours_spill_LDADD = $(public_library)
%C%_ours_refs_LDADD = $(public_library)
%C%_ours_remote_LDADD = $(public_library)
%C%_ours_idle_LDADD = $(public_library)
%C%_ours_start_LDADD = $(public_library)
%C%_ours_stencil_LDADD = $(public_library)
%C%_rivals_disk_LDADD =
%C%_rivals_mpi_bytes_LDADD = $(MPI_LIBS) $(PTHREAD_LIBS)
%C%_rivals_mpi_pingpong_LDADD = $(MPI_LIBS) $(PTHREAD_LIBS)
%C%_rivals_mpi_idle_LDADD = $(MPI_LIBS) $(PTHREAD_LIBS)
%C%_rivals_mpi_start_LDADD = $(MPI_LIBS)
%C%_rivals_mpi_stencil_LDADD = $(MPI_LIBS) $(PTHREAD_LIBS)
%C%_bare_local_LDADD = $(PTHREAD_LIBS)
%C%_bare_copy_LDADD =
%C%_bare_ring_LDADD = $(PTHREAD_LIBS)
%C%_calibrate_LDADD =
EXTRA_DIST += %D%/run %D%/on-hosts %D%/rows.sh %D%/report.awk %D%/table.awk %D%/plot.awk %D%/gate %D%/instructions.awk %D%/instructions.tsv %D%/bench.h %D%/bare/bare.h %D%/ours/ours.h %D%/rivals/rival_mpi.h \
	%D%/rivals/openmp.c %D%/rivals/starpu.c
