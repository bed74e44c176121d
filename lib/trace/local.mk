libraympi_sources += \
	%D%/trace.c \
	%D%/trace.h \
	%D%/trace_internal.h \
	%D%/trace_json.c \
	%D%/trace_serialize.c \
	%D%/trace_table.c
