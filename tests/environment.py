"""A virtual environment for tests that need packages of Python."""

import os
import subprocess
import sys


def enter(venv, packages, modules):
    """Goes on in the virtual environment `venv`, which is made, with `packages`, where `modules` cannot
    be imported from it. Where that fails (without a network), the test is skipped: exit status 77."""
    python = os.path.join(venv, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(venv):
        return
    probe = [python, "-c", "import " + ", ".join(modules)]
    if not os.path.exists(python) or subprocess.run(probe, capture_output=True).returncode != 0:
        made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True, text=True)
        done = made.returncode == 0 and subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
        if not done or done.returncode != 0:
            print(f"skipped: {' '.join(packages)} cannot be installed here:",
                  (done or made).stderr.strip()[-500:])
            sys.exit(77)
    os.execv(python, [python, "-B", *sys.argv])
