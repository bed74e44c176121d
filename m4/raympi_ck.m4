# RAYMPI_CK: Concurrency Kit, for lock-free rings, hash tables and epochs.
AC_DEFUN([RAYMPI_CK], [
RAYMPI_WITH_LIBRARY([ck], [CK], [ck], [ck_epoch.h],
    [[static ck_epoch_t e; ck_epoch_init(&e);]], [-lck], [libck-dev], [required])
])
