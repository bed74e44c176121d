/* Copies of a block on another host: what is read there is the block, and when it is freed no copy and no lease stays.
 *
 * From the code:
 *   holder  lib/task/task_lease.c pulled(), lease_on_read(), leases_look(); lib/task/task_told.c stored_free();
 *           lib/store: frees and drops look at the pins first (pin_free.pml and pin_drop.pml have how)
 *   keeper  lib/task/task_copy.c copy_bring(), copies_advance(), copy_on_stale(), copies_evict(); task_fetch.c copy_on_chunk()
 *   reader  lib/task/task_present.c value_pin(), await(), value_fetch()
 * One block of RANGES ranges. The keeper and the reader are two ranks of the other host. The reader reads the value, with
 * a hold that keeps the object, or only asks for it. When nobody holds it any more it may be freed at any time. The block
 * may leave memory, and the keeper may give up its copy, at any time. Variants are named like the simulator's rules.
 *
 * Holds: what is read is there; a value that is held can be read; at the end all is gone, and nobody waits.
 *
 * cases: QUICK
 * variants: LEASE_PIN LEASE_END REFUSE REFUSE_WISHES RANGE_ORDER STALE STALE_COMING FREE_PINNED DROP_PINNED READ_HOLD
 * variants: RESTORE_TOLD DISK_FREE GENERATION */
#define RANGES 2
#define READS  2 /* rounds of the reader's */
#define DROPS  2
#define EVICTS 2
#define LOCALS (READS + EVICTS + 2) /* blocks that the keeper may need */

#define PULL  1
#define READ  2
#define CHUNK 3 /* range + 1, or range + 10: it is refused */
#define GONE  4 /* STALE of the code: the block is freed */

chan to_holder = [4] of { byte, byte };
chan to_keeper = [6] of { byte, byte };
chan bring = [READS + 3] of { bit };
chan brought = [READS + 3] of { byte }; /* which block of the keeper's; 0: it can not be had */

byte holds = 1;     /* on the object: one of the owner's own, which ends at any time */
bool freed;
bool done;          /* the reader */

/* The block. */
bool in_memory = true, on_disk, restoring, freeing, gone;
/* The lease, and what waits in it. */
bool lease, has, pinned, told; /* has: where the bytes are */
byte wishes, wish[RANGES];

/* The copy at the keeper, its own blocks, and the reader's pin of one of those. */
#define NONE    0
#define PLANNED 1
#define COMING  2
#define HERE    3
byte copy, mine, locals, wants, asked, got;
bool stale;
byte pin;
bool there[LOCALS + 1]; /* its bytes are */
bool ending[LOCALS + 1];

/* ---- holder */

inline settle()
{
    if
#ifdef FREE_PINNED
    :: freeing && !restoring ->
#else
    :: freeing && !restoring && !pinned ->
#endif
        freeing = false;
        gone = true;
        in_memory = false;
#ifndef DISK_FREE
        on_disk = false
#endif
    :: else
    fi
}

inline serve(range)
{
    assert(in_memory);
    to_keeper ! CHUNK, range + 1
}

inline refuse(range)
{
#ifndef REFUSE
    to_keeper ! CHUNK, range + 10
#else
    skip
#endif
}

inline lease_refuse()
{
    lease = false;
    has = false;
    do
    :: wishes > 0 ->
        wishes--;
#ifndef REFUSE_WISHES
        refuse(wish[0]);
#endif
        wish[0] = wish[1];
        wish[1] = 0
    :: wishes == 0 -> break
    od
}

inline lease_pin()
{
    has = true;
#ifndef LEASE_PIN
    pinned = true;
#endif
    told = true
}

inline on_pull(range)
{
    if
    :: !has && (gone || freeing) ->
        lease_refuse();
        refuse(range)
    :: else ->
        lease = true;
        if
        :: in_memory && !has -> lease_pin()
        :: else
        fi;
        if
#ifdef RANGE_ORDER
        :: has -> serve(range)
#else
        :: has && wishes == 0 -> serve(range)
#endif
        :: else ->
            wish[wishes] = range;
            wishes++
        fi
    fi
}

inline on_read()
{
#ifndef LEASE_END
    lease = false;
    has = false;
    pinned = false;
#endif
    settle()
}

active proctype holder()
{
    byte kind, value, drops;
    bool let_go;
end:
    do
    :: atomic { !let_go -> let_go = true; holds-- }
    :: atomic { to_holder ? kind, value ->
        if
        :: kind == PULL -> on_pull(value)
        :: kind == READ -> on_read()
        fi;
        kind = 0;
        value = 0
       }
    :: atomic { holds == 0 && !freed ->
        freed = true;
        if
#ifndef STALE
        :: told -> to_keeper ! GONE, 0
#endif
        :: else
        fi;
        freeing = true;
        settle()
       }
    /* store_make_room() */
#ifdef DROP_PINNED
    :: atomic { drops < DROPS && in_memory && !freeing -> drops++; in_memory = false; on_disk = true }
#else
    :: atomic { drops < DROPS && in_memory && !freeing && !pinned -> drops++; in_memory = false; on_disk = true }
#endif
    /* store_restore(), wanted by a lease; store_spill_poll() */
    :: atomic { lease && wishes > 0 && !has && !in_memory && !restoring && !gone && !freeing -> restoring = true }
    :: atomic { restoring ->
        restoring = false;
        if
        :: freeing -> settle()
        :: else ->
            in_memory = true;
#ifndef RESTORE_TOLD
            if
            :: lease && wishes > 0 -> lease_pin()
            :: else
            fi
#endif
        fi
       }
    /* leases_look(): by any thread, one range at a time */
    :: atomic { lease && wishes > 0 && !has && (gone || freeing) -> lease_refuse() }
#ifdef RESTORE_TOLD
    :: atomic { lease && has && wishes > 0 ->
#else
    :: atomic { lease && wishes > 0 && (has || (in_memory && !freeing)) ->
        if
        :: !has -> lease_pin()
        :: else
        fi;
#endif
        serve(wish[0]);
        wish[0] = wish[1];
        wish[1] = 0;
        wishes--
       }
    od
}

/* ---- keeper */

inline local_settle(which)
{
    if
#ifdef FREE_PINNED
    :: ending[which] -> there[which] = false
#else
    :: ending[which] && pin != which -> there[which] = false
#endif
    :: else
    fi
}

inline give_up()
{
    ending[mine] = true;
    local_settle(mine);
    copy = NONE;
    stale = false;
    mine = 0
}

inline tell(which)
{
    do
    :: wants > 0 -> wants--; brought ! which
    :: wants == 0 -> break
    od
}

inline ask()
{
    do
    :: asked < RANGES -> to_holder ! PULL, asked; asked++
    :: asked == RANGES -> break
    od
}

inline came(good)
{
    to_holder ! READ, 0;
    copy = HERE;
    which = (good -> mine : 0);
    if
    :: !good || stale -> give_up()
    :: else
    fi;
    tell(which);
    which = 0;
    asked = 0;
    got = 0
}

active proctype keeper()
{
    byte kind, value, which, evicts;
end:
    do
    :: atomic { bring ? _ ->
        if
        :: copy == HERE -> brought ! mine
        :: copy == NONE -> wants++; copy = PLANNED
        :: else -> wants++
        fi
       }
    :: atomic { copy == PLANNED ->
        locals++;
        mine = locals;
        there[mine] = true;
        copy = COMING;
        ask()
       }
    :: atomic { to_keeper ? kind, value ->
        if
        :: kind == GONE && copy == HERE -> give_up()
        :: kind == GONE && (copy == PLANNED || copy == COMING) ->
#ifndef STALE_COMING
            stale = true
#else
            skip
#endif
        :: kind == GONE && copy == NONE
        :: kind == CHUNK && copy == COMING && value == got + 1 ->
            got++;
            if
            :: got == RANGES -> came(true)
            :: else
            fi
        :: kind == CHUNK && copy == COMING && value == got + 10 -> came(false)
        :: else
        fi;
        kind = 0;
        value = 0
       }
    :: atomic { copy == HERE && evicts < EVICTS -> evicts++; give_up() }
    od
}

/* ---- reader */

active proctype reader()
{
    byte rounds, where;
    do
    :: rounds < READS ->
        rounds++;
        if
        :: bring ! 0 /* value_fetch(): not waited for */
        :: atomic { holds > 0 ->
#ifndef READ_HOLD
            holds++
#else
            skip
#endif
           };
            do
            :: bring ! 0;
                brought ? where;
                /* value_pin() */
                atomic {
                    if
                    :: where == 0 && freed -> break /* only without a hold */
                    :: where > 0 && there[where] && !ending[where] -> pin = where; break
#ifdef GENERATION
                    :: where > 0 && !(there[where] && !ending[where]) -> pin = where; break
#else
                    :: where > 0 && !(there[where] && !ending[where])
#endif
                    :: where == 0 && !freed -> assert(false)
                    fi
                }
            od;
            assert(where > 0);
            assert(there[where]);
            assert(there[where]);
            atomic {
                pin = 0;
                local_settle(where);
                where = 0
            };
#ifndef READ_HOLD
            holds--
#else
            skip
#endif
        fi
    :: rounds == READS -> break
    od;
    done = true
}

active proctype end_of_all()
{
    timeout;
    assert(done && gone && !on_disk && !lease && copy == NONE && wants == 0)
}
