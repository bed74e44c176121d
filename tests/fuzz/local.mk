# Fuzzers of everything that reads bytes from elsewhere: built by --enable-fuzzers and make fuzzers, run by tests/fuzz/run.
fuzz_programs = %D%/fuzz_task %D%/fuzz_done %D%/fuzz_ends %D%/fuzz_value %D%/fuzz_control %D%/fuzz_refcount %D%/fuzz_ring \
	%D%/fuzz_parts %D%/fuzz_names %D%/fuzz_config %D%/fuzz_trace %D%/fuzz_place %D%/fuzz_packets %D%/fuzz_stored \
	%D%/fuzz_planted
%C%_fuzz_planted_SOURCES = %D%/fuzz_refcount.c
%C%_fuzz_planted_CPPFLAGS = $(AM_CPPFLAGS) -DFUZZ_PLANTED
%C%_fuzz_task_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_done_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_ends_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_value_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_control_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_refcount_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_ring_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_parts_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_names_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_config_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_trace_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_packets_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_stored_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_place_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
%C%_fuzz_planted_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
if FUZZERS
EXTRA_PROGRAMS = $(fuzz_programs)
endif
fuzzers: $(fuzz_programs)
.PHONY: fuzzers
EXTRA_DIST += %D%/run %D%/fuzz.h %D%/fuzz_node.h %D%/regressions
