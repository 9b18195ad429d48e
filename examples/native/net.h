/* A folder of `anytimenet export --format native`, loaded and asked. */
#ifndef NET_H
#define NET_H

#include <anytimenet.h>

typedef struct {
    anytime_engine* engine;
    anytime_session* session;
    anytime_preprocessing preprocessing;
    int32_t* answers;       /* of 0..K finished stages, the stage whose answer stands */
    char** classes;         /* names, level after level, the finest first */
    int32_t* level_classes; /* how many each level has */
    int32_t stages, levels, class_count;
    float *input, *logits;
} net;

typedef struct {
    uint8_t* pixels; /* rows from the top: height, width, channels */
    int32_t height, width, channels;
} image;

typedef struct {
    int32_t stage, stages; /* that answered, of how many; 0: none */
    int32_t finished;      /* stages that the run finished */
    int32_t label;         /* of the finest level */
    float probability;
} answer;

/* Reads host.txt, the program and the weights. Says on stderr what is wrong, and returns 0. */
int net_open(net* own, const char* folder);
void net_close(net* own);

/* Answers before `deadline_ns` on the clock of anytime_now, as well as the time allows; 0: no deadline.
 * Returns 0 for an image that cannot be used. */
int net_predict(net* own, const image* of, int64_t deadline_ns, answer* found);
/* The class of a level after net_predict. */
const char* net_class(const net* own, const answer* found, int32_t level);

/* A binary PGM or PPM file with 8 bits a number. */
int image_read(image* to, const char* file);
void image_free(image* own);

#endif
