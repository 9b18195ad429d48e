/* The native engine of anytimenet: runs `program.bin`, one image and one thread a session.
 *
 * An engine holds a program with its weights and is read only; any number of sessions share it, each with a
 * state of its own. Functions return 0, or a negative number where something is wrong. Only `anytime_cancel`
 * may be called while another thread uses the session. */
#ifndef ANYTIMENET_H
#define ANYTIMENET_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define ANYTIME_API __declspec(dllexport)
#else
#define ANYTIME_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct anytime_engine anytime_engine;
typedef struct anytime_session anytime_session;

enum { ANYTIME_WHOLE = 0, ANYTIME_CANCELLED = 1, ANYTIME_DEADLINE = 2 };

typedef struct {
    int32_t stop;            /* the stage to reach, 1..K */
    int32_t least;           /* a deadline does not end the run before this stage is finished */
    int64_t deadline_ns;     /* on the clock of anytime_now; 0: none */
    const int32_t* answers;  /* K+1 numbers: the stage whose output stands after each; null: that stage itself */
} anytime_options;

typedef struct {
    int32_t stage;     /* that is finished now; its state is whole */
    int32_t answered;  /* whose output stands; 0: of none */
    int32_t stopped;   /* ANYTIME_... */
} anytime_result;

/* The digest of the sources that this library was built from. */
ANYTIME_API const char* anytime_digest(void);
/* The instruction sets that this machine and this library have, best first, with commas between. */
ANYTIME_API const char* anytime_instruction_sets(void);
ANYTIME_API int64_t anytime_now(void);
/* Runs so many rounds of multiply-adds that wait for nothing, and returns how many those were: the most that the
 * instruction set can do, for benchmarks. 0 for one that is not there. */
ANYTIME_API double anytime_multiply(const char* instruction_set, int64_t rounds);

/* Loads a program and the first `shards` of its weight files, whose stages can then be run.
 *
 * `instruction_set`: one of anytime_instruction_sets, or null for the best. Nothing is kept of the bytes given.
 * Returns null and a line in `error` if anything does not fit. */
ANYTIME_API anytime_engine* anytime_load(const void* program, size_t program_bytes, const void* const* shards,
                                         const size_t* shard_bytes, size_t shard_count,
                                         const char* instruction_set, char* error, size_t error_bytes);
/* Another engine with the next `shard_count` weight files: while a net is delivered, stage after stage. The weights
 * of earlier stages are not packed again but shared. `engine` does not change and may be in use meanwhile, in any
 * thread; it is unloaded like every other. Returns null and a line in `error` if anything does not fit.
 *
 * Files that later stages read again are copied until these are there; of most nets there are none. */
ANYTIME_API anytime_engine* anytime_extend(const anytime_engine* engine, const void* const* shards,
                                           const size_t* shard_bytes, size_t shard_count, char* error,
                                           size_t error_bytes);
/* Sessions that are open keep what they need. */
ANYTIME_API void anytime_unload(anytime_engine* engine);
ANYTIME_API int32_t anytime_stages(const anytime_engine* engine);
ANYTIME_API int64_t anytime_weight_bytes(const anytime_engine* engine);
ANYTIME_API const char* anytime_instruction_set(const anytime_engine* engine);
/* Channels, height and width of the input. */
ANYTIME_API void anytime_input_shape(const anytime_engine* engine, int32_t shape[3]);

/* `poison`: not 0 fills fresh memory with NaN; for tests. Null if there is no memory. */
ANYTIME_API anytime_session* anytime_open(const anytime_engine* engine, int32_t poison);
/* Sessions keep the engine that they were opened on, with its stages. Between two runs one can go on with an engine
 * that was extended from its own, and then to further stages; its state and outputs stay. Negative for any other. */
ANYTIME_API int32_t anytime_follow(anytime_session* session, const anytime_engine* engine);
ANYTIME_API void anytime_close(anytime_session* session);
ANYTIME_API int64_t anytime_session_bytes(const anytime_session* session);

/* A new input, (channels, height, width), standardised. */
ANYTIME_API int32_t anytime_begin(anytime_session* session, const float* x);
ANYTIME_API int32_t anytime_run(anytime_session* session, const anytime_options* options, anytime_result* result);
/* Ends the run that is going on, or the next one, at the next block. */
ANYTIME_API void anytime_cancel(anytime_session* session);
/* The same after `polls` looks at the stop flag; for tests. */
ANYTIME_API void anytime_cancel_after(anytime_session* session, int64_t polls);
ANYTIME_API int32_t anytime_stage(const anytime_session* session);

/* Numbers of the output of a stage, all label levels one after the other; `to` may be null. */
ANYTIME_API int64_t anytime_output(const anytime_session* session, int32_t stage, float* to);

/* Tensors of the state at a stage, or numbers of one of them; `to` may be null. */
ANYTIME_API int32_t anytime_state_tensors(const anytime_engine* engine, int32_t stage);
ANYTIME_API int64_t anytime_read_state(const anytime_session* session, int32_t tensor, float* to);
/* Puts a session where another one was; `tensors` are all of that stage's state. */
ANYTIME_API int32_t anytime_restore(anytime_session* session, int32_t stage, const float* const* tensors);

/* Filters that resize, as Pillow names them. */
enum {
    ANYTIME_NEAREST = 0,
    ANYTIME_BOX = 1,
    ANYTIME_BILINEAR = 2,
    ANYTIME_HAMMING = 3,
    ANYTIME_BICUBIC = 4,
    ANYTIME_LANCZOS = 5
};

/* What anytime_prepare returns where it writes nothing: an argument that has no meaning, an image that is too large
 * (also after resizing: of a few pixels by thousands), or no memory. */
enum { ANYTIME_UNUSABLE = -1, ANYTIME_TOO_LARGE = -2, ANYTIME_NO_MEMORY = -3 };
enum { ANYTIME_MOST_SIDE = 65536, ANYTIME_MOST_PIXELS = 89478485 };

/* How an image becomes an input: the fields of "preprocessing" in the manifest of an export. */
typedef struct {
    int32_t height, width, channels; /* of the input; 1 channel (grey) or 3 (RGB) */
    int32_t filter;                  /* "resample": ANYTIME_... */
    int32_t shorter_side;            /* resized to so many pixels before the centre is cropped; 0: as little as covers
                                        the input */
    int32_t reserved;                /* 0 */
    double mean[3], std[3];          /* one number a channel, of values scaled to 0..1 */
} anytime_preprocessing;

/* An upright image of 8 bits as the input that anytime_begin reads: the shorter side resized, the centre cropped,
 * standardised. The numbers are those of anytimenet's Python, which resizes with Pillow, bit for bit.
 *
 * `pixels`: rows from the top, (height, width, channels); 1 channel is grey, 3 are RGB, 4 RGB and how opaque a pixel
 * is, which is laid over white (not multiplied into the colours).
 * `to`: channels * height * width floats of the preprocessing.
 * Returns 0 or a negative number. Any thread may call it at any time; it takes memory while it runs. */
ANYTIME_API int32_t anytime_prepare(const uint8_t* pixels, int32_t height, int32_t width, int32_t channels,
                                    const anytime_preprocessing* preprocessing, float* to);

/* SHA-256 of so many bytes, to compare with what the manifest lists. */
ANYTIME_API void anytime_sha256(const void* data, size_t bytes, uint8_t digest[32]);

#ifdef __cplusplus
}
#endif
#endif
