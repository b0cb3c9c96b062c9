"""ONNX Runtime on one network, as a worker that takes turns (bench/lib/turns.py).

usage: onnx_infer.py --model FILE.onnx --input FILE.npy [--batch N] [--threads N] [--size N]

Its best settings: everything optimised, inputs and outputs bound once, threads that spin; running
nodes side by side is tried beside running them in order, and the faster is kept. Files whose batch
is fixed at 1 are given another one. Also takes "compare FILE", the outputs of the other side.
"""
import argparse
import time

import numpy
import onnx
import onnxruntime

from lib import turns


def with_batch(path, batch):
    """The model with that many items: inputs, outputs, and the shapes of its Reshape nodes."""
    model = onnx.load(path)
    graph = model.graph
    for value in list(graph.input) + list(graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    constants = {node.output[0]: node.attribute[0].t for node in graph.node
                 if node.op_type == "Constant"}
    constants.update((tensor.name, tensor) for tensor in graph.initializer)
    for name in shapes & set(constants):
        shape = onnx.numpy_helper.to_array(constants[name]).copy()
        if shape.size and shape[0] == 1:
            shape[0] = batch
            renewed = onnx.numpy_helper.from_array(shape, constants[name].name)
            constants[name].CopyFrom(renewed)
    return model.SerializeToString()


def open_session(model, threads, parallel):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = threads if parallel else 1
    options.execution_mode = (onnxruntime.ExecutionMode.ORT_PARALLEL if parallel
                              else onnxruntime.ExecutionMode.ORT_SEQUENTIAL)
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Runner:
    def __init__(self, model, threads, parallel, x):
        self.session = open_session(model, threads, parallel)
        self.mode = "parallel" if parallel else "sequential"
        self.binding = self.session.io_binding()
        self.binding.bind_cpu_input(self.session.get_inputs()[0].name, x)
        for output in self.session.get_outputs():
            self.binding.bind_output(output.name)
        self.run()

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def seconds(self, rounds=5):
        spans = []
        for _ in range(rounds):
            start = time.perf_counter()
            self.run()
            spans.append(time.perf_counter() - start)
        return min(spans)


def compare(runner, path):
    """How far the other side's outputs are, beside the largest of ours; and whether every item has
    the same largest number."""
    runner.run()
    ours = [numpy.asarray(value) for value in runner.binding.copy_outputs_to_cpu()]
    theirs = numpy.fromfile(path, numpy.float32)
    if theirs.size != sum(value.size for value in ours):
        return {"error": f"{theirs.size} numbers; want {sum(value.size for value in ours)}"}
    worst, same, at = 0.0, True, 0
    for value in ours:
        other = theirs[at:at + value.size].reshape(value.shape)
        at += value.size
        worst = max(worst, float(numpy.abs(other - value).max() / max(1e-30, numpy.abs(value).max())))
        rows, others = value.reshape(len(value), -1), other.reshape(len(value), -1)
        same = same and bool((rows.argmax(1) == others.argmax(1)).all())
    return {"worst": worst, "same_top1": same}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    x = numpy.ascontiguousarray(numpy.load(options.input)[:options.batch])
    model = with_batch(options.model, options.batch)
    # With one thread there is nothing to choose.
    runners = [Runner(model, options.threads, parallel, x)
               for parallel in ((False, True) if options.threads > 1 else (False,))]
    runner = min(runners, key=Runner.seconds)
    turns.serve({"version": onnxruntime.__version__, "mode": runner.mode}, runner.run,
                {"compare": lambda path: compare(runner, path)})


if __name__ == "__main__":
    main()
