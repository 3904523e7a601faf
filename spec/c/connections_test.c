/* src/connections: how they are told apart. */
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

int main(void) {
    check_case("both ends make a connection", both_ends_make_a_connection);
    return check_summary();
}
