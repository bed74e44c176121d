# An example is built by `make` and links what users link: two lines each, for the program NAME
#   noinst_PROGRAMS += %D%/NAME
#   %C%_NAME_LDADD = $(public_library)
noinst_PROGRAMS += %D%/hello
%C%_hello_LDADD = $(public_library)

noinst_PROGRAMS += %D%/es_pendulum
%C%_es_pendulum_SOURCES = %D%/es_pendulum.c %D%/es_core.c %D%/es_core.h %D%/pendulum.c %D%/pendulum.h \
	%D%/program.c %D%/program.h
%C%_es_pendulum_LDADD = $(public_library) -lm

noinst_PROGRAMS += %D%/train_policy
%C%_train_policy_SOURCES = %D%/train_policy.c %D%/train_core.c %D%/train_core.h %D%/pendulum.c %D%/pendulum.h \
	%D%/program.c %D%/program.h
%C%_train_policy_LDADD = $(public_library) -lm
