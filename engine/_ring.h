/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring in shared memory: the only file that knows its bytes and its memory order.
 *
 *   offset  bytes
 *        0     64  identity   magic, version, header bytes, capacity, ring id, creation time
 *       64     64  put        bytes published since creation                     written by the writer
 *      128     64  tail       the slowest ack seen; where new readers join       written by the writer
 *                  floor      oldest byte that is not overwritten                written by the writer or by checkpoints
 *      192     64  put wake   futex word + number of waiters                     readers wait here for put
 *                  bell       wanted: the writer rings it with the next put      who waits in an event loop
 *      256     64  ack wake   futex word + number of waiters                     the writer waits here for ack
 *      320     64  writer     pid, start time, heartbeat, state
 *      384   4224  2 notes    what the writer wants to find again after a crash, tied to a put
 *     4608    512  counters   64 numbers of the writer's stage
 *     5120   1024  data path  file that holds the data; empty: they follow the header
 *     6144   2048  place count, failed flag, path of the bell: a FIFO
 *     8192  32*768 readers    each: get, ack, owner, name, counters, 2 notes tied to an ack
 *    32768   4096  places     512 sequences where records begin, about capacity/128 apart, the last ones
 *    36864         data       capacity bytes, mapped twice back to back
 *
 * put >= get >= ack for every reader, and put - floor <= capacity. What all have acked stays readable until its room is needed:
 * floor <= every ack, and it moves only as far as the writer needs. In a ring with a data path floor is moved by checkpoints
 * alone (engine/file_store.py), so that what the last checkpoint covers is never overwritten. All but get and ack (going
 * back) only grow; the byte at position p lives at data[p % capacity], and thanks to the second mapping [p, p + n) is
 * contiguous for every n <= capacity.
 */
#ifndef BINLOG_ENGINE_RING_H
#define BINLOG_ENGINE_RING_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RING_MAGIC 0x31474E49524C4245ULL /* "EBLRING1" in memory */
#define RING_VERSION 2u
#define RING_HEADER_BYTES 36864u
#define RING_IDENTITY_BYTES 64
#define RING_READERS 32
#define RING_NAME_BYTES 64
#define RING_NOTE_BYTES 2088
#define RING_READER_NOTE_BYTES 136
#define RING_COUNTERS 64
#define RING_READER_COUNTERS 8
#define RING_DATA_PATH_BYTES 1024
#define RING_BELL_PATH_BYTES 256
#define RING_PLACES 512
#define RING_PLACES_PER_CAPACITY 128 /* at most twice as many are marked within a capacity: two capacities are remembered */
#define RING_STAGE_BYTES (512 * 1024)
#define RING_NEVER UINT64_MAX

enum { RING_WRITER_NONE = 0, RING_WRITER_LIVE = 1, RING_WRITER_FINISHED = 2 };
enum { RING_READER_FREE = 0, RING_READER_JOINING = 1, RING_READER_ACTIVE = 2 };

typedef struct {
    uint64_t at;     /* valid once the sequence it is tied to has reached this; RING_NEVER: not valid */
    uint64_t serial; /* of two valid notes the higher one counts */
    uint64_t length;
    uint8_t bytes[RING_NOTE_BYTES];
} ring_note_t;

typedef struct {
    uint64_t at;
    uint64_t serial;
    uint64_t length;
    uint8_t bytes[RING_READER_NOTE_BYTES];
} ring_reader_note_t;

typedef struct {
    uint32_t state;
    uint32_t pid;           /* 0: nobody */
    uint64_t start_time;    /* of that process, /proc/PID/stat field 22: tells a reused pid apart */
    uint64_t heartbeat_ns;  /* CLOCK_MONOTONIC */
    uint8_t reserved[40];
} ring_owner_t;

typedef struct {
    uint64_t get; uint8_t pad_get[56];
    uint64_t ack; uint8_t pad_ack[56];
    ring_owner_t owner;
    char name[RING_NAME_BYTES];
    uint64_t counters[RING_READER_COUNTERS];
    ring_reader_note_t notes[2];
    uint64_t joined; /* how many readers this slot has had: a handle to a dropped one must not touch its successor */
    uint8_t reserved[768 - 5 * 64 - 2 * sizeof(ring_reader_note_t) - 8];
} ring_slot_t;

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t capacity;
    uint64_t ring_id;     /* random; another incarnation of the same name has another */
    uint64_t created_ns;  /* CLOCK_REALTIME */
    uint8_t pad_identity[24];
    uint64_t put;  uint8_t pad_put[56];
    uint64_t tail, floor; uint8_t pad_tail[48];
    uint32_t put_signal, put_waiters, bell_wanted; uint8_t pad_put_wake[52];
    uint32_t ack_signal, ack_waiters; uint8_t pad_ack_wake[56];
    ring_owner_t writer;
    ring_note_t notes[2];
    uint64_t counters[RING_COUNTERS];
    char data_path[RING_DATA_PATH_BYTES];
    uint64_t place_count; /* marked since creation; the last RING_PLACES are there */
    uint64_t sync_failed; /* the file system failed to write data back: its word that they are written now is worth nothing */
    char bell_path[RING_BELL_PATH_BYTES];
    uint8_t pad_head[2032 - RING_BELL_PATH_BYTES];
    ring_slot_t readers[RING_READERS];
    uint64_t places[RING_PLACES];
} ring_header_t;

_Static_assert(sizeof(ring_owner_t) == 64, "an owner fills one cache line");
_Static_assert(sizeof(ring_slot_t) == 768, "a reader slot is 12 cache lines");
_Static_assert(offsetof(ring_header_t, put) == 64, "put has its own cache line");
_Static_assert(offsetof(ring_header_t, tail) == 128, "tail has its own cache line");
_Static_assert(offsetof(ring_header_t, put_signal) == 192, "put wake has its own cache line");
_Static_assert(offsetof(ring_header_t, ack_signal) == 256, "ack wake has its own cache line");
_Static_assert(offsetof(ring_header_t, notes) == 384, "notes follow the writer");
_Static_assert(offsetof(ring_header_t, counters) == 4608, "counters follow the notes");
_Static_assert(offsetof(ring_header_t, readers) == 8192, "readers start on a page");
_Static_assert(offsetof(ring_header_t, places) == 32768, "places fill a page");
_Static_assert(sizeof(ring_header_t) == RING_HEADER_BYTES, "data starts on a page");

/* A process's own view of a ring. All from `claim` on belongs to the writer alone. */
typedef struct {
    ring_header_t *header;
    uint8_t *data;
    uint64_t capacity;
    uint64_t claim; /* where the next byte goes; put <= claim */
    uint64_t limit; /* how far it may go: floor, or the ack of a reader that has gone back, + capacity */
    uint64_t last_place;
    int bell; /* the writer's descriptor of it + 1; 0: not open */
    /* Only if the data lie in a file: see "writing to a file". */
    uint8_t *stage;  /* NULL: what is claimed goes to `data` */
    uint64_t staged; /* it holds the bytes [staged, claim) */
    int fd;
    int write_error; /* errno of the last write; 0: it was done */
} ring_t;

/* ---- sequences ------------------------------------------------------------------------------------------------- */

static inline uint64_t ring_put_load_acquire(const ring_t *r) { /* pairs with ring_publish: record bytes are visible */
    return __atomic_load_n(&r->header->put, __ATOMIC_ACQUIRE);
}
static inline uint64_t ring_ack_load_acquire(const ring_slot_t *s) { /* pairs with ring_ack: reads of the bytes are over */
    return __atomic_load_n(&s->ack, __ATOMIC_ACQUIRE);
}
static inline uint64_t ring_get_load_relaxed(const ring_slot_t *s) { return __atomic_load_n(&s->get, __ATOMIC_RELAXED); }
static inline void ring_get_store_relaxed(ring_slot_t *s, uint64_t get) { /* only its own reader and watchers look at it */
    __atomic_store_n(&s->get, get, __ATOMIC_RELAXED);
}
static inline uint64_t ring_tail_load_acquire(const ring_t *r) { return __atomic_load_n(&r->header->tail, __ATOMIC_ACQUIRE); }
static inline uint32_t ring_state_load_acquire(const ring_owner_t *o) { return __atomic_load_n(&o->state, __ATOMIC_ACQUIRE); }
static inline void ring_state_store_release(ring_owner_t *o, uint32_t state) { __atomic_store_n(&o->state, state, __ATOMIC_RELEASE); }

static inline void ring_magic_store_release(ring_header_t *h) { /* last of all: who sees the magic sees a whole header */
    __atomic_store_n(&h->magic, RING_MAGIC, __ATOMIC_RELEASE);
}

/* A death between the two stores leaves a pair that fits no process: it counts as dead, as it should. */
static inline void ring_owner_store_relaxed(ring_owner_t *o, uint32_t pid, uint64_t start_time) {
    __atomic_store_n(&o->start_time, start_time, __ATOMIC_RELAXED);
    __atomic_store_n(&o->pid, pid, __ATOMIC_RELAXED);
}
static inline uint32_t ring_pid_load_relaxed(const ring_owner_t *o) { return __atomic_load_n(&o->pid, __ATOMIC_RELAXED); }
static inline uint64_t ring_start_time_load_relaxed(const ring_owner_t *o) { return __atomic_load_n(&o->start_time, __ATOMIC_RELAXED); }
static inline uint64_t ring_heartbeat_load_relaxed(const ring_owner_t *o) { return __atomic_load_n(&o->heartbeat_ns, __ATOMIC_RELAXED); }
static inline void ring_heartbeat_store_relaxed(ring_owner_t *o, uint64_t now_ns) { __atomic_store_n(&o->heartbeat_ns, now_ns, __ATOMIC_RELAXED); }

static inline uint64_t ring_floor_load_acquire(const ring_t *r) { return __atomic_load_n(&r->header->floor, __ATOMIC_ACQUIRE); }

/* Never lowers it: a joining reader shows an ack from before for a moment, and bytes below floor may be gone already. */
static inline void ring_raise(uint64_t *sequence, uint64_t to) {
    uint64_t now = __atomic_load_n(sequence, __ATOMIC_RELAXED);
    while (now < to && !__atomic_compare_exchange_n(sequence, &now, to, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {}
}
static inline void ring_tail_raise(ring_header_t *h, uint64_t to) { ring_raise(&h->tail, to); }
static inline void ring_floor_raise(ring_header_t *h, uint64_t to) { ring_raise(&h->floor, to); }

static inline void ring_floor_lower(ring_header_t *h, uint64_t to) { __atomic_store_n(&h->floor, to, __ATOMIC_RELEASE); }

/* ---- waking ---------------------------------------------------------------------------------------------------- */

static inline void ring_wake(uint32_t *signal, uint32_t *waiters) {
    /* Dekker with ring_wait_* and ring_bell_when: the sequence was stored before this fence, the waiter counted itself, or asked
     * for the bell, before it looked. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(waiters, __ATOMIC_RELAXED) != 0) {
        __atomic_fetch_add(signal, 1, __ATOMIC_RELEASE);
        syscall(SYS_futex, signal, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    }
}
static inline uint32_t ring_signal_load_acquire(const uint32_t *signal) { return __atomic_load_n(signal, __ATOMIC_ACQUIRE); }
static inline void ring_waiters_add(uint32_t *waiters, int32_t n) {
    __atomic_fetch_add(waiters, (uint32_t)n, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the one in ring_wake; the add alone doesn't hold later loads back (ARM) */
}

/* The bell is for who waits in an event loop, where a futex can't be waited for: a byte in a FIFO, whose path the waiter has
 * left in the header. It is rung once for each time that it was asked for. Where its owner has died nothing happens. */

static inline void ring_bell_close(ring_t *r) {
    if (r->bell) close(r->bell - 1);
    r->bell = 0;
}
static inline void ring_bell_ring(ring_t *r) {
    if (!__atomic_exchange_n(&r->header->bell_wanted, 0, __ATOMIC_ACQ_REL)) return;
    for (int i = 0; i < 2; i++) {
        if (!r->bell) r->bell = open(r->header->bell_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) + 1;
        if (!r->bell || write(r->bell - 1, "", 1) == 1 || errno != EPIPE) return; /* EAGAIN: it has rung often enough */
        ring_bell_close(r); /* another server may have made it anew */
    }
}
/* Have the writer ring it once put has passed n. 1: it has already. */
static inline int ring_bell_when(ring_t *r, uint64_t n) {
    if (!__atomic_load_n(&r->header->bell_wanted, __ATOMIC_RELAXED)) __atomic_store_n(&r->header->bell_wanted, 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the one in ring_wake */
    return ring_put_load_acquire(r) > n;
}

/* ---- writer ---------------------------------------------------------------------------------------------------- */

/* Slowest ack of the active readers, or tail while there is none: what is put waits for the first reader. */
static inline uint64_t ring_slowest_ack(const ring_t *r) {
    uint64_t slowest = RING_NEVER;
    for (int i = 0; i < RING_READERS; i++) {
        const ring_slot_t *s = &r->header->readers[i];
        if (ring_state_load_acquire(&s->owner) == RING_READER_ACTIVE) {
            uint64_t ack = ring_ack_load_acquire(s);
            if (ack < slowest) slowest = ack;
        }
    }
    return slowest == RING_NEVER ? ring_tail_load_acquire(r) : slowest;
}

static inline uint64_t ring_slowest_ack_after_fence(const ring_t *r) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the one in ring_place_reader */
    return ring_slowest_ack(r);
}

static inline int ring_has_checkpoints(const ring_t *r) { return r->header->data_path[0] != 0; }

/* Looks how far the readers are, and takes as much of what all have acked as n bytes, or a quarter of the ring, need. A
 * reader that joins meanwhile either is seen by the second look, or sees the new floor and joins above it (the fences pair
 * with the one in ring_place_reader). */
static inline void ring_refresh_limit_for(ring_t *r, uint64_t n) {
    uint64_t slowest = ring_slowest_ack(r), ahead = r->claim + (n > r->capacity / 4 ? n : r->capacity / 4);
    ring_tail_raise(r->header, slowest);
    if (!ring_has_checkpoints(r) && ahead > r->capacity)
        ring_floor_raise(r->header, slowest < ahead - r->capacity ? slowest : ahead - r->capacity);
    uint64_t floor = ring_floor_load_acquire(r);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t again = ring_slowest_ack(r);
    r->limit = (again < floor ? again : floor) + r->capacity;
}
static inline void ring_refresh_limit(ring_t *r) { ring_refresh_limit_for(r, 0); }

static inline int ring_has_room(ring_t *r, uint64_t n) {
    if (__builtin_expect(r->claim + n > r->limit, 0)) ring_refresh_limit_for(r, n);
    return r->claim + n <= r->limit;
}

/* ---- writing to a file ---------------------------------------------------------------------------------------------
 *
 * Where the data lie in a file on disk the writer writes them there instead of storing into its mapping: the first store into
 * each page after each sync is a page fault of some microseconds, and one into a page that has left the page cache has to
 * read it first. Small pieces are put together in `stage`. Readers have the same page cache mapped.
 */

static inline int ring_write(ring_t *r, const uint8_t *bytes, uint64_t at, uint64_t n) { /* -1: see write_error */
    r->write_error = 0;
    while (n) {
        uint64_t offset = at % r->capacity, most = r->capacity - offset;
        ssize_t done = pwrite(r->fd, bytes, n < most ? n : most, (off_t)offset);
        if (done < 0) {
            if (errno == EINTR) continue;
            r->write_error = errno;
            return -1;
        }
        bytes += done, at += (uint64_t)done, n -= (uint64_t)done;
    }
    return 0;
}
/* Before ring_publish. -1: not everything that is claimed is in the file; it may be tried again. */
static inline int ring_write_out(ring_t *r) {
    if (r->stage && r->staged != r->claim) {
        if (ring_write(r, r->stage, r->staged, r->claim - r->staged) < 0) return -1;
        r->staged = r->claim;
    }
    return 0;
}

/* n writable contiguous bytes at the claim, at most RING_STAGE_BYTES in a file, or NULL: the ring is full, or write_error is
 * set. Claims nothing yet. */
static inline uint8_t *ring_room(ring_t *r, uint64_t n) {
    if (!ring_has_room(r, n)) return NULL;
    if (__builtin_expect(r->stage == NULL, 1)) return r->data + r->claim % r->capacity;
    if (r->claim - r->staged + n > RING_STAGE_BYTES && ring_write_out(r) < 0) return NULL;
    return r->stage + (r->claim - r->staged);
}
/* Takes n bytes of that room; invisible to readers until ring_publish. */
static inline void ring_claim(ring_t *r, uint64_t n) { r->claim += n; }

/* Claims n bytes that there is room for, a copy of these. -1: write_error is set. */
static inline int ring_append(ring_t *r, const uint8_t *bytes, uint64_t n) {
    if (r->stage && n > RING_STAGE_BYTES / 4) {
        if (ring_write_out(r) < 0 || ring_write(r, bytes, r->claim, n) < 0) return -1;
        r->staged += n;
    } else {
        uint8_t *room = ring_room(r, n);
        if (room == NULL) return -1;
        memcpy(room, bytes, n);
    }
    r->claim += n;
    return 0;
}

/* Remembers where records begin; relaxed: publish makes it visible, and who looks checks it against floor. */
static inline void ring_mark_place(ring_t *r, uint64_t sequence) {
    ring_header_t *h = r->header;
    __atomic_store_n(&h->places[h->place_count % RING_PLACES], sequence, __ATOMIC_RELAXED);
    __atomic_store_n(&h->place_count, h->place_count + 1, __ATOMIC_RELEASE);
    r->last_place = sequence;
}

static inline uint64_t ring_last_place(const ring_t *r) { /* of a ring made completely: there is always one */
    return r->header->places[(r->header->place_count - 1) % RING_PLACES];
}

/* Makes everything claimed visible. Pairs with ring_put_load_acquire. */
static inline void ring_publish(ring_t *r) {
    uint64_t put = __atomic_load_n(&r->header->put, __ATOMIC_RELAXED);
    if (__builtin_expect(r->claim - r->last_place >= r->capacity / RING_PLACES_PER_CAPACITY, 0) && put != r->last_place)
        ring_mark_place(r, put);
    __atomic_store_n(&r->header->put, r->claim, __ATOMIC_RELEASE);
    ring_wake(&r->header->put_signal, &r->header->put_waiters);
    if (__atomic_load_n(&r->header->bell_wanted, __ATOMIC_RELAXED)) ring_bell_ring(r);
}

/* ---- notes: found again after a crash exactly as they were when the sequence they are tied to was stored --------- */

#define RING_NOTE_FUNCTIONS(PREFIX, NOTE, BYTES)                                                                        \
    static inline NOTE *PREFIX##_valid(NOTE notes[2], uint64_t sequence) {                                              \
        NOTE *found = NULL;                                                                                             \
        for (int i = 0; i < 2; i++) {                                                                                   \
            uint64_t at = __atomic_load_n(&notes[i].at, __ATOMIC_ACQUIRE);                                              \
            if (at <= sequence && at != RING_NEVER && (!found || notes[i].serial > found->serial)) found = &notes[i];   \
        }                                                                                                               \
        return found;                                                                                                   \
    }                                                                                                                   \
    /* Writes the note that becomes valid when the sequence, now `sequence`, reaches `at`. */                           \
    static inline void PREFIX##_write(NOTE notes[2], uint64_t sequence, uint64_t at, const void *bytes, uint64_t n) {   \
        NOTE *valid = PREFIX##_valid(notes, sequence);                                                                  \
        NOTE *free_one = valid == &notes[0] ? &notes[1] : &notes[0];                                                    \
        __atomic_store_n(&free_one->at, RING_NEVER, __ATOMIC_RELEASE);                                                  \
        __atomic_thread_fence(__ATOMIC_RELEASE);                                                                        \
        free_one->serial = valid ? valid->serial + 1 : 1;                                                               \
        free_one->length = n;                                                                                           \
        memcpy(free_one->bytes, bytes, n);                                                                              \
        __atomic_store_n(&free_one->at, at, __ATOMIC_RELEASE);                                                          \
    }                                                                                                                   \
    /* A copy of the valid note for a bystander, whom the writer doesn't wait for: a seqlock over at and serial.        \
     * Returns its length, -1: there is none. */                                                                       \
    static inline int64_t PREFIX##_read(NOTE notes[2], const uint64_t *sequence, uint8_t *out) {                        \
        for (;;) {                                                                                                      \
            uint64_t now = __atomic_load_n(sequence, __ATOMIC_ACQUIRE);                                                 \
            const NOTE *note = PREFIX##_valid(notes, now);                                                              \
            if (note) {                                                                                                 \
                uint64_t at = __atomic_load_n(&note->at, __ATOMIC_ACQUIRE);                                             \
                uint64_t serial = note->serial, n = note->length;                                                       \
                if (n <= BYTES) memcpy(out, note->bytes, n);                                                            \
                __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with the fence in write */                            \
                if (at <= now && __atomic_load_n(&note->at, __ATOMIC_RELAXED) == at && note->serial == serial)          \
                    return n <= BYTES ? (int64_t)n : -1;                                                                \
            } else if (__atomic_load_n(sequence, __ATOMIC_ACQUIRE) == now) {                                            \
                return -1;                                                                                              \
            }                                                                                                           \
        }                                                                                                               \
    }                                                                                                                   \
    /* After a death: a note for a sequence that was never reached must not become valid later. */                      \
    static inline void PREFIX##_forget_unreached(NOTE notes[2], uint64_t sequence) {                                    \
        for (int i = 0; i < 2; i++)                                                                                     \
            if (notes[i].at > sequence) __atomic_store_n(&notes[i].at, RING_NEVER, __ATOMIC_RELEASE);                   \
    }

RING_NOTE_FUNCTIONS(ring_note, ring_note_t, RING_NOTE_BYTES)
RING_NOTE_FUNCTIONS(ring_reader_note, ring_reader_note_t, RING_READER_NOTE_BYTES)

/* ---- readers --------------------------------------------------------------------------------------------------- */

/* Everything before `ack` may be overwritten. Pairs with ring_ack_load_acquire. */
static inline void ring_ack(ring_t *r, ring_slot_t *s, uint64_t ack) {
    __atomic_store_n(&s->ack, ack, __ATOMIC_RELEASE);
    ring_wake(&r->header->ack_signal, &r->header->ack_waiters);
}

/* Sets get and ack of a reader that is active afterwards to `to`, or, if that is overwritten, to tail. Returns where it is. */
static inline uint64_t ring_place_reader(ring_t *r, ring_slot_t *s, uint64_t to) {
    for (;;) {
        ring_get_store_relaxed(s, to);
        __atomic_store_n(&s->ack, to, __ATOMIC_RELEASE);
        ring_state_store_release(&s->owner, RING_READER_ACTIVE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the fence in ring_refresh_limit_for */
        if (ring_floor_load_acquire(r) <= to) return to;
        to = ring_tail_load_acquire(r); /* the writer moved on before it saw this reader; tail is raised before floor */
    }
}

/* Takes a free slot and joins where the slowest reader is, or, if latest, at put. Returns the slot's number or -1. */
static inline int ring_join(ring_t *r, const char *name, int latest) {
    for (int i = 0; i < RING_READERS; i++) {
        ring_slot_t *s = &r->header->readers[i];
        uint32_t expected = RING_READER_FREE;
        if (!__atomic_compare_exchange_n(&s->owner.state, &expected, RING_READER_JOINING, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        memset(s->name, 0, sizeof s->name);
        strncpy(s->name, name, sizeof s->name - 1);
        memset(s->counters, 0, sizeof s->counters);
        s->notes[0].at = s->notes[1].at = RING_NEVER;
        s->joined++;
        s->owner.pid = 0;
        ring_place_reader(r, s, latest ? ring_put_load_acquire(r) : ring_tail_load_acquire(r));
        return i;
    }
    return -1;
}

/* Gives the slot back. What the reader has acked stays acked, even if it was the last one. */
static inline void ring_leave(ring_t *r, ring_slot_t *s) {
    ring_tail_raise(r->header, ring_slowest_ack(r));
    ring_owner_store_relaxed(&s->owner, 0, 0);
    ring_state_store_release(&s->owner, RING_READER_FREE);
    ring_wake(&r->header->ack_signal, &r->header->ack_waiters); /* it may have been the slowest */
}

/* ---- waiting: spins a little, then sleeps on the futex -------------------------------------------------------------
 *
 * They answer 1: what was waited for is there, 0: time is up (or nothing more will come), -1: a signal came in between.
 * A process killed while it sleeps leaves its count in `waiters`: it costs later publishers a system call each, nothing else.
 */

#define RING_WAIT_ANY 128 /* FUTEX_WAITV takes no more */
#define RING_POLL_NS 1000000 /* pause between looks where the kernel has no FUTEX_WAITV (before 5.16) */
#define RING_LONGEST_WAIT_NS (INT64_C(1) << 61)

typedef struct { uint64_t seen, address; uint32_t flags, reserved; } ring_waitv_t; /* struct futex_waitv */
_Static_assert(sizeof(ring_waitv_t) == 24, "as the kernel has it");

static inline int64_t ring_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}
static inline struct timespec ring_timespec(int64_t ns) {
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}
static inline void ring_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
/* 0 or errno; EAGAIN: the signal is no longer `seen`. */
static inline int ring_futex_wait(const uint32_t *signal, uint32_t seen, int64_t timeout_ns) {
    struct timespec t = ring_timespec(timeout_ns);
    return syscall(SYS_futex, signal, FUTEX_WAIT, seen, &t, NULL, 0) == 0 ? 0 : errno;
}
static inline int64_t ring_deadline(int64_t now_ns, int64_t timeout_ns) {
    return now_ns + (timeout_ns < 0 ? 0 : timeout_ns > RING_LONGEST_WAIT_NS ? RING_LONGEST_WAIT_NS : timeout_ns);
}
static inline int ring_finished(const ring_t *r) { return ring_state_load_acquire(&r->header->writer) == RING_WRITER_FINISHED; }

/* CONDITION is looked at until it holds; END, looked at after it, ends the wait early. */
#define RING_WAIT_FUNCTION(NAME, SIDE, CONDITION, END)                                                                  \
    static inline int NAME(ring_t *r, uint64_t n, int64_t timeout_ns, int64_t spin_ns) {                                \
        if (CONDITION) return 1;                                                                                        \
        int64_t now = ring_now_ns(), deadline = ring_deadline(now, timeout_ns);                                         \
        int64_t spin_end = deadline - now < spin_ns ? deadline : now + spin_ns;                                         \
        for (; now < spin_end; now = ring_now_ns()) {                                                                   \
            for (int i = 0; i < 16; i++) ring_pause();                                                                  \
            if (CONDITION) return 1;                                                                                    \
        }                                                                                                               \
        int found;                                                                                                      \
        ring_waiters_add(&r->header->SIDE##_waiters, 1);                                                                \
        for (;;) {                                                                                                      \
            uint32_t seen = ring_signal_load_acquire(&r->header->SIDE##_signal); /* before the look */                  \
            if ((found = (CONDITION))) break;                                                                           \
            if (END) { found = (CONDITION); break; } /* the last record came just before the end */                     \
            if ((now = ring_now_ns()) >= deadline) break;                                                               \
            if (ring_futex_wait(&r->header->SIDE##_signal, seen, deadline - now) == EINTR) { found = -1; break; }       \
        }                                                                                                               \
        ring_waiters_add(&r->header->SIDE##_waiters, -1);                                                               \
        return found;                                                                                                   \
    }
/* A reader's wait until put passes n; a finished writer ends it. */
RING_WAIT_FUNCTION(ring_wait_put, put, ring_put_load_acquire(r) > n, ring_finished(r))
/* The writer's wait for n bytes of room. What is claimed but not published only the writer can move: publish first. */
RING_WAIT_FUNCTION(ring_wait_room, ack, ring_has_room(r, n), 0)

/* Waits until put passes its sequence in any of n <= RING_WAIT_ANY rings, or one more writer finishes. */
static inline int ring_wait_any(const ring_t *rings, const uint64_t *sequences, int n, int64_t timeout_ns, int64_t spin_ns) {
    ring_waitv_t waits[RING_WAIT_ANY];
    int64_t now = ring_now_ns(), deadline = ring_deadline(now, timeout_ns);
    int64_t spin_end = deadline - now < spin_ns ? deadline : now + spin_ns;
    int found = 0, finished_before = 0;
    for (int i = 0; i < n; i++) finished_before += ring_finished(&rings[i]);
    for (; now < spin_end; now = ring_now_ns()) {
        for (int i = 0; i < n; i++)
            if (ring_put_load_acquire(&rings[i]) > sequences[i]) return 1;
        for (int i = 0; i < 16; i++) ring_pause();
    }
    for (int i = 0; i < n; i++) ring_waiters_add(&rings[i].header->put_waiters, 1);
    for (;;) {
        int sleeping = 0, finished = 0;
        for (int i = 0; i < n; i++) {
            uint32_t *signal = &rings[i].header->put_signal;
            uint32_t seen = ring_signal_load_acquire(signal); /* before the look */
            int over = ring_finished(&rings[i]);
            if (ring_put_load_acquire(&rings[i]) > sequences[i]) found = 1;
            finished += over;
            if (!over) waits[sleeping++] = (ring_waitv_t){seen, (uint64_t)(uintptr_t)signal, 2 /* FUTEX2_SIZE_U32 */, 0};
        }
        if (found || finished > finished_before || sleeping == 0 || (now = ring_now_ns()) >= deadline) break;
        struct timespec t = ring_timespec(deadline);
        int failed = syscall(449 /* futex_waitv */, waits, sleeping, 0, &t, CLOCK_MONOTONIC) >= 0 ? 0 : errno;
        if (failed == ENOSYS || failed == EPERM) {
            t = ring_timespec(deadline - now < RING_POLL_NS ? deadline - now : RING_POLL_NS);
            failed = nanosleep(&t, NULL) == 0 ? 0 : errno;
        }
        if (failed == EINTR) { found = -1; break; }
    }
    for (int i = 0; i < n; i++) ring_waiters_add(&rings[i].header->put_waiters, -1);
    return found;
}

#endif
