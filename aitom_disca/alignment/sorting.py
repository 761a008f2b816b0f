"""Sort subtomograms by the average that they align to best, and merge averages that are one.

Features of a network see size and compactness; alignment sees the structure itself.
"""

from __future__ import annotations

import numpy as np

from aitom_disca.alignment.coefficients import Coefficients
from aitom_disca.alignment.reference import Slicer, average, rotation_grid, shell_index, to_volume
from aitom_disca.alignment.search import Poses, align
from aitom_disca.geometry.fourier import fourier_crop
from aitom_disca.progress import say, track

# Everything is measured in this box: the volumes are Fourier-cropped to it.
_BOX_PX = 20
_RADIUS = 7.0
_N_ROTATIONS = 1500
_FIRST_SHIFT_PX = 1.67
_SHIFT_PX = 0.8
_SMALLEST = 6  # members of a cluster that can be averaged
_START_ROUNDS = 3
_ROUNDS = 6
_ROUNDS_AFTER_MERGING = 3
_WAVERS_BETWEEN = 3  # averages that a subtomogram is aligned to after the first round
_STAYED = 0.01  # share of labels that may still change
_NEIGHBOURS = 2
_MOST_TESTED = 60  # members of each half that vote on a merge
_JOINT_ROUNDS = 4
_MERGE_Z = -3.5
_FLOOR = 0.1  # of the mean sampling of a shell, added to every weight


class AlignmentSorter:
    """Multi-reference alignment, started from clusters that are too many.

    Every subtomogram is aligned, over the Fourier coefficients that it measured, to the averages
    of all clusters and moves to the one it fits best. Two clusters are merged when their
    members fit an average of both, made without them, as well as an average of their own.

    Parameters
    ----------
    volumes : ndarray of shape (n, z, y, x)
        Cubic, protein bright.
    tilt_range_deg : tuple of 2 floats
    seed : int
        Of the halves in which clusters are split.

    Attributes
    ----------
    labels : ndarray of int, shape (n,)
    poses : Poses
        On the average of each subtomogram's own cluster.
    stable : bool
        Whether the labels stayed in the last round.
    """

    def __init__(
        self, volumes: np.ndarray, tilt_range_deg: tuple[float, float], *, seed: int = 0
    ) -> None:
        box = min(_BOX_PX, volumes.shape[-1])
        self.coefficients = Coefficients(box, min(_RADIUS, box / 2 - 1), tilt_range_deg)
        self.rotations = rotation_grid(_N_ROTATIONS)
        self._slicer = Slicer(self.coefficients, self.rotations)
        values = self.coefficients.of(fourier_crop(volumes, box))
        norm = np.linalg.norm(values, axis=1, keepdims=True)
        self.values = values / np.maximum(norm, 1e-12)
        self._shell = shell_index(2 * box)
        self._rng = np.random.default_rng(seed)
        n = len(volumes)
        self.labels = np.zeros(n, int)
        self.stable = False
        self.poses = Poses(np.full(n, -1.0, np.float32), np.zeros(n, int), np.zeros((n, 3)))
        self._scores = np.zeros((1, n), np.float32)

    def sort(
        self, labels: np.ndarray, centres: np.ndarray, *, fewest: int = 1, most: int = 1000
    ) -> np.ndarray:
        """Sort, starting from clusters.

        Parameters
        ----------
        labels : ndarray of int, shape (n,)
            Clusters from 0, more of them than there may be structures.
        centres : ndarray of int, shape (K,)
            The member of each cluster that stands for it: its first reference.
        fewest, most : int
            Numbers of clusters between which merging ends.

        Returns
        -------
        ndarray of int, shape (n,)
            Labels from 0 without gaps.
        """
        self.labels = np.array(labels)
        for k, first in enumerate(track(list(centres), "first averages")):
            self._start(np.flatnonzero(labels == k), first)
        self._assign_until_stable(_ROUNDS)
        while self._merge(fewest, most):
            self._assign_until_stable(_ROUNDS_AFTER_MERGING)
        return self.labels

    # -- averages --------------------------------------------------------------------------

    def _start(self, members: np.ndarray, first: int) -> None:
        """Align a cluster to an average that is grown from one of its members."""
        single = Poses(np.ones(1, np.float32), np.zeros(1, int), np.zeros((1, 3)))
        total, weight = self._sums(np.array([first]), single)
        volume = to_volume(total / (weight + 0.3), self.coefficients.box_px)
        offsets, shifts = np.zeros((len(members), 3)), _cube(_FIRST_SHIFT_PX)
        self._keep(members, self._refine(members, volume, shifts, offsets, _START_ROUNDS))

    def _refine(
        self,
        members: np.ndarray,
        volume: np.ndarray,
        shifts: np.ndarray,
        offsets: np.ndarray,
        rounds: int,
    ) -> Poses:
        """Align members to a volume, then again to their own average, with small shifts."""
        poses = self._align(members, volume, shifts, offsets)
        for _ in range(rounds - 1):
            volume = self._average(members, poses)
            poses = self._align(members, volume, _cross(_SHIFT_PX), poses.shift_zyx_px)
        return poses

    def averages(self) -> list[np.ndarray]:
        """Aligned, wedge-weighted average (z, y, x) of every cluster, in the box used here."""
        return [self._average(*self._cluster(k)) for k in range(self._n_clusters())]

    def _cluster(self, k: int) -> tuple[np.ndarray, Poses]:
        """Members of a cluster and their poses."""
        members = np.flatnonzero(self.labels == k)
        return members, self.poses.select(members)

    def _average(self, members: np.ndarray, poses: Poses) -> np.ndarray:
        """Wedge-weighted average, filtered by the correlation of its halves."""
        halves = self._half_sums(members, poses)
        quality = self._shell_correlation(*halves)
        total, weight = halves[0][0] + halves[1][0], halves[0][1] + halves[1][1]
        return self._filtered((total, weight), np.sqrt(2 * quality / (1 + quality)))

    def _half_averages(self, members: np.ndarray, poses: Poses) -> list[np.ndarray]:
        halves = self._half_sums(members, poses)
        quality = np.sqrt(self._shell_correlation(*halves))
        return [self._filtered(half, quality) for half in halves]

    def _half_sums(self, members: np.ndarray, poses: Poses) -> list[tuple[np.ndarray, np.ndarray]]:
        rows = np.arange(len(members))
        return [self._sums(members[h::2], poses.select(rows[h::2])) for h in (0, 1)]

    def _sums(self, members: np.ndarray, poses: Poses) -> tuple[np.ndarray, np.ndarray]:
        centred = self.values[members] * self.coefficients.shift_phases(poses.shift_zyx_px)
        return average(centred, self.coefficients, self.rotations[poses.rotation])

    def _compensated(self, sums: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Sum of coefficients over sum of weights, held back where the sampling is poor."""
        total, weight = sums
        shell = self._shell.ravel()
        seen = np.maximum(np.bincount(shell, weight.ravel() > 0), 1)
        mean = np.bincount(shell, weight.ravel()) / seen
        return total / (weight + _FLOOR * mean[self._shell] + 1e-9)

    def _shell_correlation(
        self, first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Fourier shell correlation of two halves, up to the radius, at least 0.02."""
        a, b = self._compensated(first), self._compensated(second)
        n = int(self.coefficients.radius) + 1

        def over_shells(x: np.ndarray) -> np.ndarray:
            return np.bincount(self._shell.ravel(), x.ravel())[:n]

        power = over_shells(np.abs(a) ** 2) * over_shells(np.abs(b) ** 2)
        return np.clip(over_shells((a * b.conj()).real) / np.sqrt(power + 1e-30), 0.02, 1)

    def _filtered(self, sums: tuple[np.ndarray, np.ndarray], by_shell: np.ndarray) -> np.ndarray:
        filter_ = np.zeros(self._shell.max() + 1)
        filter_[: len(by_shell)] = by_shell
        filter_[0] = 1
        spectrum = self._compensated(sums) * filter_[self._shell]
        return to_volume(spectrum, self.coefficients.box_px)

    # -- assignment ------------------------------------------------------------------------

    def _align(
        self, members: np.ndarray, volume: np.ndarray, shifts: np.ndarray, offsets: np.ndarray
    ) -> Poses:
        values = self.values[members]
        return align(values, self.coefficients, self._slicer(volume), shifts, offsets)

    def _keep(self, members: np.ndarray, poses: Poses) -> None:
        self.poses.score[members] = poses.score
        self.poses.rotation[members] = poses.rotation
        self.poses.shift_zyx_px[members] = poses.shift_zyx_px

    def _assign_until_stable(self, rounds: int) -> None:
        """Align to all averages, then in each round to those that fitted best before."""
        for number in range(1, rounds + 1):
            averages = self.averages()
            tried = self._worth_trying(len(averages), everything=number == 1)
            previous, offsets = self.labels, self.poses.shift_zyx_px.copy()
            found = []
            for k, volume in enumerate(track(averages, f"aligning, round {number}")):
                members = np.flatnonzero(tried[k])
                poses = self._align(members, volume, _cross(_SHIFT_PX), offsets[members])
                self._scores[k, members] = poses.score
                found.append((members, poses))
            self.labels = np.where(tried, self._scores, -1).argmax(axis=0)
            for k, (members, poses) in enumerate(found):
                mine = self.labels[members] == k
                self._keep(members[mine], poses.select(np.flatnonzero(mine)))
            changed = float(np.mean(previous != self.labels))
            sizes = np.bincount(self.labels).tolist()
            say(f"aligning, round {number}: {100 * changed:.0f} % moved, sizes {sizes}")
            self._drop_small()
            self.stable = changed <= _STAYED
            if self.stable:
                break

    def _worth_trying(self, n_averages: int, *, everything: bool) -> np.ndarray:
        """Which averages (first axis) each subtomogram is aligned to."""
        shape = (n_averages, len(self.values))
        if everything or self._scores.shape != shape:
            self._scores = np.full(shape, -1, np.float32)
            return np.ones(shape, bool)
        rank = (-self._scores).argsort(axis=0).argsort(axis=0)
        return rank < _WAVERS_BETWEEN

    def _drop_small(self) -> None:
        """Move members of clusters too small to be averaged to their next best one."""
        kept = np.flatnonzero(np.bincount(self.labels, minlength=len(self._scores)) >= _SMALLEST)
        if len(kept) < len(self._scores):
            lost = ~np.isin(self.labels, kept)
            self._scores = self._scores[kept]
            self.labels = np.searchsorted(kept, self.labels)
            self.labels[lost] = self._scores[:, lost].argmax(axis=0)

    # -- merging ---------------------------------------------------------------------------

    def _merge(self, fewest: int, most: int) -> int:
        """Merge clusters that are one structure; return how many were merged away."""
        n_before = self._n_clusters()
        verdicts: dict[tuple[int, int], tuple[float, Poses, np.ndarray]] = {}
        alive = set(range(n_before))
        own = {k: self._held_out(*self._cluster(k)) for k in alive}
        while len(alive) > max(fewest, 1):
            for pair in self._candidates(alive):
                if pair not in verdicts:
                    verdicts[pair] = self._try_merge(*pair, own)
            if not verdicts:
                break
            pair = max(verdicts, key=lambda p: verdicts[p][0])
            z, poses, members = verdicts[pair]
            if z < _MERGE_Z and len(alive) <= most:
                break
            keep, gone = pair
            say(f"merged two clusters of {[int((self.labels == k).sum()) for k in pair]}")
            self.labels[members] = keep
            self._keep(members, poses)
            self._scores[keep] = np.maximum(self._scores[keep], self._scores[gone])
            alive.discard(gone)
            own[keep] = self._held_out(members, poses)
            verdicts = {p: v for p, v in verdicts.items() if not {keep, gone} & {*p}}
        self._scores = self._scores[sorted(alive)]
        self.labels = np.unique(self.labels, return_inverse=True)[1]
        return n_before - len(alive)

    def _n_clusters(self) -> int:
        return int(self.labels.max()) + 1

    def _candidates(self, alive: set[int]) -> list[tuple[int, int]]:
        """Pairs, larger cluster first, of each cluster with those that its members fit next."""
        pairs, sizes = set(), np.bincount(self.labels, minlength=len(self._scores))
        for a in alive:
            members = self.labels == a
            fit = self._scores[:, members].mean(axis=1)
            for b in sorted(alive - {a}, key=lambda k: -fit[k])[:_NEIGHBOURS]:
                pairs.add((a, b) if sizes[a] >= sizes[b] else (b, a))
        return sorted(pairs)

    def _try_merge(
        self, a: int, b: int, own: dict[int, dict[int, float]]
    ) -> tuple[float, Poses, np.ndarray]:
        """How much better (in standard errors) members fit a joint average than their own."""
        members = np.flatnonzero((self.labels == a) | (self.labels == b))
        volume = self._average(*self._cluster(a))
        offsets, shifts = self.poses.shift_zyx_px[members], _cross(_FIRST_SHIFT_PX)
        poses = self._refine(members, volume, shifts, offsets, _JOINT_ROUNDS)
        joint = self._held_out(members, poses)
        alone = own[a] | own[b]
        both = [i for i in joint if i in alone]
        gain = np.array([joint[i] - alone[i] for i in both])
        return float(gain.mean() / (gain.std() / np.sqrt(len(gain)) + 1e-9)), poses, members

    def _held_out(self, members: np.ndarray, poses: Poses) -> dict[int, float]:
        """Scores of members on the average of the half that they are not in."""
        order = self._rng.permutation(len(members))
        members, poses = members[order], poses.select(order)
        averages = self._half_averages(members, poses)
        scores: dict[int, float] = {}
        for h in (0, 1):
            half = members[h::2][:_MOST_TESTED]
            offsets = poses.shift_zyx_px[h::2][:_MOST_TESTED]
            found = self._align(half, averages[1 - h], _cross(_SHIFT_PX), offsets)
            scores |= dict(zip(half.tolist(), found.score.tolist(), strict=True))
        return scores


def _cube(step_px: float) -> np.ndarray:
    """27 shifts: all combinations of -step, 0 and step."""
    return (np.indices((3, 3, 3)).reshape(3, -1).T - 1) * step_px


def _cross(step_px: float) -> np.ndarray:
    """Seven shifts: none, and one step along each axis."""
    return np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]) * step_px
