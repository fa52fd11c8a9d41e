/* The lease of one destination between two engines: session, grant, epoch, stop and go on (engine/ha/).
 *
 * Checked: whatever is delayed, stopped for any time and gone on with, in whatever order,
 *   1. never do two engines have a grant that holds at the same moment, so never do two serve;
 *   2. what an owner has read as acked when it began is changed by nobody but itself: a late ack of an old owner changes nothing.
 *
 * Time is counted in quarters of the session's time-out. Any process may rest for any time between two of its steps, which is what
 * SIGSTOP, a lost packet, a long garbage collection and a slow disk look like from outside.
 *
 * What may be left out, to see that it is needed (docs/model/check.sh does):
 *   UNFENCED    positions are written without a look at the epoch                            -> 2 fails
 *   FULL_GRANT  a grant is as long as the session's time-out, whatever is sure               -> 1 fails
 *   NO_LATE     a grant counts from when it was sent, whatever ZooKeeper's leader knows      -> 1 fails
 *   TOO_SURE    what was confirmed just now counts as known to the leader                    -> 1 fails
 */
#define TIMEOUT 4
#define SURE    TIMEOUT /* SURE_PART in engine/ha/proof.py is a tenth less. LATE_PART is what the clock counts by. */
#ifdef FULL_GRANT
#define GRANT   TIMEOUT
#else
#define GRANT   2   /* GRANT_PART */
#endif
/* Where the story ends: after so much time, so many leases, so many acks. One expiry and one take-over fit in. */
#ifndef END
#define END     7
#endif
#define EPOCHS  2
#define ACKS    1
#define NOBODY  2

byte now = 1;

/* ZooKeeper. heard: when its leader last heard from a session, as far as it is sure to know: the node that was told passes that on
 * within a quarter of the time-out, and may die in between. */
byte owner = NOBODY, epoch = 0, kept = 0;
bool alive[2];
byte heard[2];

/* The engines' own. */
byte until[2];            /* the grant */
byte begun_with[2];       /* of what was kept, when its lease began; plus its own acks since */

byte said[2];             /* when the message was sent that was confirmed in this quarter; 0: none was */
byte sure[2];             /* the latest moment of which the leader is sure to know: of what was said before this quarter it is told */

#define HOLDS(n)  (now < until[n])

inline learn(n)
{
    if
    :: said[n] -> sure[n] = said[n]; said[n] = 0
    :: else
    fi
}

active proctype clock()
{
    do
    :: atomic { now < END -> now++; learn(0); learn(1) }
    :: else -> break
    od
}

inline end_session(n)
{
    alive[n] = false;
    if
    :: owner == n -> owner = NOBODY
    :: else
    fi
}

/* The leader ends sessions that it hasn't heard from for so long; sooner it never does, later it may. */
active proctype leader()
{
    do
    :: atomic { alive[0] && now >= heard[0] + TIMEOUT -> end_session(0) }
    :: atomic { alive[1] && now >= heard[1] + TIMEOUT -> end_session(1) }
    :: now >= END -> break
    od
}

/* Before a renewal or claim is sent. */
inline send(n, sent, known)
{
    sent = now;
#ifdef TOO_SURE
    if
    :: said[n] -> known = said[n]
    :: else -> known = sure[n]
    fi
#else
    known = sure[n]
#endif
}

/* It is confirmed: what it proves. */
inline confirmed(n, sent, known)
{
    until[n] = sent + GRANT;
#if !defined(NO_LATE) && !defined(FULL_GRANT)
    if
    :: until[n] > known + SURE -> until[n] = known + SURE
    :: else
    fi;
#endif
    said[n] = sent; sent = 0; known = 0
}

active [2] proctype engine()
{
    byte n = _pid - 2;     /* after the clock and the leader */
    byte sent, known, mine;

joining:
    if
    :: now >= END -> goto over
    :: atomic { !alive[n] && owner == NOBODY && epoch < EPOCHS ->  /* a new session; the leader itself made it */
           alive[n] = true; heard[n] = now; sure[n] = now; said[n] = 0; mine = 0; until[n] = 0 }
    fi;

standing_by:
    if
    :: now >= END -> goto over
    :: !alive[n] -> goto joining
    :: atomic { owner == NOBODY && epoch < EPOCHS -> send(n, sent, known) }
    fi;
    atomic {  /* the claim: one transaction */
        if
        :: alive[n] && owner == NOBODY && epoch < EPOCHS -> heard[n] = sure[n]; owner = n; epoch++; mine = epoch
        :: else -> sent = 0; known = 0; goto standing_by
        fi
    }
    atomic { begun_with[n] = kept; confirmed(n, sent, known) }

    do
    :: now >= END -> goto over
    :: atomic { now > said[n] && now > sure[n] -> send(n, sent, known) };
       atomic {            /* a renewal */
           if
           :: alive[n] -> heard[n] = sure[n]
           :: else -> sent = 0; known = 0; until[n] = 0; goto joining
           fi
       }
       atomic { confirmed(n, sent, known) }
    :: HOLDS(n) && kept < ACKS ->  /* a consumer's ack is taken, and the engine may be stopped here for as long as one likes */
       atomic {            /* before it is written */
#ifndef UNFENCED
           if
           :: epoch == mine -> kept++; begun_with[n]++
           :: else -> until[n] = 0; goto joining  /* refused, and said so */
           fi
#else
           kept++; begun_with[n]++
#endif
       }
    :: atomic { owner == n && alive[n] ->  /* handed over: the server has let go first */
           until[n] = 0; owner = NOBODY; goto standing_by }
    od;

over:
    skip
}

/* 1. */
#define never_two  (!(HOLDS(0) && HOLDS(1)))
/* 2. of the engine whose lease is the newest */
#define own_acks   (!(owner != NOBODY && HOLDS(owner)) || begun_with[owner] == kept)

active proctype observer()
{
    do
    :: now >= END -> break
    :: atomic { !never_two -> assert(never_two) }
    :: atomic { !own_acks -> assert(own_acks) }
    od
}
