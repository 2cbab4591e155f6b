#define _GNU_SOURCE
/* The lights around gource's folders, drawn only where they light anything: a part of the virtual clock.
 *
 * Two fifths of gource's CPU time for a large frame go into the light around folders. Gource draws each as a square, adds
 * it to what is there, and its shader comes to less than a quarter of 1/255 in all pixels farther from the
 * middle than 0.75 of half a side: no colour changes there. So each square is drawn through a scissor that
 * leaves these borders out. A scissor, unlike a smaller square, changes no bit of what is computed inside.
 *
 * With x the distance over half a side, times two, and noise of at most 0.0225 beside it: i = cos(x - 0.0225),
 * and the shader's value is at most i * i * i * (3 - i) / 4, that is 0.0006 from x = 1.5 to pi / 2, and 0 beyond.
 *
 * All that this rests on is looked at first: the shader's text, the blending, how vertices lie in the buffer,
 * that each square is one, that the camera looks straight down. What is otherwise is drawn as gource asks. */
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { QUADS = 7, ARRAY_BUFFER = 0x8892, SCISSOR = 0x0C11, FRAGMENT_SHADER = 0x8B30, SHADER_TYPE = 0x8B4F };
enum { CURRENT_PROGRAM = 0x8B8D, BOUND_BUFFER = 0x8894, BUFFER_SIZE = 0x8764, VIEWPORT = 0x0BA2 };
enum { MODELVIEW = 0x0BA6, PROJECTION = 0x0BA7 };
enum { VERTEX_STRIDE = 0x807C, COLOUR_STRIDE = 0x8083, PLACE_STRIDE = 0x808A };
enum { VERTEX_POINTER = 0x808E, COLOUR_POINTER = 0x8090, PLACE_POINTER = 0x8092 };
enum { FLOAT = 0x1406, MOST_SHADERS = 4, SHADER_BYTES = 4096 };
/* Pixels over half a side below which a cut costs more than it saves; more vertices than Mesa takes in one go are
 * drawn as gource asks; squares of no area that go with each batch, four vertices each. */
enum { SMALLEST_CUT = 32, MOST_VERTICES = 1024, COMPANIONS = 16 };
#define LIT_SHARE 0.75f
#define LIGHT_SHADER 0x4291e5a6e103c544u

/* As gource lays it out in its buffer. */
struct corner {
    float x, y, colour[4], radius, middle_x, middle_y, unused[7];
};

typedef void (*draw_call)(unsigned mode, int from, int count);
bool draw_lights(int from, int count, draw_call draw);

#define ASKED(X)                                                                                               \
    X(void, glGetIntegerv, (unsigned name, int *values))                                                       \
    X(void, glGetFloatv, (unsigned name, float *values))                                                       \
    X(void, glGetPointerv, (unsigned name, void **value))                                                      \
    X(void, glGetBufferParameteriv, (unsigned target, unsigned name, int *value))                              \
    X(void, glGetBufferSubData, (unsigned target, intptr_t offset, intptr_t size, void *data))                 \
    X(void, glGetAttachedShaders, (unsigned program, int most, int *count, unsigned *shaders))                 \
    X(void, glGetShaderiv, (unsigned shader, unsigned name, int *value))                                       \
    X(void, glGetShaderSource, (unsigned shader, int most, int *length, char *text))                           \
    X(void, glBindBuffer, (unsigned target, unsigned buffer))                                                  \
    X(void, glVertexPointer, (int size, unsigned type, int stride, const void *from))                          \
    X(void, glColorPointer, (int size, unsigned type, int stride, const void *from))                           \
    X(void, glTexCoordPointer, (int size, unsigned type, int stride, const void *from))                        \
    X(unsigned char, glIsEnabled, (unsigned what))                                                             \
    X(void, glEnable, (unsigned what))                                                                         \
    X(void, glDisable, (unsigned what))                                                                        \
    X(void, glScissor, (int x, int y, int width, int height))
#define DECLARE_ASKED(result, name, parameters) static result(*ask_##name) parameters;
ASKED(DECLARE_ASKED)

static struct corner corners[MOST_VERTICES], gathered[COMPANIONS + MOST_VERTICES];

static bool can_ask(void) {
    static enum { UNKNOWN, YES, NO } known = UNKNOWN;
    if (known != UNKNOWN) return known == YES;
    known = NO;
#define RESOLVE_ASKED(result, name, parameters)                                                                \
    *(void **)&ask_##name = dlsym(RTLD_NEXT, #name);                                                           \
    if (ask_##name == NULL) return false;
    ASKED(RESOLVE_ASKED)
    known = YES;
    return true;
}

static int asked(unsigned name) {
    int values[16] = {0};
    ask_glGetIntegerv(name, values);
    return values[0];
}

static bool pointer_is(unsigned name, uintptr_t offset) {
    void *value = NULL;
    ask_glGetPointerv(name, &value);
    return (uintptr_t)value == offset;
}

/* Whether the program in use has the fragment shader that the numbers above belong to. */
static bool shader_is_known(unsigned program) {
    static unsigned looked_at = 0;
    static bool known = false;
    if (program == looked_at || program == 0) return known && program != 0;
    looked_at = program;
    known = false;
    unsigned shaders[MOST_SHADERS];
    int count = 0;
    ask_glGetAttachedShaders(program, MOST_SHADERS, &count, shaders);
    for (int n = 0; n < count; n++) {
        int type = 0, length = 0;
        char text[SHADER_BYTES];
        ask_glGetShaderiv(shaders[n], SHADER_TYPE, &type);
        if (type != FRAGMENT_SHADER) continue;
        ask_glGetShaderSource(shaders[n], SHADER_BYTES, &length, text);
        uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
        for (int at = 0; at < length; at++) hash = (hash ^ (uint8_t)text[at]) * 0x100000001b3u;
        known = hash == LIGHT_SHADER;
    }
    return known;
}

/* The matrix from gource's plane to pixels, as scale and offset of each axis; false if it also turns or tilts. */
static bool look_down(float scale[2], float offset[2], int viewport[4]) {
    float view[16], projection[16], whole[16];
    ask_glGetFloatv(MODELVIEW, view);
    ask_glGetFloatv(PROJECTION, projection);
    ask_glGetIntegerv(VIEWPORT, viewport);
    for (int column = 0; column < 4; column++)
        for (int row = 0; row < 4; row++) {
            whole[4 * column + row] = 0;
            for (int n = 0; n < 4; n++) whole[4 * column + row] += projection[4 * n + row] * view[4 * column + n];
        }
    if (whole[1] != 0 || whole[4] != 0 || whole[3] != 0 || whole[7] != 0 || !(whole[15] > 0)) return false;
    for (int axis = 0; axis < 2; axis++) {
        float half = (float)viewport[2 + axis] / 2;
        scale[axis] = whole[5 * axis] / whole[15] * half;
        offset[axis] = (whole[12 + axis] / whole[15] + 1) * half + (float)viewport[axis];
        if (!isfinite(scale[axis]) || !isfinite(offset[axis])) return false;
    }
    return true;
}

/* Draw from here, or, given NULL, from the bound buffer's begin, as gource does. */
static void point_at(const struct corner *batch) {
    const char *begin = (const char *)batch;
    ask_glVertexPointer(2, FLOAT, sizeof *batch, begin);
    ask_glColorPointer(4, FLOAT, sizeof *batch, begin + 8);
    ask_glTexCoordPointer(4, FLOAT, sizeof *batch, begin + 24);
}

static bool is_light(const struct corner *v) {
    float slack = v->radius / 256;
    for (int n = 0; n < 4; n++) {
        if (v[n].radius != v->radius || v[n].middle_x != v->middle_x || v[n].middle_y != v->middle_y) return false;
        for (int c = 0; c < 4; c++)
            if (!(v[n].colour[c] >= 0 && v[n].colour[c] <= 1)) return false;
        float across = v[n].x - v->middle_x, along = v[n].y - v->middle_y;
        if (across < 0) across = -across;
        if (along < 0) along = -along;
        if (!(across - v->radius <= slack && v->radius - across <= slack)) return false;
        if (!(along - v->radius <= slack && v->radius - along <= slack)) return false;
    }
    return true;
}

/* What the numbers of a draw call lie in: where gource keeps them, how many; false where anything is otherwise. */
static bool fetch_lights(int from, int count) {
    int bytes = 0, stride = sizeof(struct corner);
    if (from != 0 || count % 4 != 0 || count > MOST_VERTICES || asked(BOUND_BUFFER) == 0) return false;
    if (asked(VERTEX_STRIDE) != stride || asked(COLOUR_STRIDE) != stride || asked(PLACE_STRIDE) != stride) return false;
    if (!pointer_is(VERTEX_POINTER, 0) || !pointer_is(COLOUR_POINTER, 8) || !pointer_is(PLACE_POINTER, 24)) return false;
    ask_glGetBufferParameteriv(ARRAY_BUFFER, BUFFER_SIZE, &bytes);
    if (bytes / stride < count) return false;
    ask_glGetBufferSubData(ARRAY_BUFFER, 0, (intptr_t)count * stride, corners);
    return true;
}

/* Where one square of a batch reaches far beyond the picture, Mesa takes another way with the whole batch, on which
 * the same square has other last bits. So the outermost corners come along in each, as squares of no area. */
static void add_outermost(struct corner *batch, int count) {
    int outermost[4] = {0};
    for (int n = 1; n < count; n++) {
        if (corners[n].x < corners[outermost[0]].x) outermost[0] = n;
        if (corners[n].x > corners[outermost[1]].x) outermost[1] = n;
        if (corners[n].y < corners[outermost[2]].y) outermost[2] = n;
        if (corners[n].y > corners[outermost[3]].y) outermost[3] = n;
    }
    for (int n = 0; n < COMPANIONS; n++) batch[n] = corners[outermost[n / 4]];
}

static void draw_cut(const struct corner *light, const float scale[2], const float offset[2], const int port[4],
                     draw_call draw) {
    static struct corner batch[4 + COMPANIONS];
    const float middle[2] = {light->middle_x * scale[0] + offset[0], light->middle_y * scale[1] + offset[1]};
    int low[2], high[2];
    for (int axis = 0; axis < 2; axis++) {
        float lit = light->radius * LIT_SHARE * (scale[axis] < 0 ? -scale[axis] : scale[axis]) + 2;
        float least = (float)port[axis], most = (float)(port[axis] + port[2 + axis]);
        float begin = middle[axis] - lit, end = middle[axis] + lit;
        /* What is no number, as where two infinities meet, compares as false: it must become a bound too. */
        low[axis] = (int)(begin > least ? (begin < most ? begin : most) : least);
        high[axis] = (int)(end > least ? (end < most ? end : most) : least);
    }
    if (low[0] == high[0] || low[1] == high[1]) return;
    memcpy(batch, light, 4 * sizeof *batch);
    memcpy(batch + 4, gathered, COMPANIONS * sizeof *batch);
    point_at(batch);
    ask_glScissor(low[0], low[1], high[0] - low[0], high[1] - low[1]);
    draw(QUADS, 0, 4 + COMPANIONS);
}

/* Return whether the lights have been drawn; nothing has been when not. The order of additions changes no sum. */
bool draw_lights(int from, int count, draw_call draw) {
    float scale[2], offset[2];
    int viewport[4], kept = COMPANIONS;
    if (!can_ask() || !shader_is_known((unsigned)asked(CURRENT_PROGRAM)) || ask_glIsEnabled(SCISSOR)) return false;
    if (!look_down(scale, offset, viewport) || !fetch_lights(from, count)) return false;
    add_outermost(gathered, count);
    bool cut[MOST_VERTICES / 4];
    for (int n = 0; n < count; n += 4) {
        cut[n / 4] = is_light(corners + n) && corners[n].radius * scale[0] >= SMALLEST_CUT;
        if (cut[n / 4]) continue;
        memcpy(gathered + kept, corners + n, 4 * sizeof *corners);
        kept += 4;
    }
    if (kept == COMPANIONS + count) return false;
    int buffer = asked(BOUND_BUFFER);
    ask_glBindBuffer(ARRAY_BUFFER, 0);
    if (kept > COMPANIONS) {
        point_at(gathered);
        draw(QUADS, 0, kept);
    }
    ask_glEnable(SCISSOR);
    for (int n = 0; n < count; n += 4)
        if (cut[n / 4]) draw_cut(corners + n, scale, offset, viewport, draw);
    ask_glDisable(SCISSOR);
    ask_glBindBuffer(ARRAY_BUFFER, (unsigned)buffer);
    point_at(NULL);
    return true;
}
