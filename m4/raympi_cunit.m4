# RAYMPI_CUNIT: CUnit, for the unit tests. Without it `make check` runs the other tests only.
AC_DEFUN([RAYMPI_CUNIT], [
RAYMPI_WITH_LIBRARY([cunit], [CUNIT], [cunit], [CUnit/CUnit.h],
    [[return CU_initialize_registry();]], [-lcunit], [libcunit1-dev], [optional])
AM_CONDITIONAL([HAVE_CUNIT], [test "x$raympi_cunit_found" != xno])
])
