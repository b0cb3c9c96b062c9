"""What a swap to other weights costs the answers that are on their way.

quick: --quick

A loop is taught until it has two versions with different weights, then learning is paused. The
highest rate is measured in a closed loop; then requests come in an open loop at 70 % of it, and in
every second second the other version is promoted. Latencies count from the time at which a request
was due. Full: 100,000 answers with and as many without.
"""
import argparse
import time

from lib import bench

BAR = 1.1
SHARE = 0.7
BACKLOG_MS = 100.0
LOOPS = {
    "board": ("    input: image\n    size: 64x64\n    template: true\n"
              f"    classes: [{', '.join(bench.CLASSES)}]\n"),
    "features": "    input: features\n    features: 30\n    classes: [c0, c1]\n",
}


def teach(server, kind):
    """Two kept versions that differ."""
    for _ in range(30):
        bench.load(server.port, input=kind, rate=400, labels=0.5, seconds=2, items=800)
        kept = [int(version["number"]) for version in server.model("versions")["versions"]
                if version["kept"]]
        if len(kept) >= 2:
            break
    else:
        raise SystemExit("no second version was published; nothing to swap")
    time.sleep(1)
    server.model("learning", {"on": False})
    return kept[:2]  # the newest first: it serves


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 seconds")
    parser.add_argument("--input", choices=sorted(LOOPS), default="board")
    parser.add_argument("--answers", type=int, default=100000, help="of each kind")
    parser.add_argument("--swaps", type=int, default=1, help="in a second with swaps")
    parser.add_argument("--rate", type=float, help="instead of 70 %% of the highest rate")
    options = parser.parse_args()
    cores = bench.pin()
    busy = bench.others_cpu()
    print(f"{cores} cores, of which others use {busy:.1f}; input: {options.input}")
    with bench.Server(LOOPS[options.input]) as server:
        versions = teach(server, options.input)
        highest = bench.median([bench.load(server.port, input=options.input, connections=32, warm=1,
                                           seconds=3, items=4000)["per_s"] for _ in range(3)])
        rate = options.rate or SHARE * highest
        seconds = 10 if options.quick else 2 * int(options.answers / rate + 1)
        result = bench.load(server.port, input=options.input, connections=100, rate=rate,
                            warm=2, seconds=seconds, items=4000, swaps=options.swaps,
                            swap=f"{versions[1]},{versions[0]}")
    rows = [[f"seconds {name} a swap"] +
            [result[name][key] for key in ("answered", "p50_ms", "p99_ms", "p999_ms", "max_ms")] +
            [str(result[name]["refused"] + result[name]["failed"])]
            for name in ("without", "with")]
    bench.table(rows, ["", "answers", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "refused"])
    print(f"highest rate {highest:.0f}/s, open loop at {rate:.0f}/s; {result['swaps']} swaps between "
          f"versions {versions[0]} and {versions[1]}; a swap p99 {result['swap_p99_ms']:.2f} ms"
          + (f"; first failure: {result['failure']}" if result["failure"] else ""))
    with_ms, without_ms = result["with"]["p99_ms"], result["without"]["p99_ms"]
    ratio = with_ms / without_ms if without_ms > 0 else float("inf")
    failed = sum(result[name][key] for name in ("with", "without") for key in ("refused", "failed"))
    # A backlog of this size means that the machine became slower than it was a moment before.
    held = result["without"]["p50_ms"] < BACKLOG_MS
    if not held:
        print("the rate did not hold: other processes took the cores or the disk; measure again")
    figures = {"p99_with_ms": with_ms, "p99_without_ms": without_ms,
               "p50_with_ms": result["with"]["p50_ms"],
               "p50_without_ms": result["without"]["p50_ms"],
               "answers_with": result["with"]["answered"],
               "answers_without": result["without"]["answered"], "refused_or_failed": failed,
               "swaps": result["swaps"], "swap_p99_ms": result["swap_p99_ms"],
               "highest_per_s": highest, "rate_per_s": rate, "cores_used_by_others": busy}
    met = held and ratio <= BAR and failed == 0 and result["swaps"] > 0
    bench.finish("swap", figures, ratio, BAR, met)


main()
