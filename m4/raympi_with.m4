# RAYMPI_WITH_LIBRARY(NAME, VARIABLE, MODULE, HEADER, BODY, LIBS, PACKAGE, NEED)
# --------------------------------------------------------------------------------
# What every dependency has in common: the option --with-NAME=DIR|no|auto, the search through
# pkg-config (MODULE, may be empty) or DIR/include and DIR/lib, and a program that must link.
#
#   NAME      name of the option                     hwloc
#   VARIABLE  sets VARIABLE_CFLAGS, VARIABLE_LIBS    HWLOC
#   HEADER, BODY     the program that must link; HEADER alone where BODY is empty
#   LIBS      what to link where pkg-config does not say
#   PACKAGE   the package of Debian and Ubuntu that cures its absence
#   NEED      required or optional
#
# raympi_NAME_found says where it was found, or "no". An explicit wish that fails is an error,
# and so is the absence of something required.
AC_DEFUN([RAYMPI_WITH_LIBRARY], [
AC_REQUIRE([PKG_PROG_PKG_CONFIG])
AC_ARG_WITH([$1],
    [AS_HELP_STRING([--with-$1=DIR|no|auto], [where $1 is installed ($8) @<:@auto@:>@])],
    [], [with_$1=auto])
AC_ARG_VAR([$2_CFLAGS], [compiler flags for $1, instead of a search])
AC_ARG_VAR([$2_LIBS], [linker flags for $1, instead of a search])
AS_CASE([$with_$1], [yes|no|auto], [raympi_dir=], [raympi_dir=$with_$1])
raympi_$1_found=no
AS_IF([test "x$with_$1" != xno], [
    AC_MSG_CHECKING([for $1])
    raympi_pc_path=$PKG_CONFIG_PATH
    raympi_origin=system
    raympi_search=yes
    AS_IF([test -n "$raympi_dir"], [
        raympi_origin=$raympi_dir
        raympi_search=no
        for raympi_pc in "$raympi_dir"/lib/pkgconfig "$raympi_dir"/lib64/pkgconfig \
                         "$raympi_dir"/lib/*/pkgconfig "$raympi_dir"/share/pkgconfig; do
            AS_IF([test -n "$3" && test -f "$raympi_pc/$3.pc"], [
                raympi_search=yes
                PKG_CONFIG_PATH=$raympi_pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
                break
            ])
        done
    ])
    export PKG_CONFIG_PATH
    AS_IF([test -n "$$2_CFLAGS$$2_LIBS"], [raympi_origin="given by $2_CFLAGS, $2_LIBS"],
          [test -n "$3" && test $raympi_search = yes && $PKG_CONFIG --exists "$3"], [
        $2_CFLAGS=`$PKG_CONFIG --cflags "$3"`
        $2_LIBS=`$PKG_CONFIG --libs "$3"`
        raympi_origin="$raympi_origin, `$PKG_CONFIG --modversion "$3"`"
    ], [test -n "$raympi_dir"], [
        $2_CFLAGS="-I$raympi_dir/include"
        $2_LIBS="$6"
        test -z "$6" || $2_LIBS="-L$raympi_dir/lib $6"
    ], [$2_LIBS="$6"])
    PKG_CONFIG_PATH=$raympi_pc_path
    # A folder that was given must hold it: the system's own would be found just as well.
    AS_IF([test $raympi_search = yes || test -f "$raympi_dir/include/$4"],
        [RAYMPI_TRY_LINK([$2], [#include <$4>], [$5], [raympi_$1_found=$raympi_origin])])
    # A library outside the linker's own path is also looked for there when a program starts.
    AS_IF([test -n "$raympi_dir" && test -n "$$2_LIBS" && test "x$raympi_dir" != x/usr],
          [$2_LIBS="$$2_LIBS -Wl,-rpath,$raympi_dir/lib"])
    AC_MSG_RESULT([$raympi_$1_found])
])
AS_IF([test "x$raympi_$1_found" = xno], [
    $2_CFLAGS=
    $2_LIBS=
    RAYMPI_NOT_FOUND([$1], [$7], [$8])
])
])

# RAYMPI_TRY_LINK(VARIABLE, INCLUDES, BODY, IF-LINKED)
AC_DEFUN([RAYMPI_TRY_LINK], [
raympi_cflags=$CFLAGS
raympi_libs=$LIBS
CFLAGS="$CFLAGS $$1_CFLAGS"
LIBS="$$1_LIBS $LIBS"
AC_LINK_IFELSE([AC_LANG_PROGRAM([$2], [$3])], [$4])
CFLAGS=$raympi_cflags
LIBS=$raympi_libs
])

# RAYMPI_NOT_FOUND(NAME, PACKAGE, NEED): says what is missing and its cure, or lets it pass.
AC_DEFUN([RAYMPI_NOT_FOUND], [
raympi_cure="install it (on Debian and Ubuntu: apt-get install $2) or say where it is: --with-$1=DIR; config.log has the details"
AS_CASE([$3:$with_$1],
    [required:no], [AC_MSG_ERROR([raympi cannot be built without $1, so --with-$1=no cannot be met])],
    [required:yes|required:auto], [AC_MSG_ERROR([$1 was not found: $raympi_cure])],
    [optional:no|optional:auto], [],
    [optional:yes], [AC_MSG_ERROR([$1 was asked for and not found: $raympi_cure])],
    [AC_MSG_ERROR([$1 does not work in '$with_$1': $raympi_cure])])
])
