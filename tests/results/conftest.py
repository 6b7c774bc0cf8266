"""Measurements made from nothing, and a folder with some saved."""

from dataclasses import replace
from random import Random

import pytest

from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.statistics import median_interval
from mnet_deploy.results.store import save_run

PI = DeviceInfo(
    address="ssh://pi@pi4",
    model="Raspberry Pi 4 Model B Rev 1.5",
    soc="BCM2711",
    machine="aarch64",
    cores=tuple(Core(number=number, max_clock_hz=1.8e9) for number in range(4)),
    memory_bytes=4 << 30,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.6.51",
)
CALM = Conditions(
    throttle_bits=0, temperature_c=48.0, governor="ondemand", clocks_hz=(1.8e9,) * 4, load_1min=0.1, busy_cores=0.02
)


def make_block(number, median_s, samples):
    noise = Random(number)
    latency = tuple(round(median_s * (1 + 0.02 * noise.random() * (index > 0)), 9) for index in range(samples))
    return Block(
        number=number,
        started_s=3.0 * number,
        latency_s=latency,
        median_s=median_s,
        warmup_s=(round(2 * median_s, 9), median_s),
        wall_s=sum(latency),
        cpu_s=sum(latency),
        import_s=0.31,
        init_s=0.012,
        peak_rss_bytes=61_000_000 + number,
        after=replace(CALM, temperature_c=51.0),
    )


def make_measurement(
    medians_s=(0.0101, 0.0100, 0.0102, 0.0099, 0.0100),
    *,
    file="m_int8.tflite",
    engine="litert",
    threads=1,
    samples=21,
    device=PI,
    sha256="a" * 64,
    measured_at="2026-03-01T12:30:15+00:00",
    **fields,
):
    return Measurement(
        file=MeasuredFile(
            file=file, sha256=sha256, size_bytes=1000, model="mobilenet_v1 0.25-128", precision="int8", notes=("n",)
        ),
        device=device,
        engine=EngineInfo(name="ai-edge-litert", version="2.3.0", delegate="xnnpack", threads=threads),
        config=RunConfig(engine=engine, threads=threads),
        protocol=Protocol(),
        before=CALM,
        after=replace(CALM, temperature_c=52.5),
        blocks=tuple(make_block(number, median_s, samples) for number, median_s in enumerate(medians_s)),
        interval_s=median_interval(medians_s),
        stopped="interval",
        measured_at=measured_at,
        **fields,
    )


@pytest.fixture
def measurement():
    """Return a function that makes a measurement."""
    return make_measurement


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves measurements in the folder `mnet-results` and returns what `save_run` does."""
    return lambda *measurements: save_run(measurements, tmp_path / "mnet-results")
