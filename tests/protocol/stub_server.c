/* stub_server - the HTTP server over a loop that answers at once from memory: for protocol tests
 * that need no learning, and for measuring the server alone.
 *
 *     stub_server [PORT [COMMIT_US [TOKENS]]]
 *
 * Two loops: "vectors" (30 numbers, 7 classes) and "boards" (images with templates). COMMIT_US is
 * how long a group of predictions takes to become durable; TOKENS is a file of tokens.
 *
 * Prints "port N" when it serves, and stops when its standard input ends. */
#include "server/server.h"
#include "server/stub_loop.h"

#include <unistd.h>

static const char *const class_names[] = { "ok",   "open",   "short",  "mousebite",
                                           "spur", "copper", "pinhole" };

static tl_status open_loops(tl_runtime *runtime, tl_error *err)
{
    tl_loop *loop;
    tl_loop_options options = tl_loop_options_default();
    options.classes = class_names;
    options.class_count = TL_COUNT_OF(class_names);
    options.name = "vectors";
    options.input = TL_INPUT_FEATURES;
    options.feature_count = 30;
    tl_status status = tl_loop_open(runtime, &options, &loop, err);
    if (status != TL_OK) return status;
    options.name = "boards";
    options.input = TL_INPUT_IMAGE;
    options.has_template = true;
    return tl_loop_open(runtime, &options, &loop, err);
}

int main(int argc, char **argv)
{
    tl_error err;
    tl_runtime *runtime = NULL;
    tl_server *server = NULL;
    tl_runtime_options runtime_options = tl_runtime_options_default();
    tl_server_options options = tl_server_options_default();
    options.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
    options.max_connections = 12000;
    if (argc > 2) atomic_store(&stub.commit_us, atoi(argv[2]));
    if (argc > 3) options.tokens_path = argv[3];
    if (tl_runtime_open(&runtime_options, &runtime, &err) != TL_OK ||
        open_loops(runtime, &err) != TL_OK ||
        tl_server_start(runtime, &options, &server, &err) != TL_OK) {
        fprintf(stderr, "stub_server: %s\n", err.text);
        tl_runtime_close(&runtime);
        return 1;
    }
    printf("port %u\n", tl_server_port(server));
    fflush(stdout);
    char line[256];
    while (read(STDIN_FILENO, line, sizeof line) > 0) stub_event(runtime, "{\"type\":\"input\"}");
    tl_server_stop(&server);
    tl_runtime_close(&runtime);
    return 0;
}
