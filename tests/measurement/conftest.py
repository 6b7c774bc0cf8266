"""One measurement that nothing is to be said against, from which each test changes what it is about."""

from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from mnet_deploy.measurement.device_info import (
    AGENT_RUNNER,
    OFFICIAL_TOOL,
    AndroidInfo,
    Conditions,
    Core,
    DeviceInfo,
    EngineInfo,
)
from mnet_deploy.measurement.measurement import Block, MeasuredFile, Measurement
from mnet_deploy.measurement.run_config import BENCHMARK_MODEL, Protocol, RunConfig
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
            runner=AGENT_RUNNER,
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


def on_a_phone(measurement):
    """Return what the official tool says of the same, on a phone with big and little cores."""
    state = Conditions(
        temperature_c=41.0,
        governor="sched_pixel",
        load_1min=0.4,
        busy_cores=0.1,
        free_memory_bytes=3_400_000_000,
        thermal_status=0,
        battery_level=0.81,
        battery_temperature_c=29.6,
        powered=True,
        screen_on=True,
        power_saving=False,
    )
    clocks = (1.7e9,) * 4 + (2.37e9,) * 4
    blocks = (
        replace(block, latency_s=None, warmup_s=(), cpu_s=None, import_s=None, after=state)
        for block in measurement.blocks
    )
    return replace(
        measurement,
        device=replace(
            measurement.device,
            address="adb://33211FDH2000AB",
            model="Google Pixel 8",
            soc="Tensor G3",
            cores=tuple(Core(number=number, max_clock_hz=clock) for number, clock in enumerate(clocks)),
            os="Android 14",
            kernel="5.15.137-android14",
            android=AndroidInfo(
                release="14",
                sdk=34,
                abis=("arm64-v8a",),
                fingerprint="google/shiba/shiba:14/AP1A.240505.004/1:user/release-keys",
                security_patch="2024-05-05",
            ),
        ),
        engine=EngineInfo(
            name=BENCHMARK_MODEL,
            version="2.18.0",
            delegate="xnnpack",
            delegate_evidence="Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node",
            nodes=31,
            delegated_nodes=31,
            threads=1,
            affinity=(4, 5, 6, 7),
            runner=OFFICIAL_TOOL,
            runner_sha256="cd" * 32,
            runner_source="android_aarch64_benchmark_model",
        ),
        config=RunConfig(engine=BENCHMARK_MODEL, cpu_affinity=(4, 5, 6, 7)),
        before=state,
        after=state,
        blocks=tuple(blocks),
    )


@pytest.fixture(scope="session")
def phone():
    """As the valid measurement, but for what only phones and the official tool have."""
    return judge(on_a_phone(a_measurement()))


@pytest.fixture(scope="session")
def valid():
    """On a Raspberry Pi 4 with its ordinary governor."""
    return judge(a_measurement())
