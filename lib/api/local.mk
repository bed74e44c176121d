libraympi_sources += \
	%D%/api.h \
	%D%/api_attach.c \
	%D%/api_body.c \
	%D%/api_bootstrap.c \
	%D%/api_bootstrap.h \
	%D%/api_call.c \
	%D%/api_init.c \
	%D%/api_misuse.c \
	%D%/api_mpi_threads.c \
	%D%/api_mpi_threads.h \
	%D%/api_node.c \
	%D%/api_object.c \
	%D%/api_reads.c \
	%D%/api_refs.c \
	%D%/api_store.c \
	%D%/api_wait.c \
	%D%/api_waitset.c
