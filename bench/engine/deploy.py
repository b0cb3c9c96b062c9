"""From the last training step to the first answer with its weights, beside PyTorch's way to there.

quick: --networks mobilenet_v3_small --threads 1 --rounds 2

Ours: new weights from the numbers that the step left, put in the place of the old, one image through
the plan that is there. The peer: export to ONNX, a session of ONNX Runtime, one image. In turn; bar:
50 times faster.
"""
import argparse
import itertools
import statistics

import training
from lib import bench, turns
from peers import peer

BAR = 50


def measure(network, threads, options, folder):
    from lib import models
    words = ["--input", models.seeded_images(folder, training.NETWORKS[network], 1), "--threads",
             threads]
    with turns.Worker([bench.tool("engine"), "deploy", "--model",
                       training.exported(network, folder), *words], threads) as ours, \
            turns.Worker(training.peer_words("deploy", network, "--batch", 1, *words),
                         threads) as theirs:
        return turns.take_turns({"ours": ours, "theirs": theirs}, options.rounds, options.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = list(training.NETWORKS)
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="a turn's")
    options = parser.parse_args()
    bench.pin()
    figures, rows, ratios, refused = {"cores_used_by_others": bench.others_cpu()}, [], [], []
    with bench.folder() as folder:
        for network, threads in itertools.product(options.networks, options.threads):
            name = f"{network}_threads{threads}"
            try:
                spans = measure(network, threads, options, folder)
            except turns.Refused as error:
                refused.append(name)
                print(f"{name}: not measured: {error}", flush=True)
                continue
            ours, theirs = (1e3 * statistics.median(spans[side]) for side in ("ours", "theirs"))
            ratio, low, high = turns.ratio(spans["ours"], spans["theirs"])
            ratios.append(ratio)
            rows.append([name, theirs, ours, f"{ratio:.1f}", f"{low:.1f}-{high:.1f}"])
            figures |= {f"{name}_ms": ours, f"{name}_peer_ms": theirs, f"{name}_ratio": ratio,
                        f"{name}_ratio_low": low, f"{name}_ratio_high": high}
    bench.table(rows, ["", "PyTorch, ONNX Runtime ms", "ours ms", "ratio", "lowest-highest"])
    figures["not_measured"] = refused
    worst = min(ratios, default=0)
    bench.finish("deploy", figures, worst, BAR, bool(ratios) and not refused and worst >= BAR)


if __name__ == "__main__":
    peer.enter("engines")
    main()
