"""Real circuit boards through a whole loop, one pass, each predicted before its label is learned.

quick: --quick

Site order, five seeds: how many labels until precision is above 99.4 % at recall above 95 % over
the last 1,000 items and stays so for the next 500; accuracy, precision and recall in the end on
boards that were kept out; the lowest precision on them from 4,000 labels on, looked at every 250.
Then shuffled order, and site order with labels 200 items late. --holdout DIR judges on other images
of the same form; --peer runs the PyTorch program of bench/peers beside it (slow).
"""
import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys

from lib import bench
from peers import peer

LABELS_MAX = 2800
NEVER = 10 ** 9  # labels needed when the target was not reached
BARS = {
    "site": {"accuracy": .983, "precision": .994, "recall": .990},
    "shuffled": {"accuracy": .980, "precision": .992, "recall": .985},
    "late": {"accuracy": .980, "precision": .992, "recall": .985},
}
LOWEST_PRECISION = .985
RUNS = {"site": ("site", 0), "shuffled": ("shuffled", 0), "late": ("site", 200)}


def run(options, name, seed):
    order, delay = RUNS[name]
    words = [bench.tool("pcb_stream"), options.data, order, str(delay), f"{seed}-{seed}",
             str(options.judge_every), options.holdout or "", str(options.limit)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    if options.curves:
        sys.stderr.write(f"{name}:\n{done.stderr}")
    result = json.loads(done.stdout)
    result["run"] = name
    print(f"{name} seed {seed}: labels needed {result['labels_needed'] or 'never'}, in the end "
          f"accuracy {result['accuracy']:.4f} precision {result['precision']:.4f} "
          f"recall {result['recall']:.4f}, {result['cpu_s']:.0f} s of CPU", flush=True)
    return result


def median(results, key):
    return statistics.median(result[key] for result in results)


def summary(results):
    """Medians over the seeds, but the lowest precision of any seed."""
    labels = statistics.median(result["labels_needed"] or NEVER for result in results)
    found = {key: median(results, key) for key in
             ("accuracy", "precision", "recall", "false_rejects_ppm", "misses_ppm", "cpu_s",
              "stream_precision", "stream_recall", "versions")}
    found["labels_needed"] = labels
    found["lowest_precision"] = min(result["lowest_precision"] for result in results)
    found["labels"] = results[0]["labels"]
    return found


def meets(name, found):
    good = all(found[key] >= bar for key, bar in BARS[name].items())
    if name == "site":
        good = good and found["labels_needed"] <= LABELS_MAX
        good = good and found["lowest_precision"] >= LOWEST_PRECISION
    return good


def needed(labels):
    return "never" if labels >= NEVER else f"{labels:,.0f}"


def show(found, torch):
    rows = [[name, needed(f["labels_needed"]), f"{f['accuracy']:.4f}", f"{f['precision']:.4f}",
             f"{f['recall']:.4f}", f"{f['lowest_precision']:.4f}" if f["labels"] >= 4000 else "-",
             f"{f['false_rejects_ppm']:.0f}",
             f"{f['misses_ppm']:.0f}", f"{1e3 * f['cpu_s'] / f['labels']:.2f}",
             "yes" if meets(name, f) else "no"] for name, f in found.items()]
    for name, bars in BARS.items():
        if name in found:
            rows.append([f"bar: {name}", f"{LABELS_MAX:,}" if name == "site" else "",
                         *(f"{bar:.4f}" for bar in bars.values()),
                         f"{LOWEST_PRECISION:.4f}" if name == "site" else "", "", "", "", ""])
    if torch is not None:
        held = torch["held_out"]
        rows.append(["PyTorch, site", needed(torch["labels_needed"] or NEVER),
                     *(f"{held[key]:.4f}" for key in ("accuracy", "precision", "recall")),
                     f"{torch['lowest_precision'] or 1:.4f}", "", "",
                     f"{torch['cpu_ms_per_label']:.2f}", ""])
    bench.table(rows, ["", "labels needed", "accuracy", "precision", "recall",
                       "lowest precision", "false rejects ppm", "misses ppm", "CPU ms/label",
                       "met"])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="site order, one seed, 3,000 boards")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=0, help="boards; 0: all")
    parser.add_argument("--data", default=peer.data("pcb-stream"))
    parser.add_argument("--holdout", help="folder of other boards to judge on")
    parser.add_argument("--judge-every", type=int, default=250, help="labels")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=sorted(RUNS), help="one of the three runs")
    parser.add_argument("--curves", action="store_true", help="each judgement, to stderr")
    parser.add_argument("--peer", action="store_true", help="PyTorch beside it: minutes")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.limit, options.only = 1, options.limit or 3000, "site"
    return options


def main():
    options = parse()
    if not os.path.isdir(options.data):
        sys.exit(f"{options.data} is missing: real boards are needed (--data)")
    names = [options.only] if options.only else list(RUNS)
    tasks = [(name, seed) for seed in range(1, options.seeds + 1) for name in names]
    with concurrent.futures.ThreadPoolExecutor(options.processes) as pool:
        results = list(pool.map(lambda task: run(options, *task), tasks))
    torch = None
    if options.peer:
        torch = peer.torch_stream(options.data, "site", 1, options.limit, options.judge_every)
    found = {name: summary([r for r in results if r["run"] == name]) for name in names}
    show(found, torch)
    units = {"accuracy": "share", "precision": "share", "recall": "share",
             "lowest_precision": "share", "labels_needed": "labels", "cpu_s": "of_process"}
    figures = {}
    for name in names:
        for key, value in found[name].items():
            if key == "labels_needed" and value >= NEVER:
                value = None
            figures[f"{name}_{key}" + (f"_{units[key]}" if key in units else "")] = value
    if torch is not None:
        figures["peer_labels_needed_labels"] = torch["labels_needed"]
        figures["peer_accuracy_share"] = torch["held_out"]["accuracy"]
    figures.update(seeds=options.seeds, prevalence_share=.008)
    main_run = found[names[0]]
    complete = len(names) == len(RUNS) and options.seeds >= 5 and options.limit == 0
    bench.finish("pcb-stream", figures, min(main_run["labels_needed"] / LABELS_MAX, 1e6), 1,
                 complete and all(meets(name, found[name]) for name in names))


if __name__ == "__main__":
    main()
