libraympi_sources += \
	%D%/task.h \
	%D%/task_bytes.c \
	%D%/task_context.c \
	%D%/task_cross.c \
	%D%/task_done.c \
	%D%/task_end.c \
	%D%/task_ends.c \
	%D%/task_fetch.c \
	%D%/task_function.c \
	%D%/task_held.c \
	%D%/task_id.c \
	%D%/task_inline.h \
	%D%/task_internal.h \
	%D%/task_object.c \
	%D%/task_plan.c \
	%D%/task_ref.c \
	%D%/task_refcount.c \
	%D%/task_refcount.h \
	%D%/task_room.c \
	%D%/task_run.c \
	%D%/task_short.h \
	%D%/task_steal.c \
	%D%/task_submit.c \
	%D%/task_value.c \
	%D%/task_value.h \
	%D%/task_wait.c \
	%D%/task_wire.c
