libraympi_sources += \
	%D%/sched.c \
	%D%/sched.h \
	%D%/sched_deque.c \
	%D%/sched_deque.h \
	%D%/sched_inline.h \
	%D%/sched_futex.c \
	%D%/sched_internal.h \
	%D%/sched_park.c \
	%D%/sched_progress.c \
	%D%/sched_queue.c \
	%D%/sched_rest.c \
	%D%/sched_worker.c
