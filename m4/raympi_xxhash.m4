# RAYMPI_XXHASH: xxHash, for RAYMPI_CHECKSUM. Without it there is none.
AC_DEFUN([RAYMPI_XXHASH], [
RAYMPI_WITH_LIBRARY([xxhash], [XXHASH], [libxxhash], [xxhash.h],
    [[return (int)XXH3_64bits("", 0);]], [-lxxhash], [libxxhash-dev], [optional])
AM_CONDITIONAL([HAVE_XXHASH], [test -n "$XXHASH_LIBS"])
])
