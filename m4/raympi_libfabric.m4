# RAYMPI_LIBFABRIC: libfabric, which carries messages between hosts, and libsodium, which authenticates them. Without
# either, MPI carries them.
AC_DEFUN([RAYMPI_LIBFABRIC], [
RAYMPI_WITH_LIBRARY([libfabric], [LIBFABRIC], [libfabric], [rdma/fabric.h],
    [[struct fi_info *info = fi_allocinfo(); fi_freeinfo(info);]], [-lfabric], [libfabric-dev], [optional])
RAYMPI_WITH_LIBRARY([libsodium], [LIBSODIUM], [libsodium], [sodium.h],
    [[return sodium_init();]], [-lsodium], [libsodium-dev], [optional])
AS_IF([test "x$raympi_libsodium_found" = xno && test "x$raympi_libfabric_found" != xno], [
    AS_CASE([$with_libfabric], [auto], [], [
        AC_MSG_ERROR([libfabric was asked for, and needs libsodium: install it (on Debian and Ubuntu: apt-get install libsodium-dev) or say where it is: --with-libsodium=DIR])])
    raympi_libfabric_found="no, for want of libsodium (on Debian and Ubuntu: apt-get install libsodium-dev)"
    LIBFABRIC_CFLAGS=
    LIBFABRIC_LIBS=
], [test "x$raympi_libfabric_found" = xno], [
    LIBSODIUM_CFLAGS=
    LIBSODIUM_LIBS=
])
AM_CONDITIONAL([HAVE_LIBFABRIC], [test -n "$LIBFABRIC_LIBS"])
AS_IF([test -n "$LIBFABRIC_LIBS"], [AC_DEFINE([HAVE_LIBFABRIC], [1], [Messages between hosts can go by libfabric.])])
])
