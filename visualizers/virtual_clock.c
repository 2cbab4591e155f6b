/* A virtual clock for gource: an LD_PRELOAD library.
 *
 * Gource 0.54 simulates a film at a fixed step, so that its frames do not depend on the time of day, and yet
 * it waits for the wall clock: one render in 8 to 16 ms however fast the machine is. It also renders every
 * step of the simulation (60 to 75 a second of film) and exports only each 2nd (30 fps) or 3rd (25 fps).
 * And its exporter may lose a frame: a second one replaces the first where the writer thread has not yet
 * taken it. This library mends the three, and changes no pixel of any frame:
 *
 *   - time passes only when a render ends or when gource asks to wait, so it never waits;
 *   - of a render that is not exported, or that lies outside the wanted range, nothing is drawn. The
 *     simulation still runs, since the next frame grows out of it;
 *   - the render thread hands a frame over only when the writer thread sleeps and waits for one.
 *
 * Environment (the library does nothing in a program that does not use SDL, such as a launcher):
 *   VC_EVERY   renders per exported frame: 1 at 60 fps, 2 at 30, 3 at 25. Checked against what gource does.
 *   VC_FIRST   the first exported frame that is written, from 0; default 0.
 *   VC_LAST    the exported frame before which writing ends; default: the end of the film. Gource is told to
 *              quit after the last frame of the range.
 *   VC_COUNT   1: write nothing, draw nothing, run to the end, tell the number of frames.
 *
 * At the end one line goes to stderr: "virtual-clock: exported=N written=M". N counts the frames that the
 * film has had so far, M those written to the pipe. Exit codes: below; 0 means that every frame of the range
 * was handed to the kernel. Codes that gource itself sets are left alone.
 *
 * Build: cc -O2 -fPIC -shared -pthread -o virtual_clock.so virtual_clock.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum exit_code {
    EXIT_SETTING = 90,     /* a VC_ variable is not a number in its range */
    EXIT_SYMBOL = 91,      /* this gource lacks a function that the clock replaces */
    EXIT_STRUCTURE = 92,   /* this gource does not export as the clock expects: wrong VC_EVERY or version */
    EXIT_OUTPUT = 93,      /* a frame could not be written */
    EXIT_INTERRUPTED = 94, /* a signal asked gource to quit before the range was written */
    EXIT_INCOMPLETE = 95   /* the film ended before the range did */
};

/* Values of the SDL 2 and OpenGL interfaces; both are frozen, so that no headers are needed to build. */
enum { QUIT_EVENT = 0x100 };
enum { PIXELS_RGB = 0x1907, PIXELS_BYTE = 0x1401 };
enum { EVENT_BYTES = 56 };

/* A render stands for one step of 1/60 s or less. The value reaches no frame: gource only asks that at least
 * 8 ms have passed. */
enum { RENDER_MS = 17 };

typedef int (*thread_body)(void *);

#define REPLACED(X)                                                                                            \
    X(int, SDL_PollEvent, (void *event))                                                                       \
    X(int, SDL_LockMutex, (void *mutex))                                                                       \
    X(int, SDL_CondWait, (void *cond, void *mutex))                                                            \
    X(int, SDL_CondSignal, (void *cond))                                                                       \
    X(void *, SDL_CreateThread, (thread_body body, const char *name, void *data))                              \
    X(void, SDL_WaitThread, (void *thread, int *status))                                                       \
    X(void, SDL_GL_SwapWindow, (void *window))                                                                 \
    X(void, glReadPixels, (int x, int y, int w, int h, unsigned format, unsigned type, void *pixels))          \
    X(void, glNewList, (unsigned list, unsigned mode))                                                         \
    X(void, glEndList, (void))                                                                                 \
    X(void, glBegin, (unsigned mode))                                                                          \
    X(void, glEnd, (void))                                                                                     \
    X(void, glVertex2f, (float x, float y))                                                                    \
    X(void, glVertex2fv, (const float *v))                                                                     \
    X(void, glVertex2i, (int x, int y))                                                                        \
    X(void, glDrawArrays, (unsigned mode, int first, int count))                                               \
    X(void, glClear, (unsigned mask))

#define DECLARE(result, name, parameters) static result(*real_##name) parameters;
REPLACED(DECLARE)

/* What the environment asks for. */
static uint64_t every = 1, first = 0, last = UINT64_MAX;
static bool count_only = false;

/* Owned by the render thread. */
static bool started = false;       /* the first export has been seen: the phase is known */
static uint64_t step = 0;          /* renders since the first export */
static bool drawing = true;        /* this render is drawn */
static bool compiling = false;     /* a display list is being compiled: it outlives this render */
static bool range_written = false; /* the last frame of the range has been handed over */
static uint64_t exported = 0, written = 0;
static enum { NO_FRAME, WANTED_FRAME, UNWANTED_FRAME } frame = NO_FRAME;

static atomic_uint ticks = 0;
static atomic_bool interrupted = false;
static bool quit_told = false;

/* The hand-over between the render thread and the writer thread. */
static pthread_mutex_t hand_over = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static void *writer_cond = NULL, *writer_mutex = NULL;
static bool writer_waits = false; /* the writer thread sleeps and may be given a frame */
static bool woken = false;        /* the writer has been signalled: by a wanted frame or by the end */
static enum { NO_LOG, HELD, READING, READ } log_state = NO_LOG;
static _Thread_local bool is_writer = false;

static void give_up(enum exit_code code, const char *reason, const char *detail) {
    dprintf(STDERR_FILENO, "virtual-clock: %s%s\n", reason, detail);
    _exit(code);
}

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    if (text == NULL || *text == '\0') return otherwise;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9')
        give_up(EXIT_SETTING, "not a number: ", name);
    return value;
}

static void tell_the_end(int status, void *unused) {
    (void)unused;
    /* Registered before any other, so that it runs when all else has ended; the standard library itself would
     * flush the last bytes later and keep silent about an error. */
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    dprintf(STDERR_FILENO, "virtual-clock: exported=%llu written=%llu\n", (unsigned long long)exported,
            (unsigned long long)written);
    if (status != 0) return;
    if (failed) _exit(EXIT_OUTPUT);
    if (interrupted && !range_written) _exit(EXIT_INTERRUPTED);
    if (!count_only && last != UINT64_MAX && exported < last) _exit(EXIT_INCOMPLETE);
}

static bool wanted(uint64_t index) { return !count_only && index >= first && index < last; }

__attribute__((constructor)) static void begin(void) {
    if (dlsym(RTLD_NEXT, "SDL_GL_SwapWindow") == NULL) return;
#define RESOLVE(result, name, parameters)                                                                      \
    *(void **)&real_##name = dlsym(RTLD_NEXT, #name);                                                          \
    if (real_##name == NULL) give_up(EXIT_SYMBOL, "no such function: ", #name);
    REPLACED(RESOLVE)
    every = setting("VC_EVERY", 1);
    first = setting("VC_FIRST", 0);
    last = setting("VC_LAST", UINT64_MAX);
    count_only = setting("VC_COUNT", 0) != 0;
    if (every == 0) give_up(EXIT_SETTING, "must be 1 or more: ", "VC_EVERY");
    if (first >= last) give_up(EXIT_SETTING, "must be above VC_FIRST: ", "VC_LAST");
    /* Nothing is exported before frame 0, so its fate is known before its phase is. */
    drawing = wanted(0);
    /* A program that gource might start is not gource. */
    unsetenv("LD_PRELOAD");
    if (on_exit(tell_the_end, NULL) != 0) give_up(EXIT_SYMBOL, "refused: ", "on_exit");
}

/* ---- time ---------------------------------------------------------------------------------------------- */

uint32_t SDL_GetTicks(void) { return ticks; }

void SDL_Delay(uint32_t ms) { ticks += ms == 0 ? 1 : ms; }

int SDL_PollEvent(void *event) {
    if (range_written && !quit_told && event != NULL) {
        /* The way that SDL itself ends a program: all of gource's own endings run, the writer is joined. */
        quit_told = true;
        memset(event, 0, EVENT_BYTES);
        *(uint32_t *)event = QUIT_EVENT;
        return 1;
    }
    int found = real_SDL_PollEvent(event);
    /* There is no window that anyone could close: SDL makes this event of SIGTERM and SIGINT. */
    if (found && event != NULL && *(uint32_t *)event == QUIT_EVENT) interrupted = true;
    return found;
}

/* ---- the hand-over of frames ---------------------------------------------------------------------------- */

/* Gource's exporter (core/ppm.cpp): the render thread reads the pixels into the spare one of two buffers, takes
 * the mutex, points to that buffer, signals. The writer holds the mutex while it writes and lets go of it only
 * inside SDL_CondWait. Between the signal and the moment when the writer wakes up, the render thread may take
 * the mutex once more, and then a frame is lost. So it is kept from taking the mutex until the writer waits:
 * drawing and reading one frame still go on while the one before is written. */

static void wait_for_writer(void) {
    pthread_mutex_lock(&hand_over);
    while (!writer_waits) pthread_cond_wait(&changed, &hand_over);
    pthread_mutex_unlock(&hand_over);
}

int SDL_LockMutex(void *mutex) {
    /* writer_mutex is set before the render thread goes on (SDL_CreateThread below), and never changes. */
    if (!is_writer && mutex != NULL && mutex == writer_mutex) wait_for_writer();
    return real_SDL_LockMutex(mutex);
}

int SDL_CondWait(void *cond, void *mutex) {
    if (!is_writer) return real_SDL_CondWait(cond, mutex);
    /* Standard output keeps its error: a reader that has gone, or a full disk. */
    if (ferror(stdout)) give_up(EXIT_OUTPUT, "a frame could not be written", "");
    pthread_mutex_lock(&hand_over);
    writer_cond = cond;
    writer_mutex = mutex;
    woken = false;
    writer_waits = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&hand_over);
    int result;
    /* `woken` changes only under the mutex that is held here. Without it a spurious wake-up after an unwanted
     * frame would write that frame, for gource itself believes that one waits. */
    do result = real_SDL_CondWait(cond, mutex);
    while (!woken && result == 0);
    return result;
}

int SDL_CondSignal(void *cond) {
    if (cond != writer_cond) return real_SDL_CondSignal(cond);
    bool unwanted = frame == UNWANTED_FRAME;
    if (frame == WANTED_FRAME) written++;
    /* A signal without a frame is the end: it must pass. */
    frame = NO_FRAME;
    if (unwanted) return 0;
    pthread_mutex_lock(&hand_over);
    writer_waits = false;
    woken = true;
    pthread_mutex_unlock(&hand_over);
    return real_SDL_CondSignal(cond);
}

/* ---- threads -------------------------------------------------------------------------------------------- */

/* Gource opens the log in a thread and counts renders meanwhile; the count decides which steps of the simulation
 * are exported. So the frames of the real clock depend on how fast a thread starts. Nearly always its first look
 * (in the render after the one that made the thread) comes too early and its second, 16 ms later, does not.
 * The virtual clock makes this the rule: two renders after its creation the log is read, and no other waits. */
enum { RENDERS_BEFORE_LOG = 2 };

static void let_log_be_read(void) {
    pthread_mutex_lock(&hand_over);
    if (log_state == HELD) log_state = READING;
    pthread_cond_broadcast(&changed);
    while (log_state == READING) pthread_cond_wait(&changed, &hand_over);
    pthread_mutex_unlock(&hand_over);
}

static void read_log_on_time(void) {
    static int renders = 0;
    if (log_state != NO_LOG && renders < RENDERS_BEFORE_LOG && ++renders == RENDERS_BEFORE_LOG) let_log_be_read();
}

void SDL_WaitThread(void *thread, int *status) {
    /* Gource was told to quit before it read its log. */
    if (log_state == HELD) let_log_be_read();
    real_SDL_WaitThread(thread, status);
}

struct start {
    thread_body body;
    void *data;
};

static int run_writer(void *data) {
    struct start own = *(struct start *)data;
    free(data);
    is_writer = true;
    return own.body(own.data);
}

static int run_log_reader(void *data) {
    struct start own = *(struct start *)data;
    free(data);
    pthread_mutex_lock(&hand_over);
    while (log_state == HELD) pthread_cond_wait(&changed, &hand_over);
    pthread_mutex_unlock(&hand_over);
    int result = own.body(own.data);
    pthread_mutex_lock(&hand_over);
    log_state = READ;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&hand_over);
    return result;
}

static void *create_wrapped(thread_body wrapper, thread_body body, const char *name, void *data) {
    struct start *own = malloc(sizeof *own);
    if (own == NULL) give_up(EXIT_STRUCTURE, "out of memory", "");
    own->body = body;
    own->data = data;
    return real_SDL_CreateThread(wrapper, name, own);
}

void *SDL_CreateThread(thread_body body, const char *name, void *data) {
    if (name != NULL && strcmp(name, "logmill") == 0) {
        log_state = HELD;
        return create_wrapped(run_log_reader, body, name, data);
    }
    if (name == NULL || strcmp(name, "frame_exporter") != 0) return real_SDL_CreateThread(body, name, data);
    void *thread = create_wrapped(run_writer, body, name, data);
    /* A writer that starts late overwrites the note of the first frame, which is then lost. */
    if (thread != NULL) wait_for_writer();
    return thread;
}

/* ---- which renders are drawn ---------------------------------------------------------------------------- */

void SDL_GL_SwapWindow(void *window) {
    if (drawing) real_SDL_GL_SwapWindow(window);
    ticks += RENDER_MS;
    read_log_on_time();
    if (!started) return;
    step++;
    drawing = step % every == 0 && wanted(step / every);
}

void glReadPixels(int x, int y, int w, int h, unsigned format, unsigned type, void *pixels) {
    /* Gource also reads single depth values, for the mouse. */
    if (format != PIXELS_RGB || type != PIXELS_BYTE || x != 0 || y != 0) {
        real_glReadPixels(x, y, w, h, format, type, pixels);
        return;
    }
    if (started && step % every != 0)
        give_up(EXIT_STRUCTURE, "gource exports a render between two frames: ", "VC_EVERY is wrong");
    if (writer_mutex == NULL) give_up(EXIT_STRUCTURE, "gource exports a frame, and has no ", "frame_exporter");
    started = true;
    uint64_t index = step / every;
    exported = index + 1;
    frame = wanted(index) ? WANTED_FRAME : UNWANTED_FRAME;
    if (frame == WANTED_FRAME) real_glReadPixels(x, y, w, h, format, type, pixels);
    if (!count_only && exported >= last) range_written = true;
}

/* A display list is compiled once and drawn in later renders: what is inside must not be lost. Drawing one
 * is left to gource, since a list may also change state that the next render relies on. */
void glNewList(unsigned list, unsigned mode) {
    compiling = true;
    real_glNewList(list, mode);
}

void glEndList(void) {
    real_glEndList();
    compiling = false;
}

#define DRAWN (drawing || compiling)

/* Only what makes pixels is left out. Matrices, textures, buffers and colours are set as ever, because gource
 * reads some of them back and a later render builds upon others. */
void glBegin(unsigned mode) { if (DRAWN) real_glBegin(mode); }

void glEnd(void) { if (DRAWN) real_glEnd(); }

void glVertex2f(float x, float y) { if (DRAWN) real_glVertex2f(x, y); }

void glVertex2fv(const float *v) { if (DRAWN) real_glVertex2fv(v); }

void glVertex2i(int x, int y) { if (DRAWN) real_glVertex2i(x, y); }

void glDrawArrays(unsigned mode, int from, int count) { if (DRAWN) real_glDrawArrays(mode, from, count); }

void glClear(unsigned mask) { if (DRAWN) real_glClear(mask); }
