/* What the files of actors share. */
#ifndef ACTORS_H
#define ACTORS_H

#define TEST_FILES
#include "mpi_test.h"

/* actor_classes.c */
RAYMPI_ACTOR_DECLARE(counter);
RAYMPI_ACTOR_DECLARE(diary);
RAYMPI_ACTOR_DECLARE(friend);
RAYMPI_ACTOR_DECLARE(broken);
RAYMPI_ACTOR_DECLARE(bare);
RAYMPI_TASK_DECLARE(plus);
RAYMPI_TASK_DECLARE(refuse);
RAYMPI_TASK_DECLARE(add_times);
RAYMPI_TASK_DECLARE(note_one);
RAYMPI_TASK_DECLARE(hand_on);
RAYMPI_TASK_DECLARE(make_counter);
RAYMPI_TASK_DECLARE(use_team);
RAYMPI_TASK_DECLARE(call_broken);

/* An argument of use_team. */
struct team {
    raympi_wire_actor member[3];
};

#endif
