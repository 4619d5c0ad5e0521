"""The repository's root is the package's root: every folder with an __init__.py is a package of backstride, but the
plugin of pytest, which stands beside it."""

from setuptools import find_packages, setup

found = find_packages(exclude=["tests", "tests.*", "build", "build.*", "pytest_backstride"])
# by its script's name setuptools knows which file beside the package's modules is none of them
setup(script_name="setup.py", packages=["backstride", "pytest_backstride", *(f"backstride.{name}" for name in found)])
