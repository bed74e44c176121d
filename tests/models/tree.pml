/* Hosts that read one block, some of them from one another: nobody waits in a circle, and no copy stays.
 *
 * From the code:
 *   holder  lib/task/task_lease.c lease_of(), is_sent_on(), lease_on_read(); lib/task/task_told.c
 *   keeper  lib/task/task_fetch.c copy_on_elsewhere(), copy_refused(); lib/task/task_copy.c copy_lend(), copies_evict();
 *           lib/task/task_lease.c lease_pin_copy()
 * The holder serves one reader himself. Each of the others keeps a copy for its host, which it may give up and fetch again.
 * A copy comes in one piece. The copies of a keeper are numbered.
 *
 * Holds: who is asked for a part of a copy has that copy; all get the block; when it is freed, all copies go.
 *
 * cases: QUICK
 * variants: SERIAL REFUSED LENT TOLD REFUSE */
#define READERS 3
#define FETCHES 2 /* of each */

#define PULL      1 /* from whom, serial (0: it must come from the holder) */
#define READ      2
#define DATA      3
#define REFUSED_  4
#define ELSEWHERE 5 /* whom to ask, the serial of the copy there */
#define STALE     6

#define NONE   0
#define COMING 1
#define HERE   2

typedef keeper {
    byte state, serial, source, users;
    bool waits[READERS + 1]; /* who waits for it to come */
}
keeper at[READERS + 1];

/* message, from whom, number, number */
chan to[READERS + 1] = [8] of { byte, byte, byte, byte };

/* ---- the holder: 0 */
byte told[READERS + 1]; /* 0: no reader; serial + 1 of the copy */
byte leases, done;
bool freed;

proctype holder()
{
    byte kind, from, serial, other, nothing;
end:
    do
    :: to[0] ? kind, from, serial, nothing ->
        atomic {
            assert(!freed);
            if
            :: kind == PULL && serial != 0 && leases > 0 ->
                /* another reader that has begun, any of them */
                if
                :: told[1] > 1 && from != 1 -> other = 1
                :: told[2] > 1 && from != 2 -> other = 2
                :: told[3] > 1 && from != 3 -> other = 3
                :: else -> other = 0
                fi;
                if
                :: other != 0 ->
                    to[from] ! ELSEWHERE, 0, other, told[other] - 1
                :: else ->
                    leases++;
                    to[from] ! DATA, 0, 0, 0
                fi;
#ifdef TOLD
                if
                :: other == 0 -> told[from] = serial + 1
                :: else
                fi
#else
                told[from] = serial + 1
#endif
            :: kind == PULL && !(serial != 0 && leases > 0) ->
                leases++;
                if
                :: serial != 0 || told[from] == 0 -> told[from] = serial + 1
                :: else
                fi;
                to[from] ! DATA, 0, 0, 0
            :: kind == READ -> leases--
            fi;
            other = 0
        }
    :: atomic { done == READERS && !freed && leases == 0 ->
        freed = true;
        other = 1;
        do
        :: other <= READERS ->
            if
            :: told[other] -> to[other] ! STALE, 0, 0, 0
            :: else
            fi;
            other++
        :: else -> break
        od }
    od
}

/* ---- a keeper that reads */

#ifdef SERIAL
#define COMES (at[me].state == COMING)
#else
#define COMES (at[me].state == COMING && one == at[me].serial)
#endif

inline lend(who)
{
    at[me].users++;
    to[who] ! DATA, me, 0, 0
}

proctype reader(byte me)
{
    byte kind, from, one, two, fetches, i;
    bool told_done;
end:
    do
    :: atomic { at[me].state == NONE && fetches < FETCHES ->
        fetches++;
        at[me].state = COMING;
        at[me].serial = fetches;
        at[me].source = 0;
        to[0] ! PULL, me, fetches, 0 }
    /* Given up: nobody reads it. */
#ifdef LENT
    :: atomic { at[me].state == HERE && fetches < FETCHES -> at[me].state = NONE }
#else
    :: atomic { at[me].state == HERE && fetches < FETCHES && at[me].users == 0 -> at[me].state = NONE }
#endif
    :: atomic { at[me].state == HERE && fetches == FETCHES && !told_done -> told_done = true; done++ }
    :: atomic { to[me] ? kind, from, one, two ->
        if
        :: kind == PULL && COMES -> at[me].waits[from] = true
        :: kind == PULL && at[me].state == HERE && one == at[me].serial -> lend(from)
#ifdef REFUSE
        :: kind == PULL && !(at[me].state != NONE && one == at[me].serial) -> skip
#else
        :: kind == PULL && !COMES && !(at[me].state == HERE && one == at[me].serial) -> to[from] ! REFUSED_, me, 0, 0
#endif
        :: kind == READ ->
            assert(at[me].users > 0 && at[me].state == HERE);
            at[me].users--
        :: kind == ELSEWHERE ->
            assert(at[me].state == COMING && at[me].source == 0);
            at[me].source = one;
            to[one] ! PULL, me, two, 0
        :: kind == REFUSED_ ->
            assert(at[me].state == COMING && at[me].source == from);
            at[me].source = 0;
#ifndef REFUSED
            to[0] ! PULL, me, 0, 0
#endif
        :: kind == DATA ->
            assert(at[me].state == COMING && at[me].source == from);
            assert(from == 0 || at[from].state == HERE); /* it is read there now */
            to[from] ! READ, me, 0, 0;
            at[me].state = HERE;
            i = 1;
            do
            :: i <= READERS ->
                if
                :: at[me].waits[i] -> at[me].waits[i] = false; lend(i)
                :: else
                fi;
                i++
            :: else -> break
            od;
            i = 0
        :: kind == STALE ->
            if
            :: at[me].state == HERE && at[me].users == 0 -> at[me].state = NONE
            :: else
            fi
        fi;
        kind = 0; from = 0; one = 0; two = 0 }
    od
}

/* Nothing can happen any more: all have got it, all is gone. */
proctype end_of_all()
{
    timeout;
    assert(done == READERS && freed);
    assert(at[1].state == NONE && at[2].state == NONE && at[3].state == NONE)
}

init
{
    atomic {
        run holder();
        run reader(1);
        run reader(2);
        run reader(3);
        run end_of_all()
    }
}
