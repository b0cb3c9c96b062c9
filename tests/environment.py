"""A virtual environment for tests that need packages of Python."""

import fcntl
import os
import subprocess
import sys


def make(venv, packages):
    """The error of the command that failed, or None."""
    python = os.path.join(venv, "bin", "python")
    for command in ([sys.executable, "-m", "venv", venv],
                    [python, "-m", "pip", "install", "--quiet", *packages]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return done.stderr.strip()[-500:]
    return None


def enter(venv, packages, modules):
    """Goes on in the virtual environment `venv`, which is made, with `packages`, where `modules` cannot
    be imported from it. Where that fails (without a network), the test is skipped: exit status 77.
    The builds share an environment, so one makes it while the others wait."""
    python = os.path.join(venv, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(venv):
        return
    os.makedirs(venv, exist_ok=True)
    with open(venv + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        probe = [python, "-c", "import " + ", ".join(modules)]
        if not os.path.exists(python) or subprocess.run(probe, capture_output=True).returncode != 0:
            error = make(venv, packages)
            if error is not None:
                print(f"skipped: {' '.join(packages)} cannot be installed here:", error)
                sys.exit(77)
    os.execv(python, [python, "-B", *sys.argv])
