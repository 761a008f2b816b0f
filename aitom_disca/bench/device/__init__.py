"""How fast the device computes: expectation, network, the published method, all subtomograms."""

from aitom_disca.bench.device.run import device_rows, measure_device

__all__ = ["device_rows", "measure_device"]
