# RAYMPI_MPI
# ----------
# Open MPI. AX_MPI finds the compiler wrapper and sees that it links; the wrapper then tells the
# flags, so that everything else is built by the plain compiler (libtool and sanitizers like that
# better). Sets MPICC, MPIRUN, MPI_CFLAGS and MPI_LIBS.
AC_DEFUN([RAYMPI_MPI], [
AC_ARG_WITH([mpi],
    [AS_HELP_STRING([--with-mpi=DIR|no|auto], [where Open MPI is installed (required) @<:@auto@:>@])],
    [], [with_mpi=auto])
AC_ARG_VAR([MPIRUN], [the mpirun that the tests use])
AC_ARG_VAR([MPI_CFLAGS], [compiler flags for MPI, instead of asking mpicc])
AC_ARG_VAR([MPI_LIBS], [linker flags for MPI, instead of asking mpicc])
raympi_mpi_found=no
raympi_mpi_path=$PATH
AS_CASE([$with_mpi], [no], [], [yes|auto], [raympi_mpi_found=system],
    [raympi_mpi_found=$with_mpi; raympi_mpi_path=$with_mpi/bin
     AS_IF([test -x "$with_mpi/bin/mpicc"], [MPICC=$with_mpi/bin/mpicc], [raympi_mpi_found=no])])
AS_IF([test "x$raympi_mpi_found" != xno], [AX_MPI([:], [raympi_mpi_found=no])])
AS_IF([test "x$raympi_mpi_found" != xno], [
    test -n "$MPI_CFLAGS" || MPI_CFLAGS=`$MPICC --showme:compile 2>/dev/null`
    test -n "$MPI_LIBS" || MPI_LIBS=`$MPICC --showme:link 2>/dev/null`
    AC_MSG_CHECKING([whether the flags of $MPICC work with $CC])
    raympi_mpi_links=no
    RAYMPI_TRY_LINK([MPI], [[#include <mpi.h>
#ifndef OPEN_MPI
#error raympi is built on Open MPI
#endif]], [[return MPI_Finalize();]], [raympi_mpi_links=yes])
    AC_MSG_RESULT([$raympi_mpi_links])
    test $raympi_mpi_links = yes || raympi_mpi_found=no
])
AS_IF([test "x$raympi_mpi_found" = xno],
    [RAYMPI_NOT_FOUND([mpi], [libopenmpi-dev openmpi-bin], [required])])
AC_PATH_PROG([MPIRUN], [mpirun], [mpirun], [$raympi_mpi_path])
raympi_mpi_found="$raympi_mpi_found, $MPICC, $MPIRUN"
])
