/* Counting refs over deaths: what a dead rank held stays counted until nobody can come with a ref that it had passed on.
 *
 * From the code: lib/task/task_refcount.h ("Deaths") and task_refcount.c; the caller as in tests/refcount-sim-ranks.c and
 * tests/refcount-sim-deaths.c. One object of rank 0. Its ref goes from rank to rank, 0, 1, 2, 3: each accepts it, may
 * pass it on, and lets go of it, at any time. Rank 2 may die at any moment, with TWO rank 1 before it;
 * of what it had sent any number of the last messages to each rank are lost. Variants are named like the simulator's rules.
 *
 * Holds: the object is not freed while a living rank has the ref or will get it; when all have let go it is freed, and
 * nobody waits for an acknowledgement.
 *
 * cases: ONE
 * deep: TWO
 * variants: ARGUMENT_HOLD EARLY_ACK NO_REGISTER NO_ACK NO_RELEASE HOLDERS FIRST_ROUND SECOND_ROUND TWO:LATEST_EPOCH
 * variants: DEAD_ACCEPT DEAD_HOLDER DEAD_COVER */
#ifdef EARLY_ACK
#define ACK_AT_ONCE
#endif
#ifdef NO_REGISTER
#define ACK_AT_ONCE
#endif

#define N 4
#define Q(f, t) q[(f) * N + (t)]
#define AT(r, s) ((r) * N + (s))

#define TASK     1
#define REGISTER 2 /* of whom it has the ref */
#define RELEASE  3
#define ACK      4 /* who has accepted */
#define EPOCH    5
#define SETTLED  6
#define DEATH    7

chan q[16] = [5] of { byte, byte };
bool dead[N], freed;
byte deaths, died[3];      /* who, by epoch */
byte count[N];             /* holds; at the owner its holders too */
bool use[N], passed[N], holder[N];
byte pending[N];           /* who has passed the ref here, + 1, where it is not accepted */
bool cover[16];            /* by forwarder and who it went to */
bool known[16];            /* dead, to the first */
byte epoch[N], forgotten[N], acked[16], settled[16];

inline send(whom, what, about)
{
    if
    :: dead[whom] || known[AT(me, whom)]
    :: else -> Q(me, whom) ! what, about
    fi
}

inline send_all(what_all, about_all)
{
    i = 0;
    do
    :: i < N && i != me -> send(i, what_all, about_all); i++
    :: i == me -> i++
    :: i == N -> i = 0; break
    od
}

inline drop()
{
    assert(count[me] > 0);
    count[me]--;
    if
    :: count[me] == 0 && me == 0 ->
        freed = true;
        assert((dead[1] || (count[1] == 0 && pending[1] == 0)) && (dead[2] || (count[2] == 0 && pending[2] == 0)) &&
               count[3] == 0 && pending[3] == 0)
#ifndef NO_RELEASE
    :: count[me] == 0 && me != 0 -> send(0, RELEASE, 0)
#endif
    :: else
    fi
}

/* An acknowledgement of what `accepter` has. */
inline acknowledged(accepter)
{
    if
    :: cover[AT(me, accepter)] -> cover[AT(me, accepter)] = false; drop()
    :: else
    fi
}

inline accept()
{
    from = pending[me] - 1;
    pending[me] = 0;
    use[me] = true;
    count[me]++;
#ifndef NO_REGISTER
    send(0, REGISTER, from);
#endif
#ifdef ACK_AT_ONCE
    send(from, ACK, me);
#endif
    from = 0
}

inline pass()
{
    passed[me] = true;
    if
    :: known[AT(me, me + 1)]
    :: else ->
#ifndef ARGUMENT_HOLD
        cover[AT(me, me + 1)] = true;
        count[me]++;
#endif
        send(me + 1, TASK, 0)
    fi
}

/* The dead one of epoch e is forgotten. */
inline forget(e)
{
#ifndef DEAD_COVER
    acknowledged(died[e]);
#endif
#ifndef DEAD_HOLDER
    if
    :: me == 0 && holder[died[e]] -> holder[died[e]] = false; drop()
    :: else
    fi
#endif
}

#define ALIVE(r)       (!known[AT(me, r)])
#define REACHED(a, e)  ((known[AT(me, 1)] || a[AT(me, 1)] >= (e)) && (known[AT(me, 2)] || a[AT(me, 2)] >= (e)) && \
                        a[AT(me, 0)] >= (e) && a[AT(me, 3)] >= (e))

inline rounds_of(e)
{
    if
    :: e > 0 && e <= epoch[me] && settled[AT(me, me)] < e && REACHED(acked, e) ->
        settled[AT(me, me)] = e;
        send_all(SETTLED, e);
#ifdef SECOND_ROUND
        forget(1);
        if
        :: e == 2 -> forget(2)
        :: else
        fi
#endif
    :: else
    fi;
    if
    :: e > 0 && e <= epoch[me] && forgotten[me] < e && REACHED(settled, e) ->
#ifdef LATEST_EPOCH
        forget(e);
#else
        forget(1);
        if
        :: e == 2 -> forget(2)
        :: else
        fi;
#endif
        forgotten[me] = e
    :: else
    fi
}

inline rounds()
{
#ifdef LATEST_EPOCH
    rounds_of(1);
    rounds_of(2)
#else
    rounds_of(epoch[me])
#endif
}

inline know(e)
{
    known[AT(me, died[e])] = true;
    epoch[me] = e;
    acked[AT(me, me)] = e;
#ifndef DEAD_ACCEPT
    if
    :: pending[me] == died[e] + 1 -> accept()
    :: else
    fi;
#endif
    send_all(EPOCH, e);
#ifdef FIRST_ROUND
    forget(e);
#endif
    look = true
}

inline handle()
{
    Q(f, me) ? kind, value;
    if
    :: kind == TASK -> pending[me] = f + 1
    :: kind == REGISTER ->
        assert(!freed);
#ifndef HOLDERS
        holder[f] = true;
        count[0]++;
#endif
        if
        :: value == 0 -> acknowledged(f)
#ifndef ACK_AT_ONCE
        :: else -> send(value, ACK, f)
#else
        :: else
#endif
        fi
    :: kind == RELEASE ->
        if
        :: holder[f] -> holder[f] = false; drop()
        :: else
        fi
    :: kind == ACK ->
#ifndef NO_ACK
        acknowledged(value)
#else
        skip
#endif
    :: kind == EPOCH -> acked[AT(me, f)] = value; look = true
    :: kind == SETTLED -> settled[AT(me, f)] = value; look = true
    :: kind == DEATH -> know(value)
    fi;
    kind = 0;
    value = 0;
    if
    :: look -> look = false; rounds()
    :: else
    fi
}

/* Deaths are known in their order. */
#define READY(f) (f != me && nempty(Q(f, me)) && \
                  (!(Q(f, me) ? [DEATH, 1]) || epoch[me] == 0) && (!(Q(f, me) ? [DEATH, 2]) || epoch[me] == 1))

proctype rank(byte me)
{
    byte kind, value, i, from, f;
    bool look;
end:
    do
    :: atomic { !dead[me] && pending[me] > 0 -> accept() }
    :: atomic { !dead[me] && use[me] && !passed[me] && me < 3 -> pass() }
    :: atomic { !dead[me] && use[me] -> use[me] = false; passed[me] = true; drop() }
    :: atomic { !dead[me] && (READY(0) || READY(1) || READY(2) || READY(3)) ->
        if
        :: READY(0) -> f = 0
        :: READY(1) -> f = 1
        :: READY(2) -> f = 2
        :: READY(3) -> f = 3
        fi;
        handle();
        f = 0
       }
    od
}

/* Of the messages in a channel only some of the first arrive. */
inline cut(f, t)
{
    n = len(Q(f, t));
    keep = n;
    do
    :: keep > 0 -> keep--
    :: break
    od;
    do
    :: n > 0 ->
        n--;
        Q(f, t) ? kind, value;
        if
        :: keep > 0 -> keep--; Q(f, t) ! kind, value
        :: else
        fi
    :: else -> break
    od
}

inline clear(f, t)
{
    do
    :: nempty(Q(f, t)) -> Q(f, t) ? kind, value
    :: empty(Q(f, t)) -> break
    od
}

proctype death(byte me)
{
    byte kind, value, i, n, keep;
    if
    :: true
    :: atomic {
#ifdef TWO
        me == 1 || deaths == 1 ->
#endif
        deaths++;
        died[deaths] = me;
        dead[me] = true;
        i = 0;
        do
        :: i < N && i != me && !dead[i] -> cut(me, i); clear(i, me); Q(me, i) ! DEATH, deaths; i++
        :: i < N && (i == me || dead[i]) -> i++
        :: i == N -> break
        od;
        kind = 0; value = 0; i = 0; n = 0; keep = 0
    }
    fi
}

init
{
    atomic {
        count[0] = 1;
        use[0] = true;
        run rank(0);
        run rank(1);
        run rank(2);
        run rank(3);
#ifdef TWO
        run death(1);
#endif
        run death(2);
    }
    timeout;
    assert(freed);
    assert(dead[1] || (!cover[AT(1, 2)] && count[1] == 0));
    assert(dead[2] || (!cover[AT(2, 3)] && count[2] == 0));
    assert(!cover[AT(0, 1)] && count[3] == 0)
}
