/* How long others wait: asks a location of an HTTP server over one kept connection, at a steady
 * pace, and prints the 50th and 99th percentile and the maximum of the answers' latency in
 * milliseconds.
 *
 *   prober PORT PATH SECONDS [PER_SECOND]
 *
 * Latency counts from the moment at which a request was due, so that one long pause counts for all
 * the requests that it kept from being sent. */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void sleep_until(double moment) {
    struct timespec time;
    time.tv_sec = (time_t)moment;
    time.tv_nsec = (long)((moment - (double)time.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0) {
    }
}

static int connect_to(int port) {
    struct sockaddr_in address;
    int yes = 1;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("prober: connect");
        exit(EXIT_FAILURE);
    }
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return connection;
}

/* One request and its answer, which has no body. */
static void ask(int connection, const char *request) {
    char answer[4096];
    size_t length = 0;
    if (send(connection, request, strlen(request), MSG_NOSIGNAL) < 0) {
        perror("prober: send");
        exit(EXIT_FAILURE);
    }
    do {
        ssize_t got = recv(connection, answer + length, sizeof answer - 1 - length, 0);
        if (got <= 0) {
            fputs("prober: the connection was closed\n", stderr);
            exit(EXIT_FAILURE);
        }
        length += (size_t)got;
        answer[length] = '\0';
    } while (strstr(answer, "\r\n\r\n") == NULL);
    if (strncmp(answer, "HTTP/1.1 204", 12) != 0) {
        fputs("prober: not a 204\n", stderr);
        exit(EXIT_FAILURE);
    }
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fputs("usage: prober PORT PATH SECONDS [PER_SECOND]\n", stderr);
        return 2;
    }
    char request[256];
    double seconds = strtod(argv[3], NULL);
    double interval = 1 / (argc > 4 ? strtod(argv[4], NULL) : 1000);
    size_t count = (size_t)(seconds / interval);
    double *latencies = malloc((count + 1) * sizeof *latencies);
    if (latencies == NULL || count == 0) {
        return EXIT_FAILURE;
    }
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
    int connection = connect_to((int)strtol(argv[1], NULL, 10));
    ask(connection, request);
    double due = now();
    for (size_t i = 0; i < count; i++) {
        due += interval;
        sleep_until(due);
        ask(connection, request);
        latencies[i] = now() - due;
    }
    qsort(latencies, count, sizeof *latencies, compare);
    printf("%.3f %.3f %.3f\n", latencies[count / 2] * 1e3, latencies[count * 99 / 100] * 1e3,
           latencies[count - 1] * 1e3);
    free(latencies);
    close(connection);
    return EXIT_SUCCESS;
}
