"""What a label costs: the whole loop beside a PyTorch program of the same network and replay.

quick: --labels 1200 --seeds 1

Real boards in site order, one pass, each predicted before it is learned, 16 replayed for each label.
Ours is all of the loop, with journal, fast head and publishing (and, for comparison, the slow
learner by itself); the peer is bench/peers/torch_stream.py with one thread. In turn, several seeds.
Processor time of the whole process is counted, without reading the data and without judging. Bar:
at most half the peer's processor time, with no more wrong boards among those kept out.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

from lib import bench
from peers import peer

REPLAY = 16
RATIO_MAX = 0.5


def loop(options, seed):
    words = [bench.tool("pcb_stream"), options.data, "site", "0", f"{seed}-{seed}", "0", "",
             str(options.labels)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        sys.exit(f"{words[0]} failed")
    r = json.loads(done.stdout)
    return {"ms": 1e3 * r["cpu_s"] / r["labels"], "accuracy": r["accuracy"],
            "precision": r["precision"], "recall": r["recall"],
            "needed": r["labels_needed"] or None, "kept_out": r["judged_items"]}


def learner(options, seed):
    words = [bench.tool("learn_stream"), "--data", options.data, "--seed", str(seed),
             "--limit", str(options.labels), "--replay", str(REPLAY)]
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    held = re.search(r"kept out: accuracy (\S+) precision (\S+) recall (\S+)", said).groups()
    cost = re.search(r"labels needed (\d+), CPU (\S+) ms", said).groups()
    return {"ms": float(cost[1]), "needed": int(cost[0]) or None,
            **dict(zip(("accuracy", "precision", "recall"), map(float, held)))}


def torch(options, seed):
    r = peer.torch_stream(options.data, "site", seed, options.labels, 0, REPLAY)
    if r is None:
        sys.exit("there is nothing to compare with")
    return {"ms": r["cpu_ms_per_label"], "needed": r["labels_needed"], "layout": r["layout"],
            "version": r["torch"], **r["held_out"]}


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def row(name, runs):
    needed = ", ".join(str(run["needed"] or "-") for run in runs)
    return [name, f"{median(runs, 'ms'):.2f}",
            *(f"{statistics.mean(run[key] for run in runs):.4f}"
              for key in ("accuracy", "precision", "recall")), needed]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--labels", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", default=peer.data("pcb-stream"))
    options = parser.parse_args()
    if not os.path.isdir(options.data):
        sys.exit(f"{options.data} is missing: real boards are needed (--data)")
    busy = bench.others_cpu()
    print(f"others use {busy:.1f} cores")
    ours, alone, theirs = [], [], []
    for seed in range(1, options.seeds + 1):
        ours.append(loop(options, seed))
        theirs.append(torch(options, seed))
        alone.append(learner(options, seed))
        print(f"seed {seed}: loop {ours[-1]['ms']:.2f} ms a label, slow learner alone "
              f"{alone[-1]['ms']:.2f}, PyTorch {theirs[-1]['ms']:.2f} ({theirs[-1]['layout']})",
              flush=True)
    bench.table([row("tightloop, whole loop", ours), row("slow learner alone", alone),
                 row(f"PyTorch {theirs[0]['version']}", theirs)],
                ["", "CPU ms/label", "accuracy", "precision", "recall", "labels needed"])
    ratio = median(ours, "ms") / median(theirs, "ms")
    wrong = [round(sum((1 - run["accuracy"]) * ours[0]["kept_out"] for run in runs))
             for runs in (ours, theirs)]
    figures = {"labels": options.labels, "seeds": options.seeds, "replayed_per_label": REPLAY,
               "loop_cpu_ms_per_label": median(ours, "ms"),
               "learner_cpu_ms_per_label": median(alone, "ms"),
               "peer_cpu_ms_per_label": median(theirs, "ms"),
               "kept_out_boards": ours[0]["kept_out"] * options.seeds,
               "loop_wrong_boards": wrong[0], "peer_wrong_boards": wrong[1],
               "cores_used_by_others": busy}
    for name, runs in (("loop", ours), ("learner", alone), ("peer", theirs)):
        for key in ("accuracy", "precision", "recall"):
            figures[f"{name}_{key}_share"] = statistics.mean(run[key] for run in runs)
    bench.finish("learn-cost", figures, ratio, RATIO_MAX,
                 ratio <= RATIO_MAX and wrong[0] <= wrong[1])


if __name__ == "__main__":
    main()
