/* Memory as x86 has it (total store order), for Promela: every processor's stores wait in a buffer, first in,
 * first out, and reach memory some time later; its own loads see them at once. (Spin itself is sequentially
 * consistent: without this it can not see a wake-up that is lost because a load passes a store.)
 *
 * A model defines PROCS (processors), WORDS (words of memory, all 0 at first) and DEPTH (stores that a buffer
 * holds; not less than a processor issues between two flushes), then includes this. Its processes run on
 * processors 0 to PROCS - 1, which they name in every access.
 *
 * Fences and read-modify-writes of release order or stronger wait until the own buffer is empty. Relaxed ones
 * wait in the buffer, as if they were stores: that is weaker than x86, where they are fences too, so nothing
 * proven here leans on it. */
byte memory[WORDS];
byte pending[PROCS * WORDS]; /* stores of a processor to a word that wait in its buffer */
byte latest[PROCS * WORDS];  /* the last of them */
chan buffer[PROCS] = [DEPTH] of { byte, byte };
#define ADDS 100    /* from this word on: added to the word less that, by an operation that is relaxed */
bool sleeps[PROCS]; /* in a futex */

active[PROCS] proctype drain()
{
    byte word, value;
end:
    do
        ::d_step
        {
            buffer[_pid] ? word, value;
            if
                ::word >= ADDS->word = word - ADDS;
            memory[word] = memory[word] + value ::else->memory[word] = value fi;
            pending[_pid * WORDS + word]--;
            if
                ::pending[_pid * WORDS + word] == 0->latest[_pid * WORDS + word] = 0 ::else fi;
            word = 0;
            value = 0
        }
    od
}

#define load(cpu, word) (pending[(cpu)*WORDS + (word)] > 0->latest[(cpu)*WORDS + (word)] : memory[word])

inline store(cpu, word, new)
{
    d_step
    {
        assert(nfull(buffer[cpu]));
        buffer[cpu] !word, new;
        pending[(cpu)*WORDS + (word)]++;
        latest[(cpu)*WORDS + (word)] = new
    }
}

#define flushed(cpu)       empty(buffer[cpu])
#define settled(cpu, word) (pending[(cpu)*WORDS + (word)] == 0)

#define fence(cpu) flushed(cpu)

inline exchange(cpu, word, new, old)
{
    d_step
    {
        flushed(cpu);
        old = memory[word];
        memory[word] = new
    }
}

inline add(cpu, word, amount)
{
    d_step
    {
        flushed(cpu);
        memory[word] = memory[word] + amount
    }
}

/* Whoever adds so must not load the word before it is there: see settled(). */
inline add_relaxed(cpu, word, amount)
{
    d_step
    {
        assert(nfull(buffer[cpu]));
        buffer[cpu] !ADDS + word, amount;
        pending[(cpu)*WORDS + (word)]++
    }
}

/* The kernel compares and falls asleep under a lock that who wakes takes too. It never wakes for nothing
 * here: that would hide what is looked for. */
inline futex_wait(cpu, word, value)
{
    d_step
    {
        flushed(cpu);
        sleeps[cpu] = (memory[word] == value)
    }
    !sleeps[cpu]
}

inline futex_wake(cpu, sleeper)
{
    d_step
    {
        flushed(cpu);
        sleeps[sleeper] = false
    }
}
