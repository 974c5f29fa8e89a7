"""Imports run one way through the house, the bare-GPU path needs no more than it says, and pins install everywhere."""

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

LEAVES = {
    "arms",
    "config",
    "door",
    "extras",
    "flags",
    "imports",
    "io",
    "job",
    "kernels",
    "machine",
    "paths",
    "reading",
    "seals",
    "settings",
    "shards",
}
LEAVES |= {"torchvision_quirk", "transfer"}
ROOMS = {
    "stars": LEAVES,
    "synthesis": LEAVES,
    "libraries": LEAVES | {"synthesis"},
    "spectra": LEAVES | {"stars", "synthesis", "libraries"},
    "mocks": LEAVES | {"stars", "synthesis", "libraries", "spectra"},
    "lamost": LEAVES | {"stars", "synthesis", "libraries", "spectra", "mocks"},
    "learn": {"flags", "io", "job", "paths", "seals", "shards", "transfer"},
    "psf": LEAVES | {"stars"},
    "stamps": LEAVES | {"psf", "learn"},
    "cluster": LEAVES | {"stars", "psf", "stamps", "learn", "catalogs"},
    "analogues": LEAVES | {"learn"},
    "catalogs": LEAVES | {"stars", "spectra", "learn"},
    "evaluation": LEAVES | {"stars", "synthesis", "libraries", "spectra", "learn", "catalogs"},
}
ROOMS["plots"] = LEAVES | set(ROOMS) - {"plots"}
DOORS = {"cli", "predict", "release"}  # what users call: these may use every room
# A bare GPU machine has numpy, scipy, numba, h5py, torch and Lightning (with what that needs), none of these.
ABSENT = ["astropy", "fitsio", "isochrones", "pandas", "photutils", "pyarrow", "pydantic", "safetensors"]
ABSENT += ["galsim", "snakemake", "tables", "timm"]
BARE = ["stars.tracks", "stars.population"]
BARE += ["arms", "libraries.grid", "synthesis.kinematics", "spectra.continuum", "mocks.pairs"]


def modules(root: Path) -> dict[str, Path]:
    """Dotted name below `dioscuri` → file."""
    package = root / "workflow/src/dioscuri"
    files = sorted(package.rglob("*.py"))
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in files}


def imported(path: Path) -> set[str]:
    """First part below `dioscuri` of everything that a module imports from the package when it runs."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if _is_type_checking(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in for_types or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{name}" for name in names]
        found |= {name.split(".")[1] for name in names if name.startswith("dioscuri.")}
    return found - {"__version__"}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_looks_only_into_rooms_before_it(root, room):
    for name, path in modules(root).items():
        if name.split(".")[0] == room:
            strangers = imported(path) - ROOMS[room] - {room}
            assert not strangers, f"{name} imports {strangers}"


def test_leaves_import_no_room(root):
    files = modules(root)
    for name in files:
        if name.split(".")[0] in LEAVES:
            assert imported(files[name]) <= LEAVES, name


def test_every_module_has_a_place(root):
    tops = {name.split(".")[0] for name in modules(root)} - {"__init__"}
    assert tops <= LEAVES | set(ROOMS) | DOORS


def test_every_module_says_its_one_job(root):
    for name, path in modules(root).items():
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert docstring, name


def test_package_never_imports_snakemake(root):
    for name, path in modules(root).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                assert not any(part.split(".")[0] == "snakemake" for part in names), name


def python(code: str, root: Path) -> subprocess.CompletedProcess:
    environment = {
        "PYTHONPATH": str(root / "workflow/src"),
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
    }
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_bare_gpu_path_needs_no_astronomy_and_no_workflow(root):
    bare = [*BARE, *(name for name in modules(root) if name.startswith("learn."))]
    code = f"""
import importlib, sys
for name in {ABSENT}:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
for name in {bare}:
    importlib.import_module("dioscuri." + name)
"""
    done = python(code, root)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("survey", ["lamost_mrs", "lamost_lrs", "csst"])
def test_predict_needs_core_libraries_alone(root, survey):
    """All that it imports from the package, also when it is called, can be imported without the extras."""
    text = (root / f"workflow/src/dioscuri/predict/{survey}.py").read_text(encoding="utf-8")
    names = re.findall(r"^ *from (dioscuri[\w.]+) import", text, re.MULTILINE)
    absent = [
        "galsim",
        "isochrones",
        "photutils",
        "pytorch_lightning",
        "snakemake",
        "timm",
        "torchmetrics",
        "torchvision",
    ]
    code = f"""
import importlib, sys
for name in {absent}:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
for name in {names}:
    importlib.import_module(name)
"""
    done = python(code, root)
    assert len(names) > 3 and done.returncode == 0, done.stderr[-2000:]


def test_importing_the_package_imports_nothing_heavy(root):
    done = python("import sys, dioscuri; print(*sorted(sys.modules))", root)
    assert done.returncode == 0, done.stderr
    heavy = {"numpy", "torch", "astropy", "pandas", "h5py", "scipy", "numba"} & set(done.stdout.split())
    assert heavy == set()


def read_pins(path: Path) -> list[Requirement]:
    return [Requirement(line) for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_the_lock_with_cuda_differs_by_cuda_alone(root):
    plain, cuda = (
        {str(pin.specifier) + canonicalize_name(pin.name) for pin in read_pins(root / f"envs/{name}.txt")}
        for name in ("constraints", "constraints-cuda")
    )
    assert plain <= cuda
    assert not [pin for pin in plain if re.search("nvidia|cuda|triton", pin)]
    extra = {pin for pin in cuda - plain if not re.search("nvidia|cuda|triton", pin)}
    assert {re.sub(r"==[\d.]+", "", pin) for pin in extra} <= {"setuptools"}  # asked for by torch's CUDA build
    assert any("nvidia-cudnn" in pin for pin in cuda)


def test_pins_install_on_the_oldest_python_that_is_promised(root):
    """A package may ask for a later patch of Python than a distribution ships: Debian 12 has 3.11.2."""
    promised = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = promised.split(",")[0].removeprefix(">=") + ".0"
    pins = read_pins(root / "envs/constraints.txt")
    asked = {}
    for pin in pins:
        with suppress(PackageNotFoundError):  # for another platform
            asked[pin.name] = SpecifierSet(metadata(pin.name).get("Requires-Python") or "")
    assert len(asked) > 100
    assert [name for name, python in asked.items() if not python.contains(oldest)] == []


@pytest.mark.parametrize("libraries", ["timm, pytorch_lightning", "pytorch_lightning, timm"])
def test_libraries_around_torchvision_can_be_imported(libraries, tmp_path):
    """Beside a CPU-only torch they cannot by themselves; in the environment that `make` makes they can, anywhere."""
    if not Path(sysconfig.get_path("purelib"), "torchvision_quirk.pth").exists():
        pytest.skip("this environment was not made by make, which puts torchvision_quirk.pth into it")
    alone = "import sys; assert 'torch' not in sys.modules and 'dioscuri' not in sys.modules; import "
    done = subprocess.run([sys.executable, "-c", alone + libraries], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_torchvision_can_be_imported_after_the_package(root):
    """Where nothing watches the start of Python (-S), as in an environment that pip made of the wheel."""
    code = f"import sys; sys.path += {[str(root / 'workflow/src'), sysconfig.get_path('purelib')]}; "
    code += "import dioscuri, torchvision; from dioscuri import torchvision_quirk as quirk; "
    code += "print(quirk.declare_missing_operators())"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout in ("declared\n", "native\n"), done.stderr[-2000:]
