libraympi_sources += \
	%D%/control_chain.c \
	%D%/control_chain.h \
	%D%/control_table.c \
	%D%/control_table.h \
	%D%/control_table_internal.h \
	%D%/control_table_save.c
