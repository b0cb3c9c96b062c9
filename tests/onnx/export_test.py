"""What the engine writes as ONNX, ONNX Runtime runs with equal results.

    export_test.py EXPORT_TOOL VENV SHARED_DATA

Every built-in network, after some steps of training by the engine, and the networks of the shared data: both files that the tool writes pass
onnx.checker, and their outputs for a batch are the engine's within 2e-5 of the largest number (float32
sums in another order). The tool itself checks that the trained file imports again to equal bits.
Without a network that has the packages the test is skipped (exit status 77)."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))
import environment

TOOL, VENV, SHARED = None, None, None
TOLERANCE = 2e-5
BUILT_IN = [("small", 64, 5), ("mobilenet_v3_small", 64, 7), ("mobilenet_v3_large", 96, 7),
            *((f"efficientnet_lite{i}", side, 10) for i, side in enumerate((64, 65, 66, 67, 70))),
            ("yolov8n", 96, 80), ("yolov8s", 64, 3), ("yolov8m", 64, 3), ("yolov8l", 64, 3),
            ("yolov8x", 64, 1)]
FILES = [("fixtures/tiny_cnn/tiny_cnn.train.onnx", 0),
         ("fixtures/pcb_cnn/pcb_cnn.train.onnx", 0),
         ("fixtures/mobilenet_v3_small/mobilenet_v3_small.train.onnx", 0),
         ("fixtures/mobilenet_v3_small/mobilenet_v3_small.infer.onnx", 0),
         ("fixtures/efficientnet_lite0_ft7/efficientnet_lite0_ft7.train.onnx", 0),
         ("models/mobilenet_v3_large.onnx", 0), ("models/ppocr-cls-mobilenetv3.onnx", 64),
         ("models/ppocrv4-det.onnx", 64), ("models/yolov8n_320.onnx", 0)]


def tests():
    import numpy
    import onnx
    import onnxruntime

    def engine_numbers(folder, name, shape):
        """Images are [n, c, h, w] in the file and [n, h, w, c] in the engine."""
        numbers = numpy.fromfile(os.path.join(folder, name), dtype=numpy.float32)
        if len(shape) != 4:
            return numbers.reshape(shape)
        n, c, h, w = shape
        return numbers.reshape(n, h, w, c).transpose(0, 3, 1, 2)

    def compare(path, folder):
        """The largest error, beside the largest number."""
        onnx.checker.check_model(path, full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feeds = {}
        for i, tensor in enumerate(session.get_inputs()):
            assert tensor.shape[0] == "batch", tensor.shape
            feeds[tensor.name] = engine_numbers(folder, f"input{i}.f32", [2, *tensor.shape[1:]])
        worst = 0
        for i, value in enumerate(session.run(None, feeds)):
            wanted = engine_numbers(folder, f"output{i}.f32", value.shape)
            scale = max(1.0, float(numpy.abs(wanted).max()))
            worst = max(worst, float(numpy.abs(value - wanted).max()) / scale)
        return worst

    class Export(unittest.TestCase):
        def check(self, model, side, classes):
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run([TOOL, model, str(side), str(classes), folder],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, f"{model}: {done.stderr}")
                for name in ("trained.onnx", "served.onnx"):
                    path = os.path.join(folder, name)
                    error = compare(path, folder)
                    print(f"{model} {name}: {error:.1e}", file=sys.stderr)
                    self.assertLessEqual(error, TOLERANCE, f"{model} {name}")
                self.check_form(folder)

        def check_form(self, folder):
            trained = onnx.load(os.path.join(folder, "trained.onnx"))
            served = onnx.load(os.path.join(folder, "served.onnx"))
            self.assertEqual((trained.producer_name, trained.model_version), ("tightloop", 3))
            self.assertEqual([(p.key, p.value) for p in trained.metadata_props],
                             [("classes", "ok,open,short")])
            self.assertEqual(trained.graph.output[0].name, "scores")
            makers = {n.output[0]: n.op_type for n in served.graph.node}
            for node in served.graph.node:
                if node.op_type == "BatchNormalization":
                    self.assertNotEqual(makers[node.input[0]], "Conv", node.name)

        def test_built_in(self):
            for name, side, classes in BUILT_IN:
                with self.subTest(name):
                    self.check(name, side, classes)

        def test_classifiers_need_no_transpose(self):
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([TOOL, "mobilenet_v3_small", "64", "7", folder], check=True)
                model = onnx.load(os.path.join(folder, "trained.onnx"))
            self.assertNotIn("Transpose", [n.op_type for n in model.graph.node])
            names = {i.name for i in model.graph.initializer}
            self.assertTrue({"features.0.0.weight", "classifier.3.bias"} <= names)

        def test_files(self):
            if not os.path.isdir(SHARED):
                self.skipTest("the shared data is missing")
            for name, side in FILES:
                with self.subTest(name):
                    self.check(os.path.join(SHARED, name), side, 0)

    return unittest.TestSuite([unittest.defaultTestLoader.loadTestsFromTestCase(Export)])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    TOOL, VENV, SHARED = sys.argv[1:]
    environment.enter(VENV, ["onnx", "onnxruntime", "numpy"], ["onnx", "onnxruntime", "numpy"])
    sys.exit(not unittest.TextTestRunner(verbosity=1).run(tests()).wasSuccessful())
