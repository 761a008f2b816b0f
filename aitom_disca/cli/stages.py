"""One command a stage, and ``run`` for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from aitom_disca.cli import options as o
from aitom_disca.config import (
    AverageSettings,
    ExtractSettings,
    OpticsSettings,
    PickSettings,
    RunSettings,
)
from aitom_disca.errors import InputError
from aitom_disca.progress import say


def run(
    tomograms: o.Tomograms,
    out: o.Out,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    defocus: o.Defocus = None,
    voltage_kv: o.Voltage = None,
    spherical_aberration_mm: o.SphericalAberration = None,
    amplitude_contrast: o.AmplitudeContrast = None,
    particle_diameter_angstrom: o.Diameters = None,
    picks: o.PicksOfRun = None,
    pick_on: o.PickOn = None,
    picker: o.PickerName = o.PickedBy.dog,
    sigma_px: o.Sigma = None,
    threshold_rule: o.Rule = o.ThresholdRule.auto,
    threshold: o.Threshold = None,
    min_distance_px: o.MinDistance = None,
    border_px: o.Border = None,
    max_picks: o.MaxPicks = None,
    keep: o.Keep = None,
    membranes: o.Membranes = None,
    box_px: o.Box = None,
    working_voxel_size_angstrom: o.WorkingVoxelSize = None,
    preset: o.MinePreset = o.Preset.fast,
    candidate_k: o.CandidateK = None,
    k_criterion: o.ChosenBy = o.KCriterion.bic,
    max_iterations: o.MaxIterations = None,
    width: o.Width = None,
    rotation: o.RotationName = o.RotatedBy.own,
    precision: o.ComputedIn = o.Precision.auto,
    devices: o.Devices = 1,
    mask_diameter_angstrom: o.MaskDiameter = None,
    graded_wedge: o.GradedWedge = True,
    seed: o.Seed = 0,
    runs: o.Runs = 1,
    rounds: o.Rounds = 1,
    until: o.Until = o.LastStage.embed,
    relion: o.RelionVersion = o.Relion.v31,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
) -> None:
    """From tomograms to clusters, averages, RELION star files and a report.

    Example: aitom-disca run tomogram.mrc --out results --particle-diameter-angstrom 250
    """
    from aitom_disca.cli.tables import print_run
    from aitom_disca.doctor import ask_polarity, ask_tilt_range
    from aitom_disca.io import open_tomograms
    from aitom_disca.pipeline import run as run_stages

    if picks and pick_on:
        raise InputError("--picks brings picks and --pick-on makes them; give one of the two.")
    optics = OpticsSettings.checked(
        defocus=defocus,
        voltage_kv=voltage_kv,
        spherical_aberration_mm=spherical_aberration_mm,
        amplitude_contrast=amplitude_contrast,
    )
    opened = open_tomograms(
        tomograms,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        tilt_file=tilt_file,
        zarr_level=zarr_level,
        dark_protein=bool(dark_protein),
        optics=optics,
    )
    diameter = o.chosen_diameters_angstrom(particle_diameter_angstrom, opened)
    if not resume:
        ask_polarity(opened, float(np.max(diameter)), dark_protein)
        ask_tilt_range(opened)
    settings = RunSettings.checked(
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        dark_protein=bool(dark_protein),
        optics=optics,
        pick=PickSettings.checked(
            particle_diameter_angstrom=diameter,
            picker=picker.value,
            sigma_px=sigma_px,
            threshold_rule=threshold_rule.value,
            threshold=threshold,
            min_distance_px=min_distance_px,
            border_px=border_px,
            max_picks=max_picks,
            keep=o.kinds_to_keep(keep),
            membranes=tuple(map(str, membranes or ())),
        ),
        picks=tuple(map(str, picks or ())),
        pick_on=tuple(map(str, pick_on or ())),
        extract=ExtractSettings.checked(
            particle_diameter_angstrom=float(np.max(diameter)),
            box_px=box_px,
            working_voxel_size_angstrom=working_voxel_size_angstrom,
        ),
        mine=o.mine_settings(
            preset,
            candidate_k,
            max_iterations,
            width,
            seed,
            k_criterion,
            precision,
            devices,
            rotation,
            mask_diameter_angstrom,
            graded_wedge,
        ),
        runs=runs,
        rounds=rounds,
        average=AverageSettings(null_test="noise", graded_wedge=graded_wedge, seed=seed),
        until=until.value,
        relion=relion.value,
    )
    print_run(run_stages(opened, out, settings, overwrite=overwrite, resume=resume))


def pick(
    tomograms: o.Tomograms,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picks to write: .csv or .star.")],
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    particle_diameter_angstrom: o.Diameters = None,
    picker: o.PickerName = o.PickedBy.dog,
    sigma_px: o.Sigma = None,
    threshold_rule: o.Rule = o.ThresholdRule.auto,
    threshold: o.Threshold = None,
    min_distance_px: o.MinDistance = None,
    border_px: o.Border = None,
    max_picks: o.MaxPicks = None,
    keep: o.Keep = None,
    membranes: o.Membranes = None,
    mask: Annotated[
        Path | None, typer.Option(help="MRC of the tomogram's size; picks lie where it is not 0.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML file to write: score against rank with the threshold, what was kept and "
            "why, slices with picks coloured by kind."
        ),
    ] = None,
    relion: o.RelionVersion = o.Relion.v31,
    overwrite: o.Overwrite = False,
) -> None:
    """Pick particles: Difference of Gaussians, best first.

    Example: aitom-disca pick tomogram.mrc --out picks.csv --particle-diameter-angstrom 250
    """
    from aitom_disca.doctor import ask_polarity
    from aitom_disca.io import open_tomograms, read_mask, write_particles_star, write_picks_csv
    from aitom_disca.pipeline.stages import find_in_tomograms, write_junk

    _refuse_existing(out, overwrite)
    if out.suffix not in (".csv", ".star"):
        raise InputError(f"picks are written as .csv or .star; got --out {out}.")
    opened = open_tomograms(
        tomograms,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        tilt_file=tilt_file,
        zarr_level=zarr_level,
        dark_protein=bool(dark_protein),
    )
    diameter = o.chosen_diameters_angstrom(particle_diameter_angstrom, opened)
    ask_polarity(opened, float(np.max(diameter)), dark_protein)
    settings = PickSettings.checked(
        particle_diameter_angstrom=diameter,
        picker=picker.value,
        sigma_px=sigma_px,
        threshold_rule=threshold_rule.value,
        threshold=threshold,
        min_distance_px=min_distance_px,
        border_px=border_px,
        max_picks=max_picks,
        keep=o.kinds_to_keep(keep),
        membranes=tuple(map(str, membranes or ())),
    )
    found = find_in_tomograms(opened, settings, mask=None if mask is None else read_mask(mask))
    picks = found.particles
    if out.suffix == ".csv":
        write_picks_csv(out, picks)
    else:
        write_particles_star(out, picks, relion=relion.value)
    junk = out.with_name(f"{out.stem}_junk")
    write_junk(junk, found, relion=relion.value)
    apart = f"; what was set apart lies in {junk}" if found.junk else ""
    say(f"{len(picks)} picks written to {out}{apart}")
    if report is not None:
        from aitom_disca.report.picking import write_pick_report

        write_pick_report(report, opened, found, settings)
        say(f"report written to {report}")


def extract(
    tomograms: o.Tomograms,
    picks: Annotated[
        list[Path],
        typer.Option(
            help="Picks: .csv of `pick`, or a particle file of any format of `convert` "
            "(repeatable: particles that several files hold count once)."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Store to write (.h5).")],
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    defocus: o.Defocus = None,
    voltage_kv: o.Voltage = None,
    spherical_aberration_mm: o.SphericalAberration = None,
    amplitude_contrast: o.AmplitudeContrast = None,
    particle_diameter_angstrom: o.Diameters = None,
    box_px: o.Box = None,
    working_voxel_size_angstrom: o.WorkingVoxelSize = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Cut subtomograms at picks into an HDF5 store.

    Example: aitom-disca extract tomogram.mrc --picks picks.csv --out subtomograms.h5
    """
    from aitom_disca.io import open_tomograms
    from aitom_disca.pipeline.picks import read_all_picks
    from aitom_disca.subtomograms import extract_subtomograms

    optics = OpticsSettings.checked(
        defocus=defocus,
        voltage_kv=voltage_kv,
        spherical_aberration_mm=spherical_aberration_mm,
        amplitude_contrast=amplitude_contrast,
    )
    opened = open_tomograms(
        tomograms,
        voxel_size_angstrom=voxel_size_angstrom,
        tilt_range_deg=tilt_range,
        tilt_file=tilt_file,
        zarr_level=zarr_level,
        dark_protein=bool(dark_protein),
        optics=optics,
    )
    diameter = o.chosen_diameters_angstrom(particle_diameter_angstrom, opened)
    settings = ExtractSettings.checked(
        particle_diameter_angstrom=float(np.max(diameter)),
        box_px=box_px,
        working_voxel_size_angstrom=working_voxel_size_angstrom,
    )
    particles = read_all_picks(picks, opened, float(np.min(diameter)) / 2)
    summary = extract_subtomograms(opened, particles, out, settings, overwrite=overwrite)
    say(
        f"{summary.n_extracted} subtomograms of {summary.box_px} voxels at "
        f"{summary.voxel_size_angstrom:g} A written to {out}; "
        f"{summary.n_dropped_border} too near to the border left out"
    )


def mine(
    store: o.Store,
    out: o.Out,
    preset: o.MinePreset = o.Preset.fast,
    candidate_k: o.CandidateK = None,
    k_criterion: o.ChosenBy = o.KCriterion.bic,
    max_iterations: o.MaxIterations = None,
    width: o.Width = None,
    rotation: o.RotationName = o.RotatedBy.own,
    precision: o.ComputedIn = o.Precision.auto,
    devices: o.Devices = 1,
    mask_diameter_angstrom: o.MaskDiameter = None,
    graded_wedge: o.GradedWedge = True,
    seed: o.Seed = 0,
    runs: o.Runs = 1,
    relion: o.RelionVersion = o.Relion.v31,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
) -> None:
    """Sort subtomograms into clusters; write labels, model, star files and a report.

    Example: aitom-disca mine subtomograms.h5 --out clusters --candidate-k 2-20
    """
    from aitom_disca.cli.tables import print_run
    from aitom_disca.pipeline import mine as mine_store

    settings = o.mine_settings(
        preset,
        candidate_k,
        max_iterations,
        width,
        seed,
        k_criterion,
        precision,
        devices,
        rotation,
        mask_diameter_angstrom,
        graded_wedge,
    )
    folder = mine_store(
        store, out, settings, runs=runs, relion=relion.value, overwrite=overwrite, resume=resume
    )
    print_run(folder)


def predict(
    store: o.Store,
    model: Annotated[Path, typer.Option(help="model.h5 of a finished run.")],
    out: o.Out,
    by: o.By = None,
    outlier_quantile: o.OutlierQuantile = None,
    relion: o.RelionVersion = o.Relion.v31,
    overwrite: o.Overwrite = False,
) -> None:
    """Sort new subtomograms with a trained model: labels.csv and star files.

    Example: aitom-disca predict new.h5 --model results/model.h5 --out new_labels
    """
    from aitom_disca.pipeline import predict as predict_store

    folder, labels = predict_store(
        store,
        model,
        out,
        by=None if by is None else by.value,
        outlier_quantile=outlier_quantile,
        relion=relion.value,
        overwrite=overwrite,
    )
    done = folder.record["stages"]["predict"]
    none = f", {done['in_no_cluster']} in none" if done["in_no_cluster"] else ""
    say(f"{len(labels)} subtomograms sorted into {done['n_clusters']} clusters{none}")
    say(f"{done['subtomograms_per_second']:g} subtomograms a second; labels: {folder.labels}")


def export(
    store: o.Store,
    labels: Annotated[Path, typer.Option(help="labels.csv of this store.")],
    out: o.Out,
    relion: o.RelionVersion = o.Relion.v31,
    overwrite: o.Overwrite = False,
) -> None:
    """Write the particles of a store with their clusters as RELION star files.

    Example: aitom-disca export subtomograms.h5 --labels labels.csv --out stars --relion 5
    """
    from aitom_disca.pipeline import write_stars

    _refuse_existing(out / "particles.star", overwrite)
    summary = write_stars(store, labels, out, relion=relion.value)
    say(f"{summary['star_files']} star files written to {out}")


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
) -> None:
    """Write the report of a finished run again.

    Example: aitom-disca report results
    """
    from aitom_disca.pipeline import report_again

    say(f"report written to {report_again(folder)}")


def info(
    tomograms: o.Tomograms,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
) -> None:
    """Read tomograms and say what they are: size, voxel size, tilt range.

    Example: aitom-disca info tomogram.mrc
    """
    from aitom_disca.cli.tables import print_tomograms
    from aitom_disca.io import open_tomograms

    print_tomograms(
        open_tomograms(
            tomograms,
            voxel_size_angstrom=voxel_size_angstrom,
            tilt_range_deg=tilt_range,
            tilt_file=tilt_file,
            zarr_level=zarr_level,
        )
    )


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; choose another --out, or add --overwrite.")
