"""A plant of 50 lines on one small server: boards in, verdicts out, learning all the while.

quick: --quick

50 connections send boards of 64x64 with their templates (binary tensors over HTTP) at 139 a second
in an open loop; one answer in ten gets feedback, for each of which 16 images are replayed. Then the
rate is raised until it no longer holds: the 99th percentile of the answer, from the time at which it
was due, below 20 ms, and nothing refused. Server and load generator share two cores.
"""
import argparse

from lib import bench

P99_MAX_MS = 20.0
RATE = 139.0
LOOP = ("    input: image\n    size: 64x64\n    template: true\n    replay_per_label: 16\n"
        f"    classes: [{', '.join(bench.CLASSES)}]\n")


def measure(rate, seconds, warm):
    with bench.Server(LOOP) as server:
        items = min(40000, int(rate * (seconds + warm)) + 50)
        cpu = server.cpu_s()
        result = bench.load(server.port, input="board", lines=50, connections=50, rate=rate,
                            labels=0.1, seconds=seconds, warm=warm, items=items)
        cpu = server.cpu_s() - cpu
        metrics = server.metrics()
        pss = server.pss_mb()
        sync = bench.fdatasync_ms(server.path, 16384, 300, 2.0)
    if result["failure"]:
        print("the load generator saw:", result["failure"])
    predict, feedback = result["predict"], result["feedback"]
    refused = sum(count[key] for count in (predict, feedback) for key in ("refused", "failed"))
    labels = metrics["tightloop_loop_labels"]
    return {
        "rate": rate, "per_s": result["per_s"], "p50_ms": predict["p50_ms"],
        "p99_ms": predict["p99_ms"], "p999_ms": predict["p999_ms"], "max_ms": predict["max_ms"],
        "feedback_p99_ms": feedback["p99_ms"], "refused": refused,
        "cpu": cpu / (seconds + warm), "load_cpu": result["load_cpu_s"] / (seconds + warm),
        "untrained": labels - metrics["tightloop_loop_trained_labels"], "labels": labels,
        "sync_p99_ms": bench.quantile(sync, 0.99),
        "publishes": metrics["tightloop_loop_publishes_total"], "pss_mb": pss,
        "holds": predict["p99_ms"] < P99_MAX_MS and refused == 0 and
        predict["answered"] == predict["sent"] >= int(rate * seconds),
    }


def search(seconds, warm, steps, first):
    """The highest rate that holds: doubling, then halving the interval."""
    tried = [first]
    low, high = RATE if first["holds"] else 0.0, None
    for _ in range(steps):
        rate = low * 2 if high is None else (low + high) / 2
        if rate == 0.0 or (high is not None and high / low < 1.1):
            break
        tried.append(measure(rate, seconds, warm))
        if tried[-1]["holds"]:
            low = rate
        else:
            high = rate
    return low, tried


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 seconds, no search")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--search-seconds", type=float, default=12)
    parser.add_argument("--steps", type=int, default=7, help="of the search for the highest rate")
    options = parser.parse_args()
    cores = bench.pin()
    busy = bench.others_cpu()
    print(f"{cores} cores, of which others use {busy:.1f}")
    if options.quick:
        first = measure(RATE, 8.0, 2.0)
        highest, tried = (RATE if first["holds"] else 0.0), [first]
    else:
        first = measure(RATE, options.seconds, 5.0)
        highest, tried = search(options.search_seconds, 3.0, options.steps, first)
    bench.table([[f"{t['rate']:.0f}", t["per_s"], t["p50_ms"], t["p99_ms"], t["max_ms"],
                  t["feedback_p99_ms"], str(t["refused"]), t["cpu"], t["load_cpu"],
                  f"{t['untrained']:.0f} of {t['labels']:.0f}", "yes" if t["holds"] else "no"]
                 for t in tried],
                ["boards/s", "answered/s", "p50 ms", "p99 ms", "max ms", "label p99 ms", "refused",
                 "server cores", "load cores", "not yet replayed", "holds"])
    figures = {f"{key}": first[key] for key in ("per_s", "p50_ms", "p99_ms", "p999_ms", "max_ms")}
    figures = {("answers_per_s" if key == "per_s" else key): value
               for key, value in figures.items()}
    figures.update(label_to_served_p99_ms=first["feedback_p99_ms"], refused=first["refused"],
                   server_cores=first["cpu"], load_generator_cores=first["load_cpu"],
                   publishes=first["publishes"], labels=first["labels"],
                   fdatasync_p99_ms=first["sync_p99_ms"],
                   labels_not_yet_replayed=first["untrained"], pss_mb=first["pss_mb"],
                   highest_boards_per_s=highest, cores_used_by_others=busy)
    bench.finish("line", figures, first["p99_ms"] / P99_MAX_MS, P99_MAX_MS, first["holds"])


main()
