"""The repository's root is the package's root: every folder with an __init__.py is a package of backstride."""

from setuptools import find_packages, setup

found = find_packages(exclude=["tests", "tests.*", "build", "build.*"])
# by its script's name setuptools knows which file beside the package's modules is none of them
setup(script_name="setup.py", packages=["backstride", *(f"backstride.{name}" for name in found)])
