/* listen.c - the listening socket. */
#include "server/internal.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

typedef union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} address;

static bool address_parse(const char *text, uint16_t port, address *out, socklen_t *bytes,
                          bool *loopback)
{
    memset(out, 0, sizeof *out);
    if (strcmp(text, "localhost") == 0) text = "127.0.0.1";
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        *bytes = sizeof out->v4;
        *loopback = (ntohl(out->v4.sin_addr.s_addr) >> 24) == 127;
        return true;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *bytes = sizeof out->v6;
        *loopback = IN6_IS_ADDR_LOOPBACK(&out->v6.sin6_addr);
        return true;
    }
    return false;
}

static tl_status socket_bind(int fd, address *at, socklen_t bytes, uint16_t *port_out)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* connections inherit it */
    if (bind(fd, &at->any, bytes) != 0 || listen(fd, 1024) != 0) return TL_EIO;
    if (getsockname(fd, &at->any, &bytes) != 0) return TL_EIO;
    *port_out = ntohs(at->any.sa_family == AF_INET ? at->v4.sin_port : at->v6.sin6_port);
    return TL_OK;
}

tl_status tl_listen_open(const tl_server_options *options, int *socket_out, uint16_t *port_out,
                         bool *loopback_out, tl_error *err)
{
    address at;
    socklen_t bytes;
    bool loopback;
    if (!address_parse(options->address, options->port, &at, &bytes, &loopback))
        return tl_fail(err, TL_EINVAL,
                       "\"%.64s\" is no address to listen on; give an IPv4 or IPv6 address, "
                       "e.g. 127.0.0.1 or 0.0.0.0",
                       options->address);
    if (!loopback && options->tokens_path == NULL && !options->allow_unauthenticated)
        return tl_fail(err, TL_EPERM,
                       "%.64s can be reached from other machines, and there are no tokens: make "
                       "some and name their file, or allow unauthenticated access explicitly",
                       options->address);
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return tl_fail(err, TL_EIO, "no socket: %s", strerror(errno));
    if (socket_bind(fd, &at, bytes, port_out) != TL_OK) {
        int reason = errno;
        close(fd);
        return tl_fail(err, TL_EIO, "cannot listen on %.64s, port %u: %s%s", options->address,
                       options->port, strerror(reason),
                       reason == EADDRINUSE ? "; choose another port" : "");
    }
    *socket_out = fd;
    *loopback_out = loopback;
    return TL_OK;
}

uint32_t tl_listen_raise_files(uint32_t connections)
{
    enum { OTHER_FILES = 256 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return connections;
    rlim_t need = (rlim_t)connections + OTHER_FILES;
    if (limit.rlim_cur >= need) return connections;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= need) return connections;
    getrlimit(RLIMIT_NOFILE, &limit);
    uint32_t fits = limit.rlim_cur > OTHER_FILES * 2 ? (uint32_t)(limit.rlim_cur - OTHER_FILES)
                                                     : (uint32_t)limit.rlim_cur / 2;
    tl_log(TL_LOG_WARNING, "server: at most %u connections, for %llu files may be open (ulimit -n)",
           fits, (unsigned long long)limit.rlim_cur);
    return fits < connections ? fits : connections;
}
