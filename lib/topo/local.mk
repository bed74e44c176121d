libraympi_sources += \
	%D%/topo.c \
	%D%/topo.h \
	%D%/topo_internal.h
