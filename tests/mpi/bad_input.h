/* What the files of bad_input share. */
#ifndef BAD_INPUT_H
#define BAD_INPUT_H

#define TEST_FILES
#include "mpi_test.h"

#define HERE RAYMPI_OPTIONS(.strategy = RAYMPI_STRATEGY_NODE, .node = raympi_rank())

/* The call gives this status and says so with this text. */
#define FAILS(status, text, call)                                                                            \
    do {                                                                                                     \
        int status_ = (call);                                                                                \
        if (status_ != (status) || !strstr(raympi_detail(), (text))) {                                       \
            fprintf(stderr, "%s:%d: rank %d: %s gave %s (%s), not %s (%s)\n", __FILE__, __LINE__,            \
                    raympi_rank(), #call, raympi_strerror(status_), raympi_detail(), #status, (text));       \
            test_failures++;                                                                                 \
        }                                                                                                    \
    } while (0)

/* The call's ref holds this error. */
#define REF_FAILS(status, text, call)                                                                        \
    do {                                                                                                     \
        raympi_ref ref_ = (call);                                                                            \
        raympi_view view_;                                                                                   \
        FAILS(status, text, raympi_get(ref_, &view_));                                                       \
        raympi_release(ref_);                                                                                \
    } while (0)

/* The actor that could not be made says why. */
#define ACTOR_FAILS(status, text, call)                                                                      \
    do {                                                                                                     \
        raympi_actor actor_ = (call);                                                                        \
        FAILS(status, text, raympi_actor_ready(actor_, -1));                                                 \
        raympi_release(actor_);                                                                              \
    } while (0)

static const raympi_ref null_ref = {0};
static const raympi_actor null_actor = {0};

RAYMPI_TASK_DECLARE(echo);
RAYMPI_ACTOR_DECLARE(counter);

/* bad_input_body.c */
void wrong_arguments(void);
void wrong_kinds(void);
void wrong_results(void);
void own_results(void);

/* bad_input_refs.c */
void late_refs(void);

#endif
