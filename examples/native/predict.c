/* What is on an image, before a deadline: predict FOLDER IMAGE.ppm [DEADLINE_MS] */
#include <stdio.h>
#include <stdlib.h>

#include "net.h"

int main(int count, char** arguments) {
    net own;
    image given;
    answer found;
    double deadline_ms = count > 3 ? atof(arguments[3]) : 0;
    int64_t begun;
    int good;
    if (count < 3 || count > 4 || deadline_ms < 0) {
        fprintf(stderr, "predict FOLDER IMAGE.ppm [DEADLINE_MS]\n");
        return 2;
    }
    if (!net_open(&own, arguments[1])) return 1;
    if (!image_read(&given, arguments[2])) {
        net_close(&own);
        return 1;
    }
    begun = anytime_now();
    good = net_predict(&own, &given, count > 3 ? begun + (int64_t)(1e6 * deadline_ms) : 0, &found);
    if (good && found.stage) {
        for (int32_t level = 0; level < own.levels; level++)
            printf("%s%s", level ? " / " : "", net_class(&own, &found, level));
        printf("  (%.1f%%, stage %d of %d, %.2f ms)\n", 100 * found.probability, (int)found.stage, (int)found.stages,
               (double)(anytime_now() - begun) / 1e6);
    } else {
        fprintf(stderr, "%s: %s\n", arguments[2], good ? "no stage answered" : "it cannot be used");
        good = 0;
    }
    image_free(&given);
    net_close(&own);
    return good ? 0 : 1;
}
