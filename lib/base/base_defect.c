#include "base/base_defect.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define EVERY 12 /* so that a job gets under way first */

static const char *const names[DEFECTS] = {
    [DEFECT_LOST_WAKEUP] = "lost-wakeup",     [DEFECT_LOST_WAITER] = "lost-waiter",
    [DEFECT_LOST_STOLEN] = "lost-stolen",     [DEFECT_LOST_CREDIT] = "lost-credit",
    [DEFECT_LOST_RESULT] = "lost-result",     [DEFECT_LOST_ALIAS] = "lost-alias",
    [DEFECT_LOST_CODE] = "lost-code",         [DEFECT_LOST_RELEASE] = "lost-release",
    [DEFECT_EARLY_FREE] = "early-free",       [DEFECT_EARLY_NESTED] = "early-nested",
    [DEFECT_LEAKED_HOLD] = "leaked-hold",     [DEFECT_REORDERED_CALL] = "reordered-call",
    [DEFECT_WRONG_PLACE] = "wrong-place",     [DEFECT_WRONG_LENGTH] = "wrong-length",
    [DEFECT_SPLIT_MESSAGE] = "split-message", [DEFECT_EARLY_VIEW] = "early-view",
    [DEFECT_LOST_END] = "lost-end",           [DEFECT_WRONG_NUMBER] = "wrong-number",
};

const char *base_defect_name(enum base_defect defect)
{
    return names[defect];
}

#ifdef RAYMPI_DEFECTS
static enum base_defect wanted = DEFECTS; /* none */
static unsigned every;
static _Atomic unsigned times;

static unsigned usual(enum base_defect defect)
{
    if (defect == DEFECT_LOST_STOLEN || defect == DEFECT_SPLIT_MESSAGE) /* rare occasions */
        return 1;
    return defect == DEFECT_LOST_WAKEUP ? 3 : EVERY;
}

/* NAME or NAME:N, which shows every N times. */
__attribute__((constructor)) static void read_wanted(void)
{
    const char *text = getenv("RAYMPI_TEST_DEFECT");
    size_t length = text ? strcspn(text, ":") : 0;
    for (int defect = 0; text && defect < DEFECTS; defect++)
        if (strlen(names[defect]) == length && memcmp(names[defect], text, length) == 0)
            wanted = (enum base_defect)defect;
    every = text && text[length] ? (unsigned)atoi(text + length + 1) : usual(wanted);
    every = every ? every : 1;
}

bool base_defect(enum base_defect defect)
{
    return defect == wanted &&
           atomic_fetch_add_explicit(&times, 1, memory_order_relaxed) % every == every - 1;
}
#endif
