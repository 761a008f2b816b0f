"""One step of the measurement, in a process of its own: a crash or a hang ends that step alone."""

from __future__ import annotations

from typing import Any

from aitom_disca.bench.child_process import child_main


def measure(step: str, seconds: float, arguments: dict[str, Any]) -> dict[str, Any]:
    """Do a step by its name.

    Parameters
    ----------
    step : {"device", "expectation", "network", "published", "scale"}
    seconds : float
        About so long at most.
    arguments : dict
        Of the step's own function.
    """
    import aitom_disca.network  # noqa: F401  imports are not counted

    if step == "device":
        from aitom_disca.bench.device.peak import measure_peak, name_device

        found = name_device()
        return found | {"peak_tflops": measure_peak(found["kind"])}
    if step == "expectation":
        from aitom_disca.bench.device.expectation import measure_expectation

        return measure_expectation(seconds, **arguments)
    if step == "network":
        from aitom_disca.bench.device.network import measure_network

        return measure_network(seconds, **arguments)
    if step == "published":
        from aitom_disca.bench.device.published import measure_published

        return measure_published(seconds, **arguments)
    from aitom_disca.bench.device.scale import measure_scale

    return measure_scale(seconds, **arguments)


if __name__ == "__main__":
    child_main(measure)
