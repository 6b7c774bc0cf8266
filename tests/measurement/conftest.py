"""One measurement that nothing is to be said against, from which each test changes what it is about."""

from statistics import median

import numpy as np
import pytest

from mnet_deploy.measurement.device_info import Conditions, Core, DeviceInfo, EngineInfo
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement
from mnet_deploy.measurement.run_config import Protocol, RunConfig
from mnet_deploy.measurement.statistics import median_interval
from mnet_deploy.measurement.verdict import judge

BLOCK_FACTORS = (1.000, 1.004, 0.997, 1.002, 0.999, 1.003, 0.998, 1.001)  # of the blocks' speeds, in no order
STATE = Conditions(
    throttle_bits=0,
    temperature_c=52.1,
    governor="ondemand",
    clocks_hz=(1.8e9, 1.8e9, 1.8e9, 1.8e9),
    load_1min=0.4,
    busy_cores=0.04,
    free_memory_bytes=3_400_000_000,
)


def a_block(number, factor):
    noise = np.random.default_rng(number).gamma(2.0, 0.002, size=110)
    latency_s = tuple(round(0.0200 * factor * (1 + float(value)), 9) for value in noise)
    return Block(
        number=2 * number,
        started_s=4.1 * number,
        latency_s=latency_s,
        median_s=median(latency_s),
        warmup_s=(0.031, 0.0209, *latency_s[:8]),
        wall_s=sum(latency_s) * 1.0004,
        cpu_s=sum(latency_s) * 0.998,
        import_s=0.41,
        init_s=0.012,
        peak_rss_bytes=61_000_000,
        after=STATE,
    )


def a_measurement():
    blocks = tuple(a_block(number, factor) for number, factor in enumerate(BLOCK_FACTORS))
    return Measurement(
        file=MeasuredFile(
            file="mobilenet_v1_1.0_224_int8.tflite",
            sha256="ab" * 32,
            size_bytes=4_400_000,
            model="mobilenet_v1 1.0-224",
            precision="int8",
            tune="portable",
        ),
        device=DeviceInfo(
            address="ssh://pi@raspberrypi",
            model="Raspberry Pi 4 Model B Rev 1.5",
            soc="BCM2711",
            machine="aarch64",
            cores=tuple(Core(number=number, max_clock_hz=1.8e9) for number in range(4)),
            memory_bytes=3_980_000_000,
            os="Debian GNU/Linux 12 (bookworm)",
            kernel="6.12.47+rpt-rpi-v8",
        ),
        engine=EngineInfo(
            name="ai-edge-litert",
            version="2.3.0",
            delegate="xnnpack",
            delegate_evidence="the graph has 1 DELEGATE node(s), for 31 of 31 nodes",
            nodes=31,
            delegated_nodes=31,
            machine="aarch64",
            python="3.11.2",
            numpy="1.26.4",
            threads=1,
            affinity=(0, 1, 2, 3),
        ),
        config=RunConfig(engine="litert"),
        protocol=Protocol(),
        before=STATE,
        after=STATE,
        blocks=blocks,
        interval_s=median_interval([block.median_s for block in blocks]),
        stopped="interval",
        measured_at="2026-11-20T14:00:00+00:00",
    )


@pytest.fixture(scope="session")
def valid():
    """On a Raspberry Pi 4 with its ordinary governor."""
    return judge(a_measurement())
