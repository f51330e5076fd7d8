"""Builds the extensions: every ``functrans/**/*.pyx``, and the kernels once per instruction set.

Settings are in pyproject.toml. Environment: FUNCTRANS_DEBUG_CYTHON=1 turns Cython's checks on;
FUNCTRANS_BUILD_ONLY=functrans.kernels,functrans.ir builds only modules of these names.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
os.chdir(HERE)
KERNELS = Path("functrans/kernels")
BUILD = Path("build")               # ours in every build: pip gives an editable one a temporary folder
JOBS = 2
# No -ffast-math, ever: it changes results that users see.
FLAGS = ["-fwrapv", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
         "-fno-strict-aliasing"]
WARNINGS = ["-Wall", "-Wno-unused-function", "-Wno-tautological-compare"]
LEVELS = {"v2": ["-march=x86-64-v2"], "v3": ["-march=x86-64-v3"],
          "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
X86 = platform.machine().lower() in ("x86_64", "amd64")
DEBUG = os.environ.get("FUNCTRANS_DEBUG_CYTHON", "0") not in ("", "0")

NO_COMPILER = """functrans: no C compiler found (tried {command!r}).
Install one, e.g.  apt install gcc   or   dnf install gcc   or   xcode-select --install (macOS),
or name one in the environment variable CC."""


def import_codegen():
    """The generator and the op table of this source tree, never of an installed functrans."""
    sys.path.insert(0, str(HERE))
    try:
        import functrans
        from functrans.kernels import codegen
    finally:
        sys.path.remove(str(HERE))
    if Path(functrans.__file__).resolve().parent != HERE / "functrans":
        raise SystemExit(f"functrans: the build found {functrans.__file__} instead of its own tree")
    return codegen


def wanted(module: str) -> bool:
    only = os.environ.get("FUNCTRANS_BUILD_ONLY")
    return not only or any(module.startswith(part) for part in only.split(","))


def extensions() -> list[Extension]:
    import numpy
    found = []
    for path in sorted(Path("functrans").rglob("*.pyx")):
        module = ".".join(path.with_suffix("").parts)
        if wanted(module):
            found.append(Extension(
                module, [str(path)], include_dirs=[numpy.get_include(), str(KERNELS)],
                # what of the C interface is used; that of the oldest NumPy, whichever it is built with
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
                               ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
                               ("_GNU_SOURCE", "1")],
                extra_compile_args=["-O2", "-g" if DEBUG else "-g0", *FLAGS],
                depends=[str(KERNELS / name) for name in ("abi.h", "threads.h", "fpmode.h")]))
    return found


@contextlib.contextmanager
def one_build_at_a_time(directory: Path):
    """Two builds in one tree would write the same files."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as f:
        try:
            import fcntl
            fcntl.flock(f, fcntl.LOCK_EX)
        except ImportError:
            pass
        yield


class BuildExt(build_ext):
    def finalize_options(self):
        if not getattr(self.distribution, "functrans_discovered", False):
            self.distribution.functrans_discovered = True
            self.distribution.ext_modules = extensions()
        super().finalize_options()

    def run(self):
        self.parallel = self.parallel or JOBS
        with one_build_at_a_time(BUILD):
            self.cythonize()
            super().run()

    def cythonize(self):
        from Cython.Build import cythonize
        checks = dict.fromkeys(
            ("boundscheck", "wraparound", "initializedcheck", "nonecheck"), DEBUG)
        made = cythonize(
            self.extensions, nthreads=JOBS if len(self.extensions) > 1 else 0,
            force=bool(self.force), build_dir=str(BUILD / "cython"),
            compiler_directives={"language_level": "3", "cdivision": not DEBUG, **checks})
        sources = {ext.name: ext.sources for ext in made}
        for ext in self.extensions:
            ext.sources = sources[ext.name]

    def build_extensions(self):
        command = self.compiler.compiler_so[0]
        if shutil.which(command) is None:
            raise SystemExit(NO_COMPILER.format(command=" ".join(self.compiler.compiler_so[:1])))
        for ext in self.extensions:
            if ext.name == "functrans.kernels.lib":
                self.prepare_kernels(ext)
        super().build_extensions()

    # ----- kernels -----------------------------------------------------------------------------

    def prepare_kernels(self, ext: Extension) -> None:
        """Compiles the kernel sources and hangs the objects on their extension."""
        codegen = import_codegen()
        levels = LEVELS if X86 else {"base": []}
        work = BUILD / "kernels"
        generated = work / "generated"
        sources = codegen.write_sources(generated, list(levels))
        compile_openmp, link_openmp = self.probe_openmp(work)
        base = [*FLAGS, *WARNINGS, f"-I{KERNELS}", f"-I{generated}", "-D_GNU_SOURCE", "-fPIC",
                "-std=gnu11", "-g0"]
        shared = sorted(KERNELS.glob("*.c"))
        jobs = [(source, work / f"{source.stem}.o", ["-O2", *compile_openmp, *base]) for source in shared]
        jobs += [(source, work / f"{source.stem}_{level}.o",
                  ["-O3", *flags, f"-DFT_LEVEL={level}", *base])
                 for level, flags in levels.items() for source in sources]
        headers = sorted(KERNELS.glob("*.h"))
        newest = max(p.stat().st_mtime for p in headers)
        with ThreadPoolExecutor(JOBS) as pool:
            compiled = list(pool.map(lambda job: self.compile_object(*job, newest), jobs))
        if any(compiled):
            # setuptools compares whole seconds: without this it may miss that objects are newer
            name = self.get_ext_filename(self.get_ext_fullname(ext.name))
            for built in (Path(self.build_lib) / name, HERE / name):
                if built.exists():
                    os.utime(built, (0, 0))
        ext.extra_objects = [str(job[1]) for job in jobs]
        ext.include_dirs.append(str(generated))
        ext.extra_link_args += ["-pthread", *link_openmp]
        ext.depends += [str(p) for p in (*headers, *shared, *sources, generated / "ft_levels.h")]
        ext.depends += ext.extra_objects

    def compile_object(self, source: Path, target: Path, flags: list[str], newest: float) -> bool:
        """Whether it had to."""
        command = [*self.compiler.compiler_so, "-c", str(source), "-o", str(target), *flags]
        stamp = target.with_suffix(".cmd")
        text = "\n".join(command)
        if (not self.force and target.exists() and stamp.exists() and stamp.read_text() == text
                and target.stat().st_mtime > max(newest, source.stat().st_mtime)):
            return False
        print(" ".join(command), flush=True)
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        sys.stderr.write(result.stderr)
        if result.returncode:
            raise SystemExit(f"functrans: {command[0]} could not compile {source} (gcc >= 12 or "
                             "clang >= 17 is needed); its messages are above")
        stamp.write_text(text)
        return True

    def probe_openmp(self, work: Path) -> tuple[list[str], list[str]]:
        """Flags with which a small OpenMP program compiles and links; none: its settings are not read."""
        program = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            source = Path(scratch) / "probe.c"
            source.write_text(program)
            for compile_flags, link_flags in ((["-fopenmp"], ["-fopenmp"]),
                                              (["-Xpreprocessor", "-fopenmp"], ["-lomp"])):
                command = [*self.compiler.compiler_so, *compile_flags, str(source), "-o",
                           str(source.with_suffix("")), *link_flags]
                done = subprocess.run(command, capture_output=True)
                if done.returncode == 0:
                    return compile_flags, link_flags
        print("functrans: the compiler has no OpenMP; its limits (threadpoolctl) will not be seen")
        return [], []


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
