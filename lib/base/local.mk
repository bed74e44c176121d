libraympi_sources += \
	%D%/base_version.c
