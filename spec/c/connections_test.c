/* src/connections: what is remembered of them. */
#include "check.h"
#include "connections.h"

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
    check_case("both ends make a connection", both_ends_make_a_connection);
    check_case("the last word about a connection counts", the_last_word_about_a_connection_counts);
    return check_summary();
}
