# An example is built by `make` and links what users link: two lines each, for the program NAME
#   noinst_PROGRAMS += %D%/NAME
#   %C%_NAME_LDADD = $(public_library)
noinst_PROGRAMS += %D%/hello
%C%_hello_LDADD = $(public_library)
