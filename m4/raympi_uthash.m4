# RAYMPI_UTHASH: uthash, headers only, for plain maps and lists off the fast path.
AC_DEFUN([RAYMPI_UTHASH], [
RAYMPI_WITH_LIBRARY([uthash], [UTHASH], [], [uthash.h], [], [], [uthash-dev], [required])
])
