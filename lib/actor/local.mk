libraympi_sources += \
	%D%/actor.c \
	%D%/actor.h \
	%D%/actor_host.c \
	%D%/actor_internal.h \
	%D%/actor_lane.c
