libraympi_sources += \
	%D%/place.c \
	%D%/place.h
