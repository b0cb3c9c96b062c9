/* bare_http - libmicrohttpd by itself: takes a POST and answers BYTES bytes, with no work between.
 *   usage: bare_http BYTES        prints "ready http://127.0.0.1:PORT", ends on end of input
 * With the same settings as the server's, except that nothing is suspended. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *body;
static size_t body_bytes;
static int seen; /* its address marks a request whose headers were seen */

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *bytes, void **slot)
{
    (void)context, (void)url, (void)method, (void)version, (void)data;
    if (*slot == NULL) {
        *slot = &seen;
        return MHD_YES;
    }
    if (*bytes != 0) {
        *bytes = 0;
        return MHD_YES;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body_bytes, body, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type", "application/json");
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return queued;
}

int main(int argc, char **argv)
{
    body_bytes = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    body = body_bytes > 0 && body_bytes < 1 << 20 ? malloc(body_bytes) : NULL;
    if (body == NULL) {
        fputs("usage: bare_http BYTES\n", stderr);
        return 2;
    }
    memset(body, ' ', body_bytes);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16 * 1024, MHD_OPTION_END);
    if (daemon == NULL) return 1;
    printf("ready http://127.0.0.1:%u\n",
           (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
    MHD_stop_daemon(daemon);
    free(body);
    return 0;
}
