# RAYMPI_FEATURES: the --enable options of raympi itself.
AC_DEFUN([RAYMPI_FEATURES], [
AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat warnings as errors])], [], [enable_werror=no])
AS_IF([test "x$enable_werror" = xyes], [
    RAYMPI_CFLAGS="$RAYMPI_CFLAGS -Werror"
    RAYMPI_CXXFLAGS="$RAYMPI_CXXFLAGS -Werror"
])

AC_ARG_ENABLE([defects],
    [AS_HELP_STRING([--enable-defects],
        [plant defects that RAYMPI_TEST_DEFECT chooses: only to see that tests find them])], [], [enable_defects=no])
AS_IF([test "x$enable_defects" = xyes], [RAYMPI_CFLAGS="$RAYMPI_CFLAGS -DRAYMPI_DEFECTS"])

AC_ARG_ENABLE([ucontext],
    [AS_HELP_STRING([--enable-ucontext],
        [switch fibers by ucontext @<:@only where there is no assembly@:>@])], [], [enable_ucontext=no])
AS_CASE([$enable_ucontext:$host_cpu],
    [no:x86_64], [raympi_fiber=x86_64],
    [no:aarch64], [raympi_fiber=aarch64],
    [raympi_fiber=ucontext])
AS_IF([test $raympi_fiber = ucontext],
    [AC_DEFINE([RAYMPI_FIBER_UCONTEXT], [1], [fibers are switched by ucontext])])
AM_CONDITIONAL([FIBER_X86_64], [test $raympi_fiber = x86_64])
AM_CONDITIONAL([FIBER_AARCH64], [test $raympi_fiber = aarch64])
AM_CONDITIONAL([FIBER_UCONTEXT], [test $raympi_fiber = ucontext])

AC_ARG_ENABLE([fuzzers],
    [AS_HELP_STRING([--enable-fuzzers],
        [make fuzzers builds tests/fuzz (clang only; brings --enable-sanitizer=fuzzer-no-link,address,undefined)])],
    [], [enable_fuzzers=no])
AS_IF([test "x$enable_fuzzers" != xno],
    [enable_sanitizer=fuzzer-no-link,address,undefined
    FUZZ_LDFLAGS=-fsanitize=fuzzer])
AC_SUBST([FUZZ_LDFLAGS])
AM_CONDITIONAL([FUZZERS], [test "x$enable_fuzzers" != xno])

AC_ARG_ENABLE([sanitizer],
    [AS_HELP_STRING([--enable-sanitizer=LIST],
        [address, thread, undefined, or address,undefined (best with --disable-shared)])],
    [], [enable_sanitizer=no])
AS_CASE([$enable_sanitizer], [no], [], [yes], [AC_MSG_ERROR([--enable-sanitizer wants a name, as in --enable-sanitizer=address])], [
    raympi_sanitize="-fsanitize=$enable_sanitizer"
    AS_CASE([$enable_sanitizer], [*undefined*],
        [raympi_sanitize="$raympi_sanitize -fno-sanitize-recover=undefined"])
    AC_MSG_CHECKING([whether $CC links with $raympi_sanitize])
    SANITIZE_CFLAGS=$raympi_sanitize SANITIZE_LIBS=
    raympi_sanitize_works=no
    RAYMPI_TRY_LINK([SANITIZE], [], [], [raympi_sanitize_works=yes])
    AC_MSG_RESULT([$raympi_sanitize_works])
    AS_IF([test $raympi_sanitize_works = no],
        [AC_MSG_ERROR([$CC cannot link with $raympi_sanitize: install its runtime (Debian: libgcc-12-dev has gcc's, libclang-rt-14-dev clang's)])])
    RAYMPI_CFLAGS="$RAYMPI_CFLAGS $raympi_sanitize -fno-omit-frame-pointer"
    RAYMPI_CXXFLAGS="$RAYMPI_CXXFLAGS $raympi_sanitize -fno-omit-frame-pointer"
    # ThreadSanitizer sees the atomics of Concurrency Kit where they are builtins, not assembly.
    AS_CASE([$enable_sanitizer], [*thread*], [RAYMPI_CFLAGS="$RAYMPI_CFLAGS -DCK_USE_CC_BUILTINS=1"])
])

AC_SUBST([SANITIZER], [$enable_sanitizer])
AM_CONDITIONAL([SANITIZER], [test "x$enable_sanitizer" != xno])

AC_ARG_ENABLE([check-level],
    [AS_HELP_STRING([--enable-check-level=full|sanitizer|smoke],
        [what make check runs: everything; unit tests and the mpirun tests listed for sanitizers; unit tests and hello on two ranks @<:@full@:>@])],
    [], [enable_check_level=full])
AS_CASE([$enable_check_level], [full|sanitizer|smoke], [],
    [AC_MSG_ERROR([--enable-check-level wants full, sanitizer or smoke, not '$enable_check_level'])])
AM_CONDITIONAL([CHECK_FULL], [test $enable_check_level = full])
AM_CONDITIONAL([CHECK_SANITIZER], [test $enable_check_level = sanitizer])
])
