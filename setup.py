"""Which packages there are; all else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["aitom_disca", "aitom_disca.*"]), "aitom_disca.data"])
