"""Peers in Python: their packages, from PyPI, in a virtual environment under the build folder."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.dirname(os.path.abspath(__file__))
VENV = os.environ.get("TL_BENCH_VENV", os.path.join(ROOT, "build", "venv"))
PACKAGES = {"torch": ["torch", "numpy"], "onnxruntime": ["onnxruntime", "numpy", "aiohttp"],
            "drift": ["river"],
            "engines": ["torch", "torchvision", "timm", "onnxruntime", "onnx", "numpy"]}


def data(name):
    """A folder of the real data."""
    shared = os.environ.get("TL_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
    return os.path.join(os.path.abspath(shared), name)


def script(name):
    return os.path.join(PEERS, name)


def imports(python, packages):
    return subprocess.run([python, "-c", "import " + ", ".join(packages)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def python(name):
    """The interpreter that has the packages of that peer, installed where missing; None: they
    cannot be had."""
    packages = PACKAGES[name]
    interpreter = os.path.join(VENV, "bin", "python")
    if os.path.exists(interpreter) and imports(interpreter, packages):
        return interpreter
    print(f"installing {', '.join(packages)} into {VENV}", file=sys.stderr, flush=True)
    if not os.path.exists(interpreter):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                   + packages)
    return interpreter if imports(interpreter, packages) else None


def enter(name):
    """Go on as the same program under the interpreter that has the packages of that peer. Whoever only
    asks for help needs none."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        return
    interpreter = python(name)
    if interpreter is None:
        sys.exit(f"{', '.join(PACKAGES[name])} cannot be installed: there is nothing to compare with")
    if os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        os.execv(interpreter, [interpreter, "-B"] + sys.argv)


def torch_stream(folder, order, seed, limit, judge_every, replay=None):
    """The PyTorch program on a stream; its figures, or None."""
    interpreter = python("torch")
    if interpreter is None:
        print("PyTorch cannot be installed: no peer")
        return None
    words = [interpreter, "-B", script("torch_stream.py"), "--data", folder,
             "--order", order, "--seed", str(seed), "--limit", str(limit),
             "--judge-every", str(judge_every)]
    if replay is not None:
        words += ["--replay", str(replay)]
    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        sys.exit("the PyTorch program failed")
    return json.loads(done.stdout.splitlines()[-1])
