"""A small Python server of the same kind: ONNX Runtime behind aiohttp, one board a request.

usage: onnx_server.py MODEL

POST /infer with 64x64 bytes of the board and as many of its template; the answer is JSON. Prints
"ready HOST:PORT" when it takes requests.
"""
import asyncio
import sys

import numpy
import onnxruntime
from aiohttp import web


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


async def main():
    session = open_session(sys.argv[1])
    given = session.get_inputs()[0]
    planes = given.shape[1]

    async def infer(request):
        body = await request.read()
        if len(body) != 2 * 64 * 64:
            return web.json_response({"error": "2 planes of 64x64 bytes, please"}, status=400)
        x = numpy.frombuffer(body, numpy.uint8).reshape(1, 2, 64, 64).astype(numpy.float32) / 255
        if planes == 3:
            x = numpy.concatenate([x, numpy.abs(x[:, :1] - x[:, 1:])], axis=1)
        logits = session.run(None, {given.name: x})[0][0]
        scores = numpy.exp(logits - logits.max())
        return web.json_response({"scores": (scores / scores.sum()).tolist()})

    session.run(None, {given.name: numpy.zeros((1, planes, 64, 64), numpy.float32)})
    application = web.Application()
    application.router.add_post("/infer", infer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("ready 127.0.0.1:%d" % site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
