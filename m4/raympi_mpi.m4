# RAYMPI_MPI
# ----------
# An implementation of MPI-3: Open MPI, MPICH, or one of its kind. AX_MPI finds the compiler wrapper and
# sees that it links; the wrapper then tells the flags, so that everything else is built by the plain
# compiler (libtool and sanitizers like that better). Sets MPICC, MPIRUN, MPI_CFLAGS and MPI_LIBS.
AC_DEFUN([RAYMPI_MPI], [
AC_ARG_WITH([mpi],
    [AS_HELP_STRING([--with-mpi=DIR|no|auto], [where MPI is installed (required) @<:@auto@:>@])],
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
    test -n "$MPI_CFLAGS" || RAYMPI_ASK_MPICC([MPI_CFLAGS], [--showme:compile], [-I* | -D*])
    test -n "$MPI_LIBS" || RAYMPI_ASK_MPICC([MPI_LIBS], [--showme:link], [-L* | -l* | -Wl,* | -pthread])
    AC_MSG_CHECKING([whether the flags of $MPICC work with $CC])
    raympi_mpi_links=no
    RAYMPI_TRY_LINK([MPI], [[#include <mpi.h>
#if MPI_VERSION < 3
#error raympi needs MPI 3
#endif]], [[return MPI_Finalize();]], [raympi_mpi_links=yes])
    AC_MSG_RESULT([$raympi_mpi_links])
    test $raympi_mpi_links = yes || raympi_mpi_found=no
])
AS_IF([test "x$raympi_mpi_found" = xno],
    [RAYMPI_NOT_FOUND([mpi], [libopenmpi-dev openmpi-bin], [required])])
# The mpirun that is named like mpicc, as mpirun.mpich beside mpicc.mpich; the plain one else.
raympi_mpirun=${MPIRUN:-`AS_ECHO(["$MPICC"]) | sed 's/mpicc\([[^/]]*\)$/mpirun\1/'`}
AS_CASE([$raympi_mpirun], [*/*], [MPIRUN=$raympi_mpirun], [MPIRUN=])
AC_PATH_PROGS([MPIRUN], [$raympi_mpirun mpirun], [mpirun], [$raympi_mpi_path])
# For gcc, from 11 on, MPICH's MPI_STATUSES_IGNORE is an array without elements.
AX_CHECK_COMPILE_FLAG([-Werror=stringop-overflow], [], [RAYMPI_CFLAGS="$RAYMPI_CFLAGS -Wno-stringop-overflow"],
    [$MPI_CFLAGS], [AC_LANG_PROGRAM([[#include <mpi.h>]],
        [[MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        return MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);]])])
RAYMPI_MPI_NAME
AM_CONDITIONAL([MPICH], [AS_CASE(["$raympi_mpi_name"], [MPICH*], [true], [false])])
raympi_mpi_found="$raympi_mpi_name, $raympi_mpi_found, $MPICC, $MPIRUN"
])

# RAYMPI_ASK_MPICC(VARIABLE, OPTION, PATTERNS): the wrapper's flags. Open MPI's knows OPTION; of what MPICH's
# shows, which is all flags at once, those that match are taken.
AC_DEFUN([RAYMPI_ASK_MPICC], [{
    $1=`$MPICC $2 2>/dev/null` ||
        for raympi_flag in `$MPICC -show 2>/dev/null`; do
            AS_CASE([$raympi_flag], [$3], [$1="$$1 $raympi_flag"])
        done
}])

# RAYMPI_MPI_NAME: sets raympi_mpi_name to what mpi.h says that it is of.
AC_DEFUN([RAYMPI_MPI_NAME], [
AC_LANG_CONFTEST([AC_LANG_SOURCE([[#include <mpi.h>
#if defined OPEN_MPI
raympi "Open MPI" OMPI_MAJOR_VERSION.OMPI_MINOR_VERSION.OMPI_RELEASE_VERSION
#elif defined MPICH_VERSION
raympi "MPICH" MPICH_VERSION
#else
raympi "MPI" MPI_VERSION.MPI_SUBVERSION
#endif]])])
raympi_mpi_name=`$CC -E $CPPFLAGS $MPI_CFLAGS conftest.c 2>/dev/null | sed -n '/^raympi /{s///;s/"//g;s/ *\. */./g;p;}'`
])
