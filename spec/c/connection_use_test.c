/* src/connection_use: what libcurl's trace says is agreed on, and what is remembered of it. */
#include "check.h"
#include "connection_use.h"

static bool agreed(const char *text, bool before) {
    bool is_http2 = before;
    connections_read_trace(text, strlen(text), &is_http2);
    return is_http2;
}

static void the_trace_of_each_libcurl_tells_of_http2(void) {
    CHECK(agreed("ALPN, server accepted to use h2\n", false)); /* 7.80 to 7.83 */
    CHECK(agreed("ALPN: server accepted h2\n", false));
    CHECK(!agreed("ALPN, server accepted to use http/1.1\n", true));
    CHECK(!agreed("ALPN: server accepted http/1.1\n", true));
}

static void other_lines_change_nothing(void) {
    static const char *const lines[] = {
        "ALPN: offers h2,http/1.1\n",
        "ALPN: server did not agree on a protocol. Uses default.\n",
        " subject: CN=ALPN: server accepted h2\n",
        "",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        CHECK(agreed(lines[i], true));
        CHECK(!agreed(lines[i], false));
    }
}

static void a_line_need_not_end_with_nul(void) {
    char line[] = {'A', 'L', 'P', 'N', ' ', 'a', 'c', 'c', 'e', 'p', 't', 'e', 'd', ' ', 'h', '2'};
    bool is_http2 = false;
    connections_read_trace(line, sizeof line - 1, &is_http2);
    CHECK(!is_http2);
    connections_read_trace(line, sizeof line, &is_http2);
    CHECK(is_http2);
}

static void both_ends_make_a_connection(void) {
    uint64_t id = connections_id("127.0.0.1", 443, "127.0.0.1", 50000);
    CHECK(id == connections_id("127.0.0.1", 443, "127.0.0.1", 50000));
    CHECK(id != connections_id("127.0.0.2", 443, "127.0.0.1", 50000));
    CHECK(id != connections_id("127.0.0.1", 444, "127.0.0.1", 50000));
    CHECK(id != connections_id("127.0.0.1", 443, "127.0.0.2", 50000));
    CHECK(id != connections_id("127.0.0.1", 443, "127.0.0.1", 50001));
}

static void the_last_word_about_a_connection_counts(void) {
    static struct connections connections;
    for (uint64_t id = 1; id < 1000; id++) {
        CHECK(!connections_has_http2(&connections, id));
        connections_note_version(&connections, id, true);
        CHECK(connections_has_http2(&connections, id));
        CHECK(!connections_has_http2(&connections, id + 1));
    }
    connections_note_version(&connections, 500, false);
    CHECK(!connections_has_http2(&connections, 500));
    CHECK(connections_has_http2(&connections, 499) && connections_has_http2(&connections, 501));
}

int main(void) {
    check_case("the trace of each libcurl tells of HTTP/2",
               the_trace_of_each_libcurl_tells_of_http2);
    check_case("other lines change nothing", other_lines_change_nothing);
    check_case("a line need not end with NUL", a_line_need_not_end_with_nul);
    check_case("both ends make a connection", both_ends_make_a_connection);
    check_case("the last word about a connection counts", the_last_word_about_a_connection_counts);
    return check_summary();
}
