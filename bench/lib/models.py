"""The networks of the engine's benchmarks, as ONNX files with an input for each.

Those of the real data are used where they are there; else, and where there is none of that size,
the built-in architecture of that name is exported.
"""
import os
import subprocess

from lib import bench
from peers import peer


class Model:
    def __init__(self, name, architecture, size, file=None):
        self.name, self.architecture, self.size, self.file = name, architecture, size, file

    def onnx(self, folder):
        """A path, or None where it cannot be had."""
        known = self.file and peer.data(self.file)
        if known and os.path.exists(known):
            return known
        return export(self.architecture, self.size, folder)

    def input(self, folder, batch):
        return seeded_images(folder, self.size, batch)


def seeded_images(folder, size, batch):
    """`batch` images [n, 3, size, size], smooth as pictures are; a .npy file."""
    path = os.path.join(folder, f"images_{size}_{batch}.npy")
    if not os.path.exists(path):
        import numpy  # here: what benchmarks there are is asked for without it
        random = numpy.random.default_rng(size + batch)
        coarse = random.standard_normal((batch, 3, 8, 8)).astype(numpy.float32)
        images = coarse.repeat(size // 8, 2).repeat(size // 8, 3)
        fine = random.standard_normal(images.shape).astype(numpy.float32)
        numpy.save(path, images + numpy.float32(0.1) * fine)
    return path


MODELS = [
    Model("mobilenet_v3_small", "mobilenet_v3_small", 224, "models/mobilenet_v3_small.onnx"),
    Model("mobilenet_v3_large", "mobilenet_v3_large", 224, "models/mobilenet_v3_large.onnx"),
    Model("efficientnet_lite0", "efficientnet_lite0", 224,
          "fixtures/efficientnet_lite0_1000/efficientnet_lite0_1000.infer.onnx"),
    Model("yolov8n_320", "yolov8n", 320, "models/yolov8n_320.onnx"),
    Model("yolov8n_640", "yolov8n", 640),
]


def export(architecture, size, folder):
    path = os.path.join(folder, f"{architecture}_{size}.onnx")
    if os.path.exists(path):
        return path
    words = [bench.TIGHTLOOP, "export", "--model", architecture, "--size", str(size), "--onnx", path]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path if done.returncode == 0 else None


def chosen(names):
    known = {model.name: model for model in MODELS}
    return [known[name] for name in names]
