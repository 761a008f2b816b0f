"""Installation of aitom-disca: what it is, what it needs, which command it brings."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "aitom_disca/__init__.py").read_text())[1]
EXPORTS = ["dynamotable>=0.3", "imodmodel>=0.1"]  # particles of Dynamo and IMOD
ZARR = ["zarr>=3.0.8"]  # OME-Zarr tomograms
PDB = ["gemmi>=0.6.4"]  # atomic models
EXPLORE = ["dash>=4.0", "plotly>=6.0"]  # the page in the browser
CLUSTER = ["dask>=2025.1", "distributed>=2025.1", "dask-jobqueue>=0.9"]  # many machines

setup(
    name="aitom-disca",
    version=VERSION,
    description="Sort the particles of cryo-electron tomograms without templates or labels (DISCA)",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="GPL-3.0-or-later",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    keywords="cryo-ET tomography subtomogram clustering DISCA AITom RELION",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
    ],
    packages=[*find_packages(include=["aitom_disca", "aitom_disca.*"]), "aitom_disca.data"],
    package_dir={"aitom_disca.data": "data"},  # the top-level folder travels with the package
    package_data={
        "aitom_disca": ["py.typed"],
        "aitom_disca.explore": ["assets/*"],
        "aitom_disca.report": ["*.j2", "*.css"],
        "aitom_disca.data": ["*"],
    },
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.14",
        "numpy>=1.26",
        "scipy>=1.16",
        "scikit-learn>=1.6",
        "scikit-image>=0.22",
        "threadpoolctl>=3.1",
        "h5py>=3.11",
        "mrcfile>=1.5",
        "pandas>=2.1.1",
        "pydantic>=2.6",
        "typer>=0.19",
        "rich>=13.7",
        "matplotlib>=3.8",
        "pillow>=10.3",
        "jinja2>=3.1.6",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "exports": EXPORTS,
        "zarr": ZARR,
        "pdb": PDB,
        "cluster": CLUSTER,
        "explore": EXPLORE,
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "starfile>=0.5.8",
            *EXPORTS,
            *ZARR,
            *PDB,
            *CLUSTER,
            *EXPLORE,
            "playwright>=1.40",
        ],
        "lint": ["ruff>=0.9", "mypy>=1.14"],
        "docs": [
            "mkdocs>=1.6",
            "mkdocs-material>=9.6",
            "mkdocstrings-python>=1.16",
            "griffe-pydantic>=1.1",
            "ruff>=0.9",  # sets signatures
        ],
    },
    entry_points={"console_scripts": ["aitom-disca = aitom_disca.cli:main"]},
)
