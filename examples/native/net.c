#include "net.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 4096, MOST_SHARDS = 4096 };

typedef struct {
    char* data;
    size_t size;
} content;

static int wrong(const char* what, const char* where) {
    fprintf(stderr, "%s: %s\n", where, what);
    return 0;
}

static int read_file(const char* folder, const char* name, content* to) {
    char path[2 * LINE];
    FILE* file;
    long size;
    to->data = NULL, to->size = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return wrong("the path is too long", name);
    if (!(file = fopen(path, "rb"))) return wrong("it cannot be opened", path);
    /* A folder can be opened, and has no end. */
    if (fseek(file, 0, SEEK_END) || (size = ftell(file)) == LONG_MAX || fseek(file, 0, SEEK_SET)) size = -1;
    if (size >= 0 && (to->data = malloc((size_t)size + 1))) to->size = fread(to->data, 1, (size_t)size, file);
    fclose(file);
    if (!to->data || to->size != (size_t)size) return wrong("it cannot be read", path);
    to->data[size] = 0;
    return 1;
}

static char* copy_of(const char* text) {
    char* own = malloc(strlen(text) + 1);
    return own ? strcpy(own, text) : NULL;
}

/* Up to `most` numbers; how many there are. */
static int numbers(const char* text, double* to, int most) {
    int count = 0;
    char* end;
    for (; count < most; count++, text = end) {
        to[count] = strtod(text, &end);
        if (end == text) break;
    }
    return count;
}

static int grow(void** list, int32_t count, size_t each) {
    void* larger = realloc(*list, ((size_t)count + 1) * each);
    if (larger) *list = larger;
    return larger != NULL;
}

/* What `host.txt` says in one line: a word, a blank, and values. `shards` and `program` are names of files. */
static int take_line(net* own, const char* word, const char* text, char** program, char** shards, size_t* shard_count) {
    double value[3] = {0, 0, 0};
    anytime_preprocessing* how = &own->preprocessing;
    if (!strcmp(word, "program")) return !*program && (*program = copy_of(text)) != NULL;
    if (!strcmp(word, "shard"))
        return *shard_count < MOST_SHARDS && (shards[(*shard_count)++] = copy_of(text)) != NULL;
    if (!strcmp(word, "class"))
        return grow((void**)&own->classes, own->class_count, sizeof *own->classes) &&
               (own->classes[own->class_count++] = copy_of(text)) != NULL;
    if (!strcmp(word, "answers")) {
        char* end;
        long stage;
        for (own->stages = -1;; own->stages++, text = end) {
            stage = strtol(text, &end, 10);
            if (end == text) return own->stages > 0;
            if (stage < 0 || stage > own->stages + 1) return 0;
            if (!grow((void**)&own->answers, own->stages + 1, sizeof *own->answers)) return 0;
            own->answers[own->stages + 1] = (int32_t)stage;
        }
    }
    if (!strcmp(word, "mean")) return numbers(text, how->mean, 3) == how->channels;
    if (!strcmp(word, "std")) return numbers(text, how->std, 3) == how->channels;
    if (numbers(text, value, 3) != (strcmp(word, "input") ? 1 : 3)) return 0;
    for (int i = 0; i < 3; i++)
        if (!(value[i] >= 0 && value[i] <= 1 << 20)) return 0;
    if (!strcmp(word, "input"))
        how->channels = (int32_t)value[0], how->height = (int32_t)value[1], how->width = (int32_t)value[2];
    else if (!strcmp(word, "resample")) how->filter = (int32_t)value[0];
    else if (!strcmp(word, "shorter_side")) how->shorter_side = (int32_t)value[0];
    else if (!strcmp(word, "level")) {
        if (!grow((void**)&own->level_classes, own->levels, sizeof *own->level_classes)) return 0;
        own->level_classes[own->levels++] = (int32_t)value[0];
    } else return 0;
    return 1;
}

/* Lines that stand there once; the others may be there several times. */
static const char* const ONCE[] = {"program", "input", "resample", "shorter_side", "mean", "std", "answers"};
enum { ONCE_COUNT = sizeof ONCE / sizeof ONCE[0] };

static int seen_before(const char* word, unsigned* seen) {
    for (unsigned i = 0; i < ONCE_COUNT; i++)
        if (!strcmp(word, ONCE[i])) {
            if (*seen >> i & 1) return 1;
            *seen |= 1u << i;
        }
    return 0;
}

static int load(net* own, const char* folder, const char* program_name, char** names, size_t count) {
    content program, *shards = calloc(count ? count : 1, sizeof *shards);
    const void** data = calloc(count ? count : 1, sizeof *data);
    size_t* sizes = calloc(count ? count : 1, sizeof *sizes);
    char reason[200] = "there is not enough memory";
    int good = read_file(folder, program_name, &program) && shards && data && sizes;
    for (size_t i = 0; good && i < count; i++) {
        good = read_file(folder, names[i], &shards[i]);
        data[i] = shards[i].data, sizes[i] = shards[i].size;
    }
    if (good) {
        own->engine = anytime_load(program.data, program.size, data, sizes, count, NULL, reason, sizeof reason);
        own->session = own->engine ? anytime_open(own->engine, 0) : NULL;
        if (!own->session) good = wrong(reason, folder);
    }
    for (size_t i = 0; shards && i < count; i++) free(shards[i].data); /* nothing is kept of the bytes */
    free(program.data), free(shards), free(data), free(sizes);
    return good;
}

/* Whether the lines and the program tell of the same net. */
static int fits(net* own) {
    int32_t shape[3], outputs = 0;
    anytime_input_shape(own->engine, shape);
    if (shape[0] != own->preprocessing.channels || shape[1] != own->preprocessing.height ||
        shape[2] != own->preprocessing.width || own->stages != anytime_stages(own->engine))
        return 0;
    for (int32_t level = 0; level < own->levels; level++) outputs += own->level_classes[level];
    if (!own->levels || own->level_classes[0] < 1 || outputs != own->class_count) return 0;
    for (int32_t stage = 1; stage <= own->stages; stage++)
        if (anytime_output(own->session, stage, NULL) != outputs) return 0;
    own->input = malloc(sizeof(float) * (size_t)shape[0] * (size_t)shape[1] * (size_t)shape[2]);
    own->logits = malloc(sizeof(float) * (size_t)outputs);
    return own->input && own->logits;
}

int net_open(net* own, const char* folder) {
    content lines;
    char *program = NULL, **shards = calloc(MOST_SHARDS, sizeof *shards), *line, *next;
    size_t shard_count = 0;
    unsigned seen = 0;
    int good;
    memset(own, 0, sizeof *own);
    good = read_file(folder, "host.txt", &lines) && shards;
    if (good && strncmp(lines.data, "anytimenet-host 1\n", 18)) good = wrong("it is no host.txt of version 1", folder);
    for (line = good ? lines.data + 18 : NULL; good && *line; line = next) {
        char* end = strchr(line, '\n');
        char* blank = strchr(line, ' ');
        next = end ? end + 1 : line + strlen(line);
        if (end) *end = 0;
        if (!blank || (end && blank > end)) good = wrong("a line has no value", line);
        else {
            *blank = 0;
            good = !seen_before(line, &seen) &&
                   take_line(own, line, blank + 1, &program, shards, &shard_count);
            if (!good) wrong("this line of host.txt cannot be used", line);
        }
    }
    if (good && seen != (1u << ONCE_COUNT) - 1) good = wrong("host.txt is cut off", folder);
    good = good && load(own, folder, program, shards, shard_count);
    if (good && !fits(own)) good = wrong("host.txt is of another net than program.bin", folder);
    for (size_t i = 0; shards && i < shard_count; i++) free(shards[i]);
    free(shards), free(program), free(lines.data);
    if (!good) net_close(own);
    return good;
}

void net_close(net* own) {
    for (int32_t i = 0; i < own->class_count; i++) free(own->classes[i]);
    if (own->session) anytime_close(own->session);
    if (own->engine) anytime_unload(own->engine);
    free(own->classes), free(own->level_classes), free(own->answers), free(own->input), free(own->logits);
    memset(own, 0, sizeof *own);
}

static int32_t largest(const float* values, int32_t count) {
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

int net_predict(net* own, const image* of, int64_t deadline_ns, answer* found) {
    anytime_options options;
    anytime_result result;
    float sum = 0;
    if (anytime_prepare(of->pixels, of->height, of->width, of->channels, &own->preprocessing, own->input)) return 0;
    options.stop = own->answers[own->stages]; /* the best validated: further stages would not answer */
    options.least = 1, options.deadline_ns = deadline_ns, options.answers = own->answers;
    if (anytime_begin(own->session, own->input) || anytime_run(own->session, &options, &result)) return 0;
    memset(found, 0, sizeof *found);
    found->stages = own->stages, found->finished = result.stage;
    if (result.answered < 1 || anytime_output(own->session, result.answered, own->logits) < 0) return 1;
    found->stage = result.answered;
    found->label = largest(own->logits, own->level_classes[0]);
    for (int32_t i = 0; i < own->level_classes[0]; i++) sum += expf(own->logits[i] - own->logits[found->label]);
    found->probability = 1 / sum;
    return 1;
}

const char* net_class(const net* own, const answer* found, int32_t level) {
    int32_t first = 0;
    if (found->stage < 1 || level < 0 || level >= own->levels) return "";
    for (int32_t i = 0; i < level; i++) first += own->level_classes[i];
    return own->classes[first + largest(own->logits + first, own->level_classes[level])];
}

/* The next number of a header, behind blanks and comments; -1 if there is none. */
static int32_t header_number(FILE* file) {
    int symbol = fgetc(file);
    int32_t value = 0;
    while (symbol == ' ' || symbol == '\t' || symbol == '\n' || symbol == '\r' || symbol == '#') {
        if (symbol == '#')
            while (symbol != '\n' && symbol != EOF) symbol = fgetc(file);
        else symbol = fgetc(file);
    }
    if (symbol < '0' || symbol > '9') return -1;
    for (; symbol >= '0' && symbol <= '9'; symbol = fgetc(file)) {
        if (value > 99999999) return -1;
        value = 10 * value + (symbol - '0');
    }
    return value; /* the one blank behind it is read */
}

int image_read(image* to, const char* name) {
    FILE* file = fopen(name, "rb");
    char magic[2];
    int32_t most;
    size_t bytes;
    memset(to, 0, sizeof *to);
    if (!file) return wrong("it cannot be opened", name);
    if (fread(magic, 1, 2, file) == 2 && magic[0] == 'P' && (magic[1] == '5' || magic[1] == '6')) {
        to->channels = magic[1] == '6' ? 3 : 1;
        to->width = header_number(file), to->height = header_number(file), most = header_number(file);
        if (to->width > 0 && to->height > 0 && most == 255 && to->height <= ANYTIME_MOST_PIXELS / to->width) {
            bytes = (size_t)to->height * (size_t)to->width * (size_t)to->channels;
            to->pixels = malloc(bytes);
            if (to->pixels && fread(to->pixels, 1, bytes, file) != bytes) free(to->pixels), to->pixels = NULL;
        }
    }
    fclose(file);
    return to->pixels ? 1 : wrong("it is no whole PGM or PPM file (P5, P6) with 8 bits a number", name);
}

void image_free(image* own) {
    free(own->pixels);
    own->pixels = NULL;
}
