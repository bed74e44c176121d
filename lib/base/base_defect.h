/* Defects that are planted on purpose, to see that the tests find them. They are there only in a library
 * configured with
 * --enable-defects, and one of them only when RAYMPI_TEST_DEFECT has its name; elsewhere base_defect() is a
 * constant. */
#ifndef BASE_DEFECT_H
#define BASE_DEFECT_H

#include <stdbool.h>

enum base_defect {
    DEFECT_LOST_WAKEUP,    /* a worker that sleeps is not woken for new work, a ready fiber or a message */
    DEFECT_LOST_WAITER,    /* of those that wait for an object one is not told */
    DEFECT_LOST_STOLEN,    /* a task is taken out of the queue for another rank, and not sent */
    DEFECT_LOST_CREDIT,    /* a task that has ended elsewhere still counts as being there */
    DEFECT_LOST_RESULT,    /* of several results that arrive one is not delivered */
    DEFECT_LOST_ALIAS,     /* a result that is another object stays empty */
    DEFECT_LOST_CODE,      /* an error loses its code on its way */
    DEFECT_LOST_RELEASE,   /* the owner is not told that a rank has let go */
    DEFECT_EARLY_FREE,     /* a release lets go twice */
    DEFECT_EARLY_NESTED,   /* an object does not hold what it contains */
    DEFECT_LEAKED_HOLD,    /* an argument is not let go of */
    DEFECT_REORDERED_CALL, /* a call overtakes those that wait in the mailbox */
    DEFECT_WRONG_PLACE,    /* a task runs elsewhere than on the node that was asked for */
    DEFECT_WRONG_LENGTH,   /* a stored value arrives one byte short */
    DEFECT_SPLIT_MESSAGE,  /* a message of several parts arrives with a hole */
    DEFECT_EARLY_VIEW,     /* a view does not hold its object */
    DEFECT_LOST_END,       /* of ends that travel together one is not sent */
    DEFECT_WRONG_NUMBER,   /* of numbers that travel in a task's head one stands for another */
    DEFECTS
};

/** Name of a defect as RAYMPI_TEST_DEFECT has it. */
const char *base_defect_name(enum base_defect defect);

#ifdef RAYMPI_DEFECTS
/** Shall this defect show now? It does so every few times. */
bool base_defect(enum base_defect defect);
#else
static inline bool base_defect(enum base_defect defect)
{
    (void)defect;
    return false;
}
#endif

#endif
