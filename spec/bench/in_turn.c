/* Runs commands in turn, again and again, so that whatever else the machine does meets all of them
 * alike: one, two, one, two, ...
 *
 *   in_turn ROUNDS WARM_UP [--] [NAME=VALUE...] COMMAND... [-- [NAME=VALUE...] COMMAND...]...
 *
 * WARM_UP rounds go before and do not count. Prints a line for each command, all medians:
 *
 *   milliseconds, process start included · their ratio to the last command's in the same round ·
 *   peak memory in KiB · the number it printed first on its standard output, or 0 · the ratio of
 *   that number to the last command's
 *
 * A command that fails ends all. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { MOST_COMMANDS = 16 };

struct command {
    char **words; /* ends with NULL */
};

struct measured {
    double milliseconds, kibibytes, number;
};

static double clock_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* The child's part: never returns. */
static void become(char **words, int output) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing goes on when we are gone */
#endif
    dup2(output, STDOUT_FILENO);
    while (*words != NULL && strchr(*words, '=') != NULL && **words != '/') {
        putenv(*words++);
    }
    if (*words != NULL) {
        execvp(*words, words);
        fprintf(stderr, "in_turn: %s: %s\n", *words, strerror(errno));
    }
    _exit(127);
}

/* What the command prints, as far as it fits; reads to the end. */
static void read_output(int descriptor, char *text, size_t size) {
    char rest[4096];
    size_t length = 0;
    ssize_t got;
    do {
        bool has_room = length + 1 < size;
        got = has_room ? read(descriptor, text + length, size - 1 - length)
                       : read(descriptor, rest, sizeof rest);
        length += has_room && got > 0 ? (size_t)got : 0;
    } while (got > 0 || (got < 0 && errno == EINTR));
    text[length] = '\0';
}

/* Runs the command to its end; false when it failed. */
static bool run(const struct command *command, struct measured *measured) {
    int output[2];
    char text[4096];
    struct rusage usage;
    int status = 0;
    if (pipe(output) != 0) {
        return false;
    }
    double began = clock_seconds();
    pid_t child = fork();
    if (child < 0) {
        return false;
    }
    if (child == 0) {
        close(output[0]);
        become(command->words, output[1]);
    }
    close(output[1]);
    read_output(output[0], text, sizeof text);
    while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    measured->milliseconds = (clock_seconds() - began) * 1e3;
    measured->kibibytes = (double)usage.ru_maxrss;
    measured->number = strtod(text, NULL);
    close(output[0]);
    if (status != 0) {
        fprintf(stderr, "in_turn: this failed (status %d): %s\n%s", status, command->words[0],
                text);
    }
    return status == 0;
}

static int compare(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Sorts the values. */
static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* rounds[round * count + command] */
static void print_command(const struct measured *rounds, size_t round_count, size_t count,
                          size_t command, double *scratch) {
    for (int column = 0; column < 5; column++) {
        for (size_t round = 0; round < round_count; round++) {
            const struct measured *own = &rounds[round * count + command];
            const struct measured *last = &rounds[round * count + count - 1];
            const double values[] = {
                own->milliseconds,
                own->milliseconds / last->milliseconds,
                own->kibibytes,
                own->number,
                last->number > 0 ? own->number / last->number : 0,
            };
            scratch[round] = values[column];
        }
        printf("%s%.4f", column > 0 ? " " : "", median(scratch, round_count));
    }
    printf("\n");
}

/* Splits the words at each "--"; returns how many commands there are. */
static size_t split(char **words, struct command *commands) {
    size_t count = 0;
    while (*words != NULL && count < MOST_COMMANDS) {
        if (strcmp(*words, "--") == 0) {
            words++;
            continue;
        }
        commands[count++].words = words;
        while (*words != NULL && strcmp(*words, "--") != 0) {
            words++;
        }
        if (*words != NULL) {
            *words++ = NULL;
        }
    }
    return count;
}

int main(int argc, char **argv) {
    struct command commands[MOST_COMMANDS];
    long rounds = argc > 3 ? strtol(argv[1], NULL, 10) : 0;
    long warm_up = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    size_t count = argc > 3 ? split(argv + 3, commands) : 0;
    if (rounds < 1 || rounds > 100000 || warm_up < 0 || count == 0) {
        fprintf(stderr, "usage: in_turn ROUNDS WARM_UP -- COMMAND... [-- COMMAND...]...\n");
        return 2;
    }
    struct measured *all = calloc((size_t)rounds * count, sizeof *all);
    double *scratch = calloc((size_t)rounds, sizeof *scratch);
    bool worked = all != NULL && scratch != NULL;
    for (long round = -warm_up; worked && round < rounds; round++) {
        for (size_t i = 0; worked && i < count; i++) {
            struct measured ignored;
            worked = run(&commands[i], round < 0 ? &ignored : &all[(size_t)round * count + i]);
        }
    }
    for (size_t i = 0; worked && i < count; i++) {
        print_command(all, (size_t)rounds, count, i, scratch);
    }
    free(all);
    free(scratch);
    return worked ? 0 : 1;
}
