/* A camera at 30 frames a second: every frame is answered within its period, by the stage that fits. While others use
 * the processor the answers come from earlier stages: camera FOLDER [SECONDS]. Put your own camera into `grab`. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

enum { RATE = 30, HEIGHT = 240, WIDTH = 320 };
static const int64_t PERIOD_NS = 1000000000 / RATE;
static const int64_t SPARE_NS = 1000000; /* for what follows the answer */

/* The newest frame: here stripes that move. */
static void grab(image* to, int64_t number) {
    for (int32_t y = 0; y < to->height; y++)
        for (int32_t x = 0; x < to->width; x++) {
            uint8_t* pixel = to->pixels + 3 * ((size_t)y * WIDTH + (size_t)x);
            pixel[0] = (uint8_t)(x + 4 * number), pixel[1] = (uint8_t)(y + number), pixel[2] = (uint8_t)(x * y / 64);
        }
}

static void sleep_until(int64_t time_ns) {
    int64_t left = time_ns - anytime_now();
    struct timespec wait;
    wait.tv_sec = (time_t)(left / 1000000000), wait.tv_nsec = (long)(left % 1000000000);
    if (left > 0) nanosleep(&wait, NULL);
}

int main(int count, char** arguments) {
    net own;
    image frame = {NULL, HEIGHT, WIDTH, 3};
    double seconds = count > 2 ? atof(arguments[2]) : 10;
    int64_t begun, number = 0, frames = 0, skipped = 0, late = 0, stages = 0;
    if (count < 2 || count > 3 || !(seconds > 0 && seconds < 1e6)) {
        fprintf(stderr, "camera FOLDER [SECONDS]\n");
        return 2;
    }
    if (!net_open(&own, arguments[1])) return 1;
    if (!(frame.pixels = malloc((size_t)HEIGHT * WIDTH * 3))) {
        net_close(&own);
        return 1;
    }
    begun = anytime_now();
    while (number < (int64_t)(seconds * RATE)) {
        int64_t arrived = begun + number * PERIOD_NS, due = arrived + PERIOD_NS, next;
        answer found;
        sleep_until(arrived);
        grab(&frame, number);
        if (!net_predict(&own, &frame, due - SPARE_NS, &found)) break;
        frames++, stages += found.stage, late += anytime_now() > due;
        if (frames % RATE == 1)
            printf("%6.1f s  %s  (stage %d of %d)\n", (double)(arrived - begun) / 1e9, net_class(&own, &found, 0),
                   (int)found.stage, (int)found.stages);
        next = (anytime_now() - begun) / PERIOD_NS; /* only the newest frame waits */
        if (next < number + 1) next = number + 1;
        skipped += next - number - 1, number = next;
    }
    printf("%d frames answered, %d skipped, %d late, stage %.2f of %d on average\n", (int)frames, (int)skipped,
           (int)late, frames ? (double)stages / (double)frames : 0.0, (int)own.stages);
    image_free(&frame);
    net_close(&own);
    return frames ? 0 : 1;
}
