"""Achieved multiply-adds beside the machine's measured peak, network by network, layer by layer.

quick: --networks mobilenet_v3_small --seconds 0.3

`tightloop bench` for each network, one thread and two, inference at batch 1 and a training step at
batch 8: GFLOP/s, its share of the peak (an FMA loop in registers, measured just before), and the
layers that take the most time. There is no bar: it says where the next bottleneck is. `ratio` is the
lowest share of the peak at inference with one thread.
"""
import argparse
import itertools
import json
import subprocess
import sys

from lib import bench

NETWORKS = {"mobilenet_v3_small": ("mobilenet_v3_small", 224),
            "mobilenet_v3_large": ("mobilenet_v3_large", 224),
            "efficientnet_lite0": ("efficientnet_lite0", 224),
            "yolov8n_320": ("yolov8n", 320), "yolov8n_640": ("yolov8n", 640)}


def measure(name, train, threads, seconds):
    architecture, size = NETWORKS[name]
    words = [bench.TIGHTLOOP, "bench", "--model", architecture, "--size", size, "--threads", threads,
             "--seconds", seconds, "--json"] + (["--train", "--batch", 8] if train else [])
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("tightloop bench failed")
    return json.loads(done.stdout)


def show_layers(name, model, count):
    whole = sum(layer["ms"] for layer in model["layers"])
    rows = [[layer["name"][-36:], layer["operator"], layer["output"], f"{layer['ms']:.3f}",
             f"{100 * layer['ms'] / whole:.1f} %", f"{layer['gflops_per_s']:.0f}",
             f"{100 * layer['share_of_peak']:.0f} %", f"{layer['gbytes_per_s']:.1f}"]
            for layer in model["layers"][:count]]
    print(f"\n{name}: the slowest layers")
    bench.table(rows, ["layer", "operator", "output", "ms", "share", "GFLOP/s", "of peak", "GB/s"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.5, help="for each measurement")
    parser.add_argument("--layers", type=int, default=8, help="rows of each layer table")
    options = parser.parse_args()
    bench.pin()
    figures, rows = {"cores_used_by_others": bench.others_cpu()}, []
    for name, train, threads in itertools.product(options.networks, (False, True),
                                                  options.threads):
        found = measure(name, train, threads, options.seconds)
        model = found["models"][0]
        what = f"{name}_{'train_batch8' if train else 'infer_batch1'}_threads{threads}"
        rows.append([what, model["ms"], model["gflops_per_s"], found["peak_gflops_per_s"],
                     f"{100 * model['share_of_peak']:.0f} %", found["peak_gbytes_per_s"]])
        figures |= {f"{what}_ms": model["ms"], f"{what}_gflops_per_s": model["gflops_per_s"],
                    f"{what}_share_of_peak": model["share_of_peak"],
                    f"{what}_peak_gflops_per_s": found["peak_gflops_per_s"],
                    f"{what}_peak_gbytes_per_s": found["peak_gbytes_per_s"]}
        if threads == options.threads[0]:
            show_layers(what, model, options.layers)
    print()
    bench.table(rows, ["", "ms", "GFLOP/s", "peak", "of peak", "memory GB/s"])
    served = [value for key, value in figures.items()
              if key.endswith(f"threads{options.threads[0]}_share_of_peak") and "infer" in key]
    bench.finish("roofline", figures, min(served), 0, True)


if __name__ == "__main__":
    main()
