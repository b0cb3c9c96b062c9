"""Durable predictions a second over HTTP, beside what it is made of.

quick: --quick

Features of 30 numbers in JSON, 32 keep-alive connections in a closed loop, server and load generator
on the same two cores. In turn with it: libmicrohttpd answering as many bytes with no work (the same
load generator), and SQLite committing rows of the same size in groups of the same size. Ray Serve is
quoted: 280 requests a second on such a machine.
"""
import argparse
import json
import subprocess

from lib import bench

BAR = 40000
RAY_SERVE_PER_S = 280
LOOP = "    input: features\n    features: 30\n    classes: [c0, c1]\n"


def ours(seconds):
    with bench.Server(LOOP) as server:
        before = server.metrics()
        cpu = server.cpu_s()
        result = bench.load(server.port, input="features", features=30, connections=32,
                            warm=1, seconds=seconds)
        cpu = server.cpu_s() - cpu
        after = server.metrics()
    sent = result["predict"]["sent"]
    grown = {key: after[key] - before.get(key, 0.0) for key in after}
    rows = grown["tightloop_journal_records_total"]
    share = seconds / (seconds + 1)
    return {
        "per_s": result["per_s"],
        "p50_ms": result["predict"]["p50_ms"],
        "p99_ms": result["predict"]["p99_ms"],
        "refused": result["predict"]["refused"] + result["predict"]["failed"],
        "server_us": cpu * share * 1e6 / sent,
        "load_us": result["load_cpu_s"] * share * 1e6 / sent,
        "group": rows / max(1.0, grown["tightloop_journal_commits_total"]),
        "row_bytes": after["tightloop_journal_bytes"] / after["tightloop_journal_records_total"],
        "commit_p50_ms": after["tightloop_journal_commit_p50_seconds"] * 1e3,
        "commit_p99_ms": after["tightloop_journal_commit_p99_seconds"] * 1e3,
        "answer_bytes": result["answer_bytes"],
    }


def bare_http(seconds, answer_bytes):
    process = subprocess.Popen([bench.tool("bare_http"), str(answer_bytes)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    result = bench.load(port, input="features", features=30, connections=32, warm=0.5,
                        seconds=seconds)
    process.stdin.close()
    process.wait()
    return {"per_s": result["per_s"], "p50_ms": result["predict"]["p50_ms"],
            "p99_ms": result["predict"]["p99_ms"]}


def bare_sqlite(seconds, row_bytes, group):
    with bench.folder() as folder:
        done = subprocess.run([bench.tool("bare_sqlite"), folder, str(int(row_bytes)),
                               str(max(1, round(group))), str(seconds)],
                              stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout)
        result["sync_ms"] = bench.fdatasync_ms(folder, row_bytes * group, 400, 1.0)
        result["sync_idle_ms"] = bench.fdatasync_idle_ms(folder, row_bytes * group)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of two seconds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    rounds, seconds = (1, 2.0) if options.quick else (options.rounds, options.seconds)
    cores = bench.pin()
    busy = bench.others_cpu()
    print(f"{cores} cores, of which others use {busy:.1f}; {rounds} rounds of {seconds:g} s in turn")

    loop, http, sqlite = [], [], []
    for _ in range(rounds):
        loop.append(ours(seconds))
        http.append(bare_http(seconds / 2, loop[-1]["answer_bytes"]))
        sqlite.append(bare_sqlite(seconds / 2, loop[-1]["row_bytes"], loop[-1]["group"]))

    def of(results, key):
        return bench.median([result[key] for result in results])

    per_s = of(loop, "per_s")
    spans = [span for result in sqlite for span in result["sync_ms"]]
    idle = [span for result in sqlite for span in result["sync_idle_ms"]]
    rows = [
        ["tightloop, durable, HTTP", per_s, of(loop, "p50_ms"), of(loop, "p99_ms"),
         of(loop, "server_us")],
        ["bare libmicrohttpd", of(http, "per_s"), of(http, "p50_ms"), of(http, "p99_ms"), "-"],
        [f"bare SQLite, groups of {of(loop, 'group'):.0f}", of(sqlite, "rows_per_s"),
         of(sqlite, "group_p50_ms"), of(sqlite, "group_p99_ms"), of(sqlite, "cpu_us_per_row")],
        ["Ray Serve (quoted)", RAY_SERVE_PER_S, "-", "-", "-"],
    ]
    bench.table(rows, ["median of the rounds", "a second", "p50 ms", "p99 ms", "cpu us each"])
    print(f"load generator {of(loop, 'load_us'):.1f} us a request; commit p50 "
          f"{of(loop, 'commit_p50_ms'):.2f} p99 {of(loop, 'commit_p99_ms'):.2f} ms; fdatasync of a "
          f"group p50 {bench.quantile(spans, .5):.2f} ms awake, {bench.quantile(idle, .5):.2f} ms "
          f"after a pause; rounds: {', '.join('%.0f' % r['per_s'] for r in loop)}")
    figures = {
        "predictions_per_s": per_s, "best_round_per_s": max(r["per_s"] for r in loop),
        "p50_ms": of(loop, "p50_ms"), "p99_ms": of(loop, "p99_ms"),
        "server_cpu_us_per_request": of(loop, "server_us"),
        "load_cpu_us_per_request": of(loop, "load_us"), "rows_per_commit": of(loop, "group"),
        "commit_p50_ms": of(loop, "commit_p50_ms"), "commit_p99_ms": of(loop, "commit_p99_ms"),
        "refused": sum(r["refused"] for r in loop), "row_bytes": of(loop, "row_bytes"),
        "bare_http_per_s": of(http, "per_s"), "bare_sqlite_rows_per_s": of(sqlite, "rows_per_s"),
        "fdatasync_awake_p50_ms": bench.quantile(spans, 0.5),
        "fdatasync_awake_p99_ms": bench.quantile(spans, 0.99),
        "fdatasync_idle_p50_ms": bench.quantile(idle, 0.5),
        "ray_serve_quoted_per_s": RAY_SERVE_PER_S, "cores_used_by_others": busy,
    }
    bench.finish("throughput", figures, per_s / BAR, BAR, per_s >= BAR)


main()
