"""Start a Python worker by file path, in whatever interpreter: `python …/worker/__main__.py ADAPTER_FILE`.

The parent package is replaced by another, so that a worker cannot reach pytest or the harness: it holds
`pytest_inferena.worker`, and the names of that, so that `from pytest_inferena import Adapter` is right here too.
"""

import ctypes
import importlib
import importlib.util
import signal
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent

if sys.platform == "linux":  # a step that runs on after its session was killed would disturb the next one
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if sys.path and Path(sys.path[0] or ".").resolve() == HERE:
    sys.path.pop(0)  # else `import adapter` or `import program` of anybody would find ours
parent = ModuleType("pytest_inferena")
parent.__path__ = [str(HERE.parent / "no other part of the harness")]
sys.modules["pytest_inferena"] = parent
spec = importlib.util.spec_from_file_location(
    "pytest_inferena.worker", HERE / "__init__.py", submodule_search_locations=[str(HERE)]
)
if spec is None or spec.loader is None:
    raise SystemExit(f"cannot start the worker from {HERE}")
package = importlib.util.module_from_spec(spec)
sys.modules["pytest_inferena.worker"] = package
spec.loader.exec_module(package)
vars(parent).update({name: getattr(package, name) for name in package.__all__}, worker=package)
raise SystemExit(importlib.import_module("pytest_inferena.worker.server").main(sys.argv[1:]))
