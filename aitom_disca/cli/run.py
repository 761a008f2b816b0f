"""The command that runs all stages."""

from __future__ import annotations

import numpy as np

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import (
    KCriterion,
    LastStage,
    PickedBy,
    Precision,
    Preset,
    Relion,
    RotatedBy,
    ThresholdRule,
)
from aitom_disca.cli.given_options import (
    chosen_diameters_angstrom,
    kinds_to_keep,
    mine_settings,
    open_given,
    workers_given,
)
from aitom_disca.config import (
    AverageSettings,
    ExtractSettings,
    OpticsSettings,
    PickSettings,
    RunSettings,
)
from aitom_disca.errors import InputError


def run(
    tomograms: o.Tomograms,
    out: o.Out,
    particle_diameter_angstrom: o.Diameters = None,
    voxel_size_angstrom: o.VoxelSize = None,
    tilt_range: o.TiltRange = None,
    tilt_file: o.TiltFile = None,
    zarr_level: o.ZarrLevel = 0,
    dark_protein: o.DarkProtein = None,
    defocus: o.Defocus = None,
    voltage_kv: o.Voltage = None,
    spherical_aberration_mm: o.SphericalAberration = None,
    amplitude_contrast: o.AmplitudeContrast = None,
    picks: o.PicksOfRun = None,
    file_pixel_angstrom: o.FilePixel = None,
    tomogram_name: o.TomogramName = None,
    pick_on: o.PickOn = None,
    picker: o.PickerName = PickedBy.dog,
    sigma_px: o.Sigma = None,
    threshold_rule: o.Rule = ThresholdRule.auto,
    threshold: o.Threshold = None,
    min_distance_px: o.MinDistance = None,
    border_px: o.Border = None,
    max_picks: o.MaxPicks = None,
    keep: o.Keep = None,
    membranes: o.Membranes = None,
    box_px: o.Box = None,
    working_voxel_size_angstrom: o.WorkingVoxelSize = None,
    preset: o.MinePreset = Preset.fast,
    candidate_k: o.CandidateK = None,
    k_criterion: o.ChosenBy = KCriterion.bic,
    max_iterations: o.MaxIterations = None,
    width: o.Width = None,
    rotation: o.RotationName = RotatedBy.own,
    precision: o.ComputedIn = Precision.auto,
    device: o.Device = "auto",
    devices: o.Devices = 1,
    mask_diameter_angstrom: o.MaskDiameter = None,
    graded_wedge: o.GradedWedge = True,
    expert: o.Expert = None,
    seed: o.Seed = 0,
    runs: o.Runs = 1,
    rounds: o.Rounds = 1,
    until: o.Until = LastStage.embed,
    relion: o.RelionVersion = Relion.v31,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """From tomograms to clusters, averages, RELION star files and a report.

    Example: aitom-disca run tomogram.mrc --out results -d 250
    """
    from aitom_disca.cli.printed_tables import print_run
    from aitom_disca.doctor import ask_polarity, ask_tilt_range
    from aitom_disca.pipeline import run as run_stages

    if picks and pick_on:
        raise InputError("--picks brings picks and --pick-on makes them; give one of the two.")
    optics = OpticsSettings.checked(
        defocus=defocus,
        voltage_kv=voltage_kv,
        spherical_aberration_mm=spherical_aberration_mm,
        amplitude_contrast=amplitude_contrast,
    )
    opened = open_given(
        tomograms, voxel_size_angstrom, tilt_range, tilt_file, zarr_level, dark_protein, optics
    )
    diameter = chosen_diameters_angstrom(particle_diameter_angstrom, opened)
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
            keep=kinds_to_keep(keep),
            membranes=tuple(map(str, membranes or ())),
        ),
        picks=tuple(map(str, picks or ())),
        file_pixel_angstrom=file_pixel_angstrom,
        tomogram_name=tomogram_name,
        pick_on=tuple(map(str, pick_on or ())),
        extract=ExtractSettings.checked(
            particle_diameter_angstrom=float(np.max(diameter)),
            box_px=box_px,
            working_voxel_size_angstrom=working_voxel_size_angstrom,
        ),
        mine=mine_settings(
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
            expert,
        ),
        runs=runs,
        rounds=rounds,
        average=AverageSettings(null_test="noise", graded_wedge=graded_wedge, seed=seed),
        until=until.value,
        relion=relion.value,
    )
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        folder = run_stages(
            opened, out, settings, overwrite=overwrite, resume=resume, executor=executor
        )
    print_run(folder)
