"""The engine's inference beside ONNX Runtime: the same networks, weights and images, in turn.

quick: --networks mobilenet_v3_small --batches 1 --precisions fp32 --rounds 3

Batch 1 and 8, one thread and two. First the outputs are compared; then both, warm, take turns. The
figure is the median of the rounds' medians, the ratio how many times faster ours is, with the
lowest and highest of a round. ONNX Runtime runs in float32 (its processor provider has no bf16
convolution) at its best settings; ours in float32, and in bf16, whose bars are for processors with
AMX: `amx` says whether this is one.
"""
import argparse
import itertools
import statistics
import sys

from lib import bench, turns
from peers import peer

BARS = {"fp32": {"mobilenet_v3_small": 1.08, "mobilenet_v3_large": 1.0, "efficientnet_lite0": 1.08,
                 "yolov8n_320": 1.08, "yolov8n_640": 1.08},
        "bf16": {"mobilenet_v3_small": 1.75, "mobilenet_v3_large": 1.5, "efficientnet_lite0": 2.1,
                 "yolov8n_320": 2.6, "yolov8n_640": 2.6}}
WORST = {"fp32": 1e-4, "bf16": 0.03}  # difference of an output beside the largest


class Case:
    def __init__(self, model, batch, threads, precision):
        self.model, self.batch, self.threads, self.precision = model, batch, threads, precision
        self.name = f"{model.name}_batch{batch}_threads{threads}_{precision}"

    def words(self, folder, path):
        return ["--model", path, "--input", self.model.input(folder, self.batch), "--batch",
                self.batch, "--threads", self.threads]

    def measure(self, options, folder):
        path = self.model.onnx(folder)
        if path is None:
            raise turns.Refused("no ONNX file of it")
        words, output = self.words(folder, path), f"{folder}/output"
        with turns.Worker([bench.tool("engine"), "infer", *words, "--precision", self.precision,
                           "--output", output], self.threads) as ours, \
                turns.Worker([sys.executable, "-B", peer.script("onnx_infer.py"), *words],
                             self.threads) as theirs:
            self.compared = theirs.ask("compare", output)
            spans = turns.take_turns({"ours": ours, "theirs": theirs}, options.rounds,
                                     options.seconds)
            self.macs, self.peer = ours.ready["macs"], theirs.ready
        self.ours_ms = 1e3 * statistics.median(spans["ours"])
        self.theirs_ms = 1e3 * statistics.median(spans["theirs"])
        self.ratio, self.low, self.high = turns.ratio(spans["ours"], spans["theirs"])
        self.bar = BARS[self.precision][self.model.name]
        # What bf16 calls the most likely is compared by `agreement`, on networks that were trained.
        self.agrees = (self.compared.get("worst", 9) <= WORST[self.precision]
                       and (self.precision == "bf16" or self.compared.get("same_top1", False)))

    def row(self):
        return [self.name, self.theirs_ms, self.ours_ms, f"{self.ratio:.2f}",
                f"{self.low:.2f}-{self.high:.2f}", f"{self.bar:.2f}",
                f"{2e-6 * self.macs * self.batch / self.ours_ms:.0f}",
                f"{self.compared['worst']:.1e}" if "worst" in self.compared else "differs",
                self.peer["mode"]]


def main():
    from lib import models
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [model.name for model in models.MODELS]
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"],
                        choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.25, help="a turn's")
    options = parser.parse_args()
    bench.pin()
    busy = bench.others_cpu()
    print(f"others use {busy:.1f} cores")
    cases, refused = [], []
    with bench.folder() as folder:
        for words in itertools.product(models.chosen(options.networks), options.batches,
                                       options.threads, options.precisions):
            case = Case(*words)
            try:
                case.measure(options, folder)
                cases.append(case)
                print(f"{case.name}: {case.theirs_ms:.2f} ms, ours {case.ours_ms:.2f} ms, "
                      f"{case.ratio:.2f} times faster ({case.low:.2f}-{case.high:.2f})", flush=True)
            except turns.Refused as error:
                refused.append(case.name)
                print(f"{case.name}: not measured: {error}", flush=True)
    finish(cases, refused, busy)


def has_amx():
    with open("/proc/cpuinfo") as file:
        return "amx_bf16" in file.read().split()


def finish(cases, refused, busy):
    bench.table([case.row() for case in cases],
                ["", "ONNX Runtime ms", "ours ms", "ratio", "lowest-highest", "bar", "GFLOP/s",
                 "difference", "its mode"])
    figures = {"cores_used_by_others": busy, "amx": has_amx(), "not_measured": refused,
               "outputs_agree": all(case.agrees for case in cases)}
    for case in cases:
        figures |= {f"{case.name}_ms": case.ours_ms, f"{case.name}_peer_ms": case.theirs_ms,
                    f"{case.name}_ratio": case.ratio, f"{case.name}_ratio_low": case.low,
                    f"{case.name}_ratio_high": case.high}
    # The ratio is the one nearest to, or furthest below, its own bar.
    worst = min(cases, key=lambda case: case.ratio / case.bar, default=None)
    for precision in sorted({case.precision for case in cases}):
        figures[f"{precision}_met"] = all(case.ratio >= case.bar for case in cases
                                          if case.precision == precision)
    met = bool(cases) and not refused and figures["outputs_agree"] and all(
        case.ratio >= case.bar for case in cases)
    bench.finish("inference", figures, worst.ratio if worst else 0, worst.bar if worst else 0, met)


if __name__ == "__main__":
    peer.enter("engines")
    main()
