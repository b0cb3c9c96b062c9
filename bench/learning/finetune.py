"""A pretrained network as backbone of a loop: labels until it is right, beside the small network.

quick: --quick

EfficientNet-Lite0 with ImageNet's weights on real circuit boards (64 x 64; image, template and their
difference as its three channels), site order, each board predicted before its label is learned:
the fast head alone on the frozen backbone; the head, then fine-tunes in campaigns; the same
architecture in campaigns from random weights; and the built-in small network, learning continuously.
Reported of each: labels until precision is above 99 % at recall above 95 % over the last 1,000
boards and stays so for the next 500; the first look at the kept-out boards that found the same (every
50 labels up to 1,000, then every 250); processor time a label, judging not counted. The curves are in
the last line: labels, precision, recall and accuracy of each look.
"""
import argparse
import json
import os
import subprocess
import sys

from lib import bench
from peers import peer

MODEL = os.path.join("fixtures", "efficientnet_lite0_ft7", "efficientnet_lite0_ft7.train.onnx")
PRECISION, RECALL = .99, .95
LATE_EVERY = 250
NEVER = 1e9  # labels
CURVE = ("labels", "precision", "recall", "accuracy")


def cases(model):
    """{name: (network, learning, side or none)}; the default of a loop on a model is campaigns."""
    return {"small": ("small", "continuous", []),
            "head_alone": (model, "off", []),
            "head_then_finetune": (model, "campaign", []),
            "from_scratch": ("efficientnet_lite0", "campaign", ["64"])}


def run(options, name, case):
    network, learning, side = case
    words = [bench.tool("finetune"), options.data, *map(str, (
        options.limit, options.seed, options.early, options.judge_every, LATE_EVERY)), network,
        learning, *side]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    result = json.loads(done.stdout)
    result["judged_labels"] = next(
        (point["labels"] for point in result["points"]
         if point["precision"] >= PRECISION and point["recall"] >= RECALL), None)
    print(f"{name}: {1e3 * result['cpu_s'] / result['labels']:.1f} ms of processor time a label",
          flush=True)
    for point in result["points"]:
        print(f"  {point['labels']:>6} labels: kept out precision {point['precision']:.4f} recall "
              f"{point['recall']:.4f} accuracy {point['accuracy']:.4f}; window "
              f"{point['window_precision']:.4f} {point['window_recall']:.4f}", flush=True)
    return result


def needed(labels):
    return f"{labels:,}" if labels else "not reached"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="600 boards, not from scratch")
    parser.add_argument("--limit", type=int, default=2600, help="boards")
    parser.add_argument("--seed", type=int, default=1, help="of the loops")
    parser.add_argument("--early", type=int, default=1000, help="labels that --judge-every is for")
    parser.add_argument("--judge-every", type=int, default=50, help=f"labels; later {LATE_EVERY}")
    parser.add_argument("--data", default=peer.data("pcb-stream"))
    parser.add_argument("--model", default=peer.data(MODEL))
    options = parser.parse_args()
    if options.quick:
        options.limit, options.judge_every = 600, 100
    return options


def main():
    options = parse()
    for path in (options.data, options.model):
        if not os.path.exists(path):
            sys.exit(f"{path} is missing: real boards and the pretrained network are needed")
    wanted = cases(options.model)
    if options.quick:
        del wanted["from_scratch"]
    found = {name: run(options, name, case) for name, case in wanted.items()}
    rows = [[name.replace("_", " "), needed(f["labels_needed"]), needed(f["judged_labels"]),
             *(f"{f['points'][-1][key]:.4f}" for key in ("precision", "recall", "accuracy")),
             f"{1e3 * f['cpu_s'] / f['labels']:.1f}"] for name, f in found.items()]
    bench.table(rows, ["", "labels needed (stream)", "labels needed (kept out)", "precision",
                       "recall", "accuracy", "CPU ms/label"])
    figures = {}
    for name, f in found.items():
        last = f["points"][-1]
        figures[f"{name}_labels_needed_labels"] = f["labels_needed"] or None
        figures[f"{name}_kept_out_labels_needed_labels"] = f["judged_labels"]
        figures[f"{name}_cpu_ms_per_label"] = 1e3 * f["cpu_s"] / f["labels"]
        figures[f"{name}_curve"] = [[point[key] for key in CURVE] for point in f["points"]]
        for key in ("precision", "recall", "accuracy"):
            figures[f"{name}_{key}_share"] = last[key]
    ours, small = (found[name]["judged_labels"] for name in ("head_then_finetune", "small"))
    figures["labels_limit_labels"] = options.limit
    ratio = (ours or NEVER) / (small or NEVER)
    bench.finish("finetune", figures, ratio, 1, ours is not None and ratio <= 1)


if __name__ == "__main__":
    main()
