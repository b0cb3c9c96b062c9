"""An unmodified client of the Open Inference Protocol, `tritonclient`, works with the program.

    triton_test.py PROGRAM VENV

The client is installed into VENV with pip when it is not there. Without a network that fails, and the
test is skipped (exit status 77)."""

import os
import sys
import unittest

sys.path.insert(1, os.path.join(os.path.dirname(__file__), ".."))
import environment

PROGRAM, VENV = None, None


def tests():
    import numpy
    import tritonclient.http as client
    from tritonclient.utils import InferenceServerException

    from program import CLASSES, FEATURES, Program, png

    class Triton(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.program = Program(PROGRAM).__enter__()
            cls.client = client.InferenceServerClient(cls.program.address, concurrency=4)

        @classmethod
        def tearDownClass(cls):
            cls.client.close()
            cls.program.__exit__()

        def vectors(self, count, binary, datatype="FP32", kind=numpy.float32):
            data = numpy.arange(count * FEATURES).reshape(count, FEATURES).astype(kind)
            tensor = client.InferInput("features", data.shape, datatype)
            tensor.set_data_from_numpy(data, binary_data=binary)
            return [tensor]

        def check(self, result, count, classes=len(CLASSES)):
            scores = result.as_numpy("scores")
            self.assertEqual(scores.shape, (count, classes))
            self.assertEqual(scores.dtype, numpy.float32)
            numpy.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
            labels = result.as_numpy("label")
            self.assertEqual(labels.shape, (count, 1))
            for label in labels.flatten():
                self.assertIn(label.decode() if isinstance(label, bytes) else label, CLASSES)
            flagged = result.as_numpy("flagged")
            self.assertEqual((flagged.shape, flagged.dtype), ((count,), numpy.bool_))
            parameters = result.get_response()["parameters"]
            self.assertEqual(len(parameters["prediction_ids"]), count)

        def test_health_and_metadata(self):
            self.assertTrue(self.client.is_server_live())
            self.assertTrue(self.client.is_server_ready())
            self.assertTrue(self.client.is_model_ready("vectors"))
            version = self.client.get_model_metadata("vectors")["versions"][0]
            self.assertTrue(self.client.is_model_ready("vectors", version))
            self.assertFalse(self.client.is_model_ready("none"))
            self.assertFalse(self.client.is_model_ready("vectors", "999"))
            server = self.client.get_server_metadata()
            self.assertEqual(server["name"], "tightloop")
            self.assertIn("binary_tensor_data", server["extensions"])
            model = self.client.get_model_metadata("boards")
            self.assertEqual([tensor["name"] for tensor in model["inputs"]],
                             ["image", "reference"])
            self.assertEqual([tensor["name"] for tensor in model["outputs"]],
                             ["scores", "label", "flagged"])
            index = self.client.get_model_repository_index()
            self.assertEqual({model["name"]: model["state"] for model in index},
                             {"vectors": "READY", "boards": "READY"})

        def test_features_in_json_and_binary(self):
            for binary in (False, True):
                for outputs_binary in (False, True):
                    outputs = [client.InferRequestedOutput(name, binary_data=outputs_binary)
                               for name in ("scores", "label", "flagged")]
                    self.check(self.client.infer("vectors", self.vectors(3, binary),
                                                 outputs=outputs), 3)
                # Without a list of outputs the client asks for all of them in binary.
                self.check(self.client.infer("vectors", self.vectors(2, binary)), 2)

        def test_other_datatypes(self):
            for datatype, kind in (("FP64", numpy.float64), ("INT32", numpy.int32),
                                   ("UINT8", numpy.uint8), ("FP16", numpy.float16)):
                self.check(self.client.infer("vectors", self.vectors(1, True, datatype, kind)), 1)

        def test_some_outputs(self):
            result = self.client.infer("vectors", self.vectors(1, True), request_id="me",
                                       outputs=[client.InferRequestedOutput("label")])
            self.assertIsNone(result.as_numpy("scores"))
            self.assertEqual(result.get_response()["id"], "me")
            self.assertEqual(result.as_numpy("label").shape, (1, 1))

        def test_images_as_bytes(self):
            for shape in ([2], [2, 1]):
                def tensor(name, values):
                    data = numpy.array([png(value) for value in values], dtype=object)
                    made = client.InferInput(name, shape, "BYTES")
                    made.set_data_from_numpy(data.reshape(shape), binary_data=True)
                    return made

                inputs = [tensor("image", (40, 90)), tensor("reference", (40, 40))]
                self.check(self.client.infer("boards", inputs), 2)

        def test_images_as_tensors(self):
            pixels = numpy.zeros((2, 16, 16, 1))
            for datatype, kind in (("UINT8", numpy.uint8), ("FP32", numpy.float32)):
                for binary in (False, True):
                    made = client.InferInput("image", pixels.shape, datatype)
                    made.set_data_from_numpy(pixels.astype(kind), binary_data=binary)
                    self.check(self.client.infer("boards", [made]), 2)

        def test_parameters(self):
            result = self.client.infer(
                "vectors", self.vectors(2, True), parameters={
                    "site": "hall", "line": "7",
                    "item_ids": "00000000000000000000000000000001,"
                                "00000000000000000000000000000002"})
            self.assertEqual(result.get_response()["parameters"]["prediction_ids"][1],
                             "00000000-0000-0000-0000-000000000002")

        def test_requests_at_once(self):
            waiting = [self.client.async_infer("vectors", self.vectors(1, True))
                       for _ in range(64)]
            for one in waiting:
                self.check(one.get_result(), 1)

        def test_errors_have_words(self):
            with self.assertRaises(InferenceServerException) as refused:
                self.client.infer("none", self.vectors(1, True))
            self.assertIn("no loop", refused.exception.message())
            with self.assertRaises(InferenceServerException) as refused:
                self.client.infer("boards", self.vectors(1, True))
            self.assertIn("takes no input", refused.exception.message())

    return unittest.defaultTestLoader.loadTestsFromTestCase(Triton)


if __name__ == "__main__":
    PROGRAM, VENV = sys.argv[1:3]
    environment.enter(VENV, ["tritonclient[http]"], ["tritonclient.http", "numpy"])
    outcome = unittest.TextTestRunner(verbosity=2).run(tests())
    sys.exit(0 if outcome.wasSuccessful() else 1)
