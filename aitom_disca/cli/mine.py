"""The command that sorts the subtomograms of a store."""

from __future__ import annotations

from aitom_disca.cli import options as o
from aitom_disca.cli.choices import KCriterion, Precision, Preset, Relion, RotatedBy
from aitom_disca.cli.given_options import mine_settings, workers_given


def mine(
    store: o.Store,
    out: o.Out,
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
    relion: o.RelionVersion = Relion.v31,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
    threads: o.Threads = None,
    workers: o.Workers = None,
    scheduler: o.Scheduler = None,
    cluster: o.Cluster = None,
    cluster_config: o.ClusterConfig = None,
) -> None:
    """Sort subtomograms into clusters; write labels, model, star files and a report.

    Example: aitom-disca mine subtomograms.h5 --out clusters --candidate-k 2-20
    """
    from aitom_disca.cli.printed_tables import print_run
    from aitom_disca.pipeline import mine as mine_store

    settings = mine_settings(
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
    )
    with workers_given(workers, scheduler, cluster, cluster_config) as executor:
        folder = mine_store(
            store,
            out,
            settings,
            runs=runs,
            relion=relion.value,
            overwrite=overwrite,
            resume=resume,
            executor=executor,
        )
    print_run(folder)
