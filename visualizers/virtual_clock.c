/* A virtual clock for gource: an LD_PRELOAD library.
 *
 * Gource 0.54 simulates a film at a fixed step, so that its frames do not depend on the time of day, and yet
 * it waits for the wall clock: one render in 8 to 16 ms however fast the machine is. It renders every step of
 * the simulation (60 to 75 a second of film) and exports only each 2nd (30 fps) or 3rd (25 fps). Its exporter
 * may lose a frame, since a second one replaces the first where the writer thread has not yet taken it, and
 * spends a quarter of the whole CPU time on turning frames upside down byte by byte. This library mends the
 * four, and changes no byte of any frame:
 *
 *   - time passes only when a render ends or when gource asks to wait, so it never waits;
 *   - of a render that is not exported, or that lies outside the wanted range, nothing is drawn. The
 *     simulation still runs, since the next frame grows out of it;
 *   - wanted frames are read, turned and written to standard output here; the render thread goes on meanwhile
 *     and waits where the reader of the pipe is slower. Gource's own writer thread sleeps to the end;
 *   - the lights around folders are drawn only where they light anything: lights.c.
 *
 * Environment (the library does nothing in a program that does not use SDL, such as a launcher):
 *   VC_EVERY   renders per exported frame: 1 at 60 fps, 2 at 30, 3 at 25. Checked against what gource does.
 *   VC_FIRST   the first exported frame that is written, from 0; default 0.
 *   VC_LAST    the exported frame before which writing ends; default: the end of the film. Gource is asked to
 *              quit after the last frame of the range.
 *   VC_SHARES  how many processes share the frames of the range, in turns; default 1.
 *   VC_SHARE   which of them this one is, from 0. It writes the frames of all up to itself, in order: its own as
 *              it draws them, those of the ones before as they come from standard input.
 *   VC_COUNT   1: write nothing, draw nothing, run to the end, tell the number of frames.
 * Gource must be given `--output-ppm-stream -`.
 *
 * At the end one line goes to stderr: "virtual-clock: exported=N written=M". N counts the frames that the
 * film has had so far, M those that the kernel took in full. Exit codes: below; 0 means that every frame of
 * the range was written. Codes that gource itself sets are left alone.
 *
 * Build: cc -std=c11 -O3 -fPIC -shared -pthread -o virtual_clock.so virtual_clock.c lights.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum exit_code {
    EXIT_SETTING = 90,     /* a VC_ variable is not a number in its range */
    EXIT_SYMBOL = 91,      /* this host lacks a function that the clock replaces or needs */
    EXIT_STRUCTURE = 92,   /* gource does not export as the clock expects: wrong VC_EVERY or another version */
    EXIT_OUTPUT = 93,      /* a frame could not be written */
    EXIT_INTERRUPTED = 94, /* a signal asked gource to quit before the range was written */
    EXIT_INCOMPLETE = 95,  /* the film ended before the range did */
    EXIT_INPUT = 96        /* standard input does not hold the frames of the other processes, or more than those */
};

/* Values of the SDL 2 and OpenGL interfaces; both are frozen, so that no headers are needed to build. */
enum { QUIT_EVENT = 0x100, EVENT_BYTES = 56, ALPHA_SIZE = 3 };
enum { PIXELS_RGB = 0x1907, PIXELS_BGRA = 0x80E1, PIXELS_BYTE = 0x1401 };

/* A render stands for one step of 1/60 s or less. The value reaches no frame: gource only asks that at least
 * 8 ms have passed. */
enum { RENDER_MS = 17 };

typedef int (*thread_body)(void *);

#define REPLACED(X)                                                                                            \
    X(int, SDL_PollEvent, (void *event))                                                                       \
    X(int, SDL_CondWait, (void *cond, void *mutex))                                                            \
    X(int, SDL_CondSignal, (void *cond))                                                                       \
    X(void *, SDL_CreateThread, (thread_body body, const char *name, void *data))                              \
    X(void, SDL_WaitThread, (void *thread, int *status))                                                       \
    X(void *, SDL_CreateWindow, (const char *title, int x, int y, int w, int h, uint32_t flags))               \
    X(int, SDL_GL_SetAttribute, (int attribute, int value))                                                    \
    X(void, SDL_GL_SwapWindow, (void *window))                                                                 \
    X(void, glReadPixels, (int x, int y, int w, int h, unsigned format, unsigned type, void *pixels))          \
    X(void, glNewList, (unsigned list, unsigned mode))                                                         \
    X(void, glEndList, (void))                                                                                 \
    X(void, glBegin, (unsigned mode))                                                                          \
    X(void, glEnd, (void))                                                                                     \
    X(void, glVertex2f, (float x, float y))                                                                    \
    X(void, glVertex2fv, (const float *v))                                                                     \
    X(void, glVertex2i, (int x, int y))                                                                        \
    X(void, glBlendFunc, (unsigned source, unsigned target))                                                   \
    X(void, glDrawArrays, (unsigned mode, int first, int count))                                               \
    X(void, glClear, (unsigned mask))

#define DECLARE(result, name, parameters) static result(*real_##name) parameters;
REPLACED(DECLARE)

/* What the environment asks for. */
static uint64_t every = 1, first = 0, last = UINT64_MAX, shares = 1, share = 0;
static bool count_only = false;

/* Owned by the render thread. */
static bool started = false;       /* the first export has been seen: the phase is known */
static uint64_t step = 0;          /* renders since the first export */
static bool drawing = true;        /* this render is drawn */
static bool compiling = false;     /* a display list is being compiled: it outlives this render */
static bool range_ended = false;   /* the last frame of the range has been read */
static bool quit_asked = false;
static bool signal_is_ours = false; /* the next signal to gource's writer tells of a frame */
static uint64_t exported = 0;

static atomic_uint ticks = 0;
static atomic_bool interrupted = false;
static atomic_bool writer_awake = false; /* gource's writer has had a signal that it may see */

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* Under the guard. Two frames: one is drawn and read while the other is turned and written. */
enum { SLOTS = 2 };
static struct {
    int width, height;
    uint8_t *slots[SLOTS]; /* as read: four bytes a pixel, the lowest row first */
    uint8_t *page;         /* as written: the header, then three bytes a pixel, the highest row first */
    size_t header_bytes, page_bytes;
    uint64_t known;         /* frames of the range that the film has had */
    uint64_t passed;        /* those of them that are written, or another's to write */
    uint64_t read, turned;  /* own frames handed over, own frames written */
    uint64_t written;       /* frames that the kernel has taken */
    pthread_t thread;
} film;
static enum { NO_LOG, HELD, READING, READ } log_state = NO_LOG;

static void give_up(enum exit_code code, const char *reason, const char *detail) {
    dprintf(STDERR_FILENO, "virtual-clock: %s%s\n", reason, detail);
    _exit(code);
}

/* ---- frames to standard output -------------------------------------------------------------------------- */

/* With byte shuffles of the processor this takes a fifth of the time; the loader picks the best at start. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx2", "ssse3", "default")))
#endif
static void turn(const uint8_t *restrict slot, uint8_t *restrict page, size_t width, size_t height) {
    for (size_t y = 0; y < height; y++) {
        const uint8_t *from = slot + (height - 1 - y) * width * 4;
        uint8_t *to = page + y * width * 3;
        for (size_t x = 0; x < width; x++) {
            to[3 * x] = from[4 * x + 2];
            to[3 * x + 1] = from[4 * x + 1];
            to[3 * x + 2] = from[4 * x];
        }
    }
}

static void write_page(void) {
    size_t done = 0;
    while (done < film.page_bytes) {
        ssize_t taken = write(STDOUT_FILENO, film.page + done, film.page_bytes - done);
        if (taken >= 0) done += (size_t)taken;
        else if (errno != EINTR) give_up(EXIT_OUTPUT, "a frame could not be written: ", strerror(errno));
    }
}

/* A frame of another process, from pipe to pipe in the kernel. */
static void relay_page(void) {
    size_t done = 0;
    while (done < film.page_bytes) {
        ssize_t moved = splice(STDIN_FILENO, NULL, STDOUT_FILENO, NULL, film.page_bytes - done, SPLICE_F_MOVE);
        if (moved == 0) give_up(EXIT_INPUT, "a frame is missing: ", "standard input has ended");
        if (moved > 0) done += (size_t)moved;
        else if (errno != EINTR) give_up(EXIT_OUTPUT, "a frame could not be passed on: ", strerror(errno));
    }
}

static void *write_frames(void *unused) {
    for (;;) {
        pthread_mutex_lock(&guard);
        while (film.known == film.passed) pthread_cond_wait(&changed, &guard);
        uint64_t turn_of = film.passed % shares;
        if (turn_of == share)
            while (film.read == film.turned) pthread_cond_wait(&changed, &guard);
        uint8_t *slot = film.slots[film.turned % SLOTS];
        pthread_mutex_unlock(&guard);
        if (turn_of == share) {
            turn(slot, film.page + film.header_bytes, (size_t)film.width, (size_t)film.height);
            write_page();
        } else if (turn_of < share) {
            relay_page();
        }
        pthread_mutex_lock(&guard);
        if (turn_of == share) film.turned++;
        if (turn_of <= share) film.written++;
        film.passed++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&guard);
    }
    return unused;
}

static void prepare_film(int width, int height) {
    char header[32];
    size_t pixels = (size_t)width * (size_t)height;
    film.header_bytes = (size_t)snprintf(header, sizeof header, "P6\n%d %d 255\n", width, height);
    film.page_bytes = film.header_bytes + pixels * 3;
    film.width = width;
    film.height = height;
    film.page = malloc(film.page_bytes);
    for (int i = 0; i < SLOTS; i++) film.slots[i] = malloc(pixels * 4);
    if (film.page == NULL || film.slots[0] == NULL || film.slots[1] == NULL)
        give_up(EXIT_OUTPUT, "no memory for a frame", "");
    memcpy(film.page, header, film.header_bytes);
    if (pthread_create(&film.thread, NULL, write_frames, NULL) != 0) give_up(EXIT_OUTPUT, "no thread", "");
}

static void take_frame(int width, int height) {
    if (film.page == NULL) prepare_film(width, height);
    if (film.width != width || film.height != height) give_up(EXIT_STRUCTURE, "the size of frames changed", "");
    pthread_mutex_lock(&guard);
    bool own = film.known % shares == share;
    while (own && film.read - film.turned == SLOTS) pthread_cond_wait(&changed, &guard);
    pthread_mutex_unlock(&guard);
    /* How software drivers keep a frame: with an alpha channel (SDL_CreateWindow below) it is plainly copied. */
    if (own)
        real_glReadPixels(0, 0, width, height, PIXELS_BGRA, PIXELS_BYTE, film.slots[film.read % SLOTS]);
    pthread_mutex_lock(&guard);
    film.known++;
    film.read += own;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&guard);
}

static uint64_t finish_writing(void) {
    pthread_mutex_lock(&guard);
    while (film.passed < film.known) pthread_cond_wait(&changed, &guard);
    uint64_t written = film.written;
    pthread_mutex_unlock(&guard);
    return written;
}

/* ---- begin and end -------------------------------------------------------------------------------------- */

static bool wanted(uint64_t index) { return !count_only && index >= first && index < last; }

static bool drawn_here(uint64_t index) { return wanted(index) && (index - first) % shares == share; }

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    if (text == NULL || *text == '\0') return otherwise;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9') give_up(EXIT_SETTING, "not a number: ", name);
    return value;
}

static void tell_the_end(int status, void *unused) {
    (void)unused;
    uint64_t written = finish_writing();
    dprintf(STDERR_FILENO, "virtual-clock: exported=%llu written=%llu\n", (unsigned long long)exported,
            (unsigned long long)written);
    if (status != 0) return;
    if (interrupted && !range_ended) _exit(EXIT_INTERRUPTED);
    if (!count_only && last != UINT64_MAX && !range_ended) _exit(EXIT_INCOMPLETE);
    char more;
    if (share > 0 && !count_only && read(STDIN_FILENO, &more, 1) != 0)
        give_up(EXIT_INPUT, "a frame is too many: ", "standard input does not end with the film");
}

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
    shares = setting("VC_SHARES", 1);
    share = setting("VC_SHARE", 0);
    if (every == 0) give_up(EXIT_SETTING, "must be 1 or more: ", "VC_EVERY");
    if (share >= shares) give_up(EXIT_SETTING, "must be below VC_SHARES: ", "VC_SHARE");
    if (first >= last) give_up(EXIT_SETTING, "must be above VC_FIRST: ", "VC_LAST");
    /* Nothing is exported before frame 0, so its fate is known before its phase is. */
    drawing = drawn_here(0);
    /* A program that gource might start is not gource. */
    unsetenv("LD_PRELOAD");
    /* Registered before any other, so that it runs when all of gource's own endings have. */
    if (on_exit(tell_the_end, NULL) != 0) give_up(EXIT_SYMBOL, "refused: ", "on_exit");
}

void *SDL_CreateWindow(const char *title, int x, int y, int w, int h, uint32_t flags) {
    /* Without an alpha channel glReadPixels must fill one in, pixel by pixel: 7 % of the CPU time. No blending
     * mode that gource uses reads the alpha of the frame. A refusal leaves all as it was. */
    real_SDL_GL_SetAttribute(ALPHA_SIZE, 8);
    return real_SDL_CreateWindow(title, x, y, w, h, flags);
}

/* ---- time and events ------------------------------------------------------------------------------------ */

uint32_t SDL_GetTicks(void) { return ticks; }

void SDL_Delay(uint32_t ms) { ticks += ms == 0 ? 1 : ms; }

int SDL_PollEvent(void *event) {
    if (range_ended && !quit_asked && event != NULL) {
        /* The way in which SDL itself ends a program: all of gource's own endings run. */
        quit_asked = true;
        memset(event, 0, EVENT_BYTES);
        memcpy(event, &(uint32_t){QUIT_EVENT}, sizeof(uint32_t));
        return 1;
    }
    int found = real_SDL_PollEvent(event);
    uint32_t type = 0;
    if (found && event != NULL) memcpy(&type, event, sizeof type);
    /* There is no window that anyone could close: SDL makes this event of SIGTERM and SIGINT. */
    if (type == QUIT_EVENT) interrupted = true;
    return found;
}

/* ---- the log -------------------------------------------------------------------------------------------- */

/* Gource opens the log in a thread and counts renders meanwhile; the count decides which steps of the simulation
 * are exported. So the frames of the real clock depend on how fast a thread starts. Nearly always its first look
 * (in the render after the one that made the thread) comes too early and its second, 16 ms later, does not.
 * The virtual clock makes this the rule: the log is read when two renders have ended since. */
enum { RENDERS_BEFORE_LOG = 2 };

static void let_log_be_read(void) {
    pthread_mutex_lock(&guard);
    if (log_state == HELD) log_state = READING;
    pthread_cond_broadcast(&changed);
    while (log_state == READING) pthread_cond_wait(&changed, &guard);
    pthread_mutex_unlock(&guard);
}

struct start {
    thread_body body;
    void *data;
};

static int run_log_reader(void *data) {
    struct start own = *(struct start *)data;
    free(data);
    pthread_mutex_lock(&guard);
    while (log_state == HELD) pthread_cond_wait(&changed, &guard);
    pthread_mutex_unlock(&guard);
    int result = own.body(own.data);
    pthread_mutex_lock(&guard);
    log_state = READ;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&guard);
    return result;
}

void *SDL_CreateThread(thread_body body, const char *name, void *data) {
    if (name == NULL || strcmp(name, "logmill") != 0) return real_SDL_CreateThread(body, name, data);
    struct start *own = malloc(sizeof *own);
    if (own == NULL) give_up(EXIT_STRUCTURE, "no memory for a thread", "");
    own->body = body;
    own->data = data;
    pthread_mutex_lock(&guard);
    log_state = HELD;
    pthread_mutex_unlock(&guard);
    return real_SDL_CreateThread(run_log_reader, name, own);
}

void SDL_WaitThread(void *thread, int *status) {
    /* Gource was asked to quit before it read its log. */
    let_log_be_read();
    real_SDL_WaitThread(thread, status);
}

/* ---- which renders are drawn ---------------------------------------------------------------------------- */

void SDL_GL_SwapWindow(void *window) {
    static int renders_with_log = 0;
    if (drawing) real_SDL_GL_SwapWindow(window);
    ticks += RENDER_MS;
    if (log_state != NO_LOG && renders_with_log <= RENDERS_BEFORE_LOG && ++renders_with_log == RENDERS_BEFORE_LOG)
        let_log_be_read();
    if (!started) return;
    step++;
    drawing = step % every == 0 && drawn_here(step / every);
}

void glReadPixels(int x, int y, int w, int h, unsigned format, unsigned type, void *pixels) {
    /* Gource also reads single depth values, for the mouse. */
    if (format != PIXELS_RGB || type != PIXELS_BYTE || x != 0 || y != 0) {
        real_glReadPixels(x, y, w, h, format, type, pixels);
        return;
    }
    if (step != exported * every)
        give_up(EXIT_STRUCTURE, "gource exports other renders than expected: ", "VC_EVERY is wrong");
    started = true;
    signal_is_ours = true;
    if (wanted(exported)) take_frame(w, h);
    exported++;
    range_ended = !count_only && exported >= last;
}

/* Gource's exporter (core/ppm.cpp) now marks a frame as ready and signals its writer. That frame has been seen
 * to, so the signal is kept back. A signal with no frame before it is the end of the exporter: it passes. */
int SDL_CondSignal(void *cond) {
    if (signal_is_ours) {
        signal_is_ours = false;
        return 0;
    }
    writer_awake = true;
    return real_SDL_CondSignal(cond);
}

int SDL_CondWait(void *cond, void *mutex) {
    int result;
    /* A spurious wake-up would have gource's writer write the frame that it sees marked. */
    do result = real_SDL_CondWait(cond, mutex);
    while (!writer_awake && result == 0);
    return result;
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

/* Only what makes pixels is left out. Matrices, textures, buffers and colours are set as ever, because gource
 * reads some of them back and a later render builds upon others. */
#define IF_DRAWN(call)                                                                                         \
    do {                                                                                                       \
        if (drawing || compiling) call;                                                                        \
    } while (0)

void glBegin(unsigned mode) { IF_DRAWN(real_glBegin(mode)); }
void glEnd(void) { IF_DRAWN(real_glEnd()); }
void glVertex2f(float x, float y) { IF_DRAWN(real_glVertex2f(x, y)); }
void glVertex2fv(const float *v) { IF_DRAWN(real_glVertex2fv(v)); }
void glVertex2i(int x, int y) { IF_DRAWN(real_glVertex2i(x, y)); }
void glClear(unsigned mask) { IF_DRAWN(real_glClear(mask)); }

/* ---- the lights around folders: see lights.c ------------------------------------------------------------- */

/* Draws them through `draw` where it can do so faster; whether it has. */
bool draw_lights(int from, int count, void (*draw)(unsigned mode, int from, int count));

enum { QUADS = 7, ADD = 1 };

static bool adding = false;

void glBlendFunc(unsigned source, unsigned target) {
    adding = source == ADD && target == ADD;
    real_glBlendFunc(source, target);
}

void glDrawArrays(unsigned mode, int from, int count) {
    if (drawing && !compiling && adding && mode == QUADS && draw_lights(from, count, real_glDrawArrays)) return;
    IF_DRAWN(real_glDrawArrays(mode, from, count));
}
