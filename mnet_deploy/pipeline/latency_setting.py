"""What a latency was measured with, as models of latency know it."""

from mnet_deploy.latency import Setting
from mnet_deploy.measurement.comparable import highest_clock_hz
from mnet_deploy.measurement.measurement import Measurement
from mnet_deploy.precision import Precision


def setting_of(measurement: Measurement, precision: Precision) -> Setting:
    """Return what a measurement was made with."""
    device, engine = measurement.device, measurement.engine
    name = device.model or device.address
    return Setting(
        device=name if device.emulated is None else f"{name} (emulated by {device.emulated})",
        engine=measurement.config.engine,
        precision=precision,
        engine_version=engine.version,
        threads=measurement.config.threads,
        delegate=engine.delegate,
        clock_hz=highest_clock_hz(measurement),
    )
