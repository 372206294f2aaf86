"""Builds the extension from this source tree, whose neap.h it needs; pyproject.toml has the rest."""

import pathlib
import re
import sys
import sysconfig

from setuptools import Extension, setup

include = pathlib.Path(__file__).resolve().parents[2] / "include"
header = (include / "neap/neap.h").read_text(encoding="utf-8")

# One wheel for a Python and all that follow; from 3.12 on it also loads in interpreters that have a GIL of their own.
# 3.9's limited API lacks what we need, and a build without the GIL has none.
stable = None
if sys.version_info >= (3, 10) and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    stable = 12 if sys.version_info >= (3, 12) else 10

setup(
    version=re.search(r'#define NEAP_VERSION +"(.*)"', header)[1],
    ext_modules=[
        Extension(
            "neap._scope",
            ["neap/_scope.c"],
            include_dirs=[str(include)],
            define_macros=[("Py_LIMITED_API", f"0x03{stable:02x}0000")] if stable else [],
            py_limited_api=bool(stable),
        )
    ],
    options={"bdist_wheel": {"py_limited_api": f"cp3{stable}"}} if stable else {},
)
